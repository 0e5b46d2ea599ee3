/** What the start does with logs: the primary's is put on record, and a replica without one gets it. */
import type { Decision } from "../lineage/decide.ts";
import type { Copy } from "../lineage/describe.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { cutLog, rewriteLog } from "../targets/log-file.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import type { Membership } from "./messages.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** How many commits before a crash are remembered; one call of the application's rarely makes more. */
const LAST_COMMITS = 100;

/**
 * After an unclean stop: a log that was begun since the last checkpoint is put on record before
 * anything rests on it or is folded, and so are its last commits: a replica that is not here today
 * may have been cut off at any of them.
 */
export function recordLog({ sidecar }: Primary, copy: Copy): void {
  const { log, base, position } = copy;
  if (!log || !position) return;
  const { salt1, salt2 } = log.header;
  const known =
    sidecar.state.generation !== null && sameSalts(sidecar.state.generation, log.header);
  const begun = known || !base ? [] : [base];
  const recorded = sidecar.history.slice(-2 * LAST_COMMITS);
  const latest = [...begun, ...latestCommits(copy)];
  const history = latest.filter((p) => !recorded.some((q) => samePosition(p, q)));
  sidecar.update(begun.length > 0 ? { generation: { salt1, salt2, base } } : {}, { history });
}

/**
 * Makes what the primary's log holds durable, even after a sync that failed before an unclean stop; and, while it stands
 * still, that nothing is behind that. A log that others write is left as it is there.
 */
export function renewLog(primary: Primary, copy: Copy): void {
  if (!copy.log || !copy.position) return;
  const length = frameOffset(copy.position.frame + 1, copy.log.header.pageSize);
  // durable: the log is written anew, primary
  rewriteLog(primary.path, length);
  // durable: nothing behind the log's end continues it, primary
  if (!primary.foreign) cutLog(primary.log, length);
}

/** The positions of the last commits in a copy's log. */
export function latestCommits({ log, position }: Copy): Position[] {
  if (!log || !position) return [];
  const { salt1, salt2 } = log.header;
  return log.commits.slice(-LAST_COMMITS).map(({ frame, sum1, sum2 }) => {
    return { timeline: position.timeline, salt1, salt2, frame, sum1, sum2 };
  });
}

/** What is to be done on a replica. */
export interface Work {
  readonly mirror: Mirror;
  readonly action: Decision["action"];
}

/** A replica without a log cannot be appended to: it gets the primary's, whole, if there is one. */
export function installLogs(primary: Copy, work: readonly Work[], membership: Membership): void {
  const bare = primary.log ? work.filter(needsLog).map(({ mirror }) => mirror) : [];
  for (const mirror of bare) mirror.post({ type: "install-log", membership });
  for (const mirror of bare) mirror.wait("ready");
}

function needsLog({ mirror, action }: Work): boolean {
  if (action.do === "send") return mirror.copy?.log === null;
  return action.do !== "nothing";
}
