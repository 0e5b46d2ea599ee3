/**
 * The start, on the committing thread: look at all copies, decide, and do what was decided, in an
 * order in which a refusal comes before any change.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { invariant } from "../invariant.ts";
import { type Decision, decide } from "../lineage/decide.ts";
import type { Copy } from "../lineage/describe.ts";
import { stampFingerprint } from "../lineage/fingerprint.ts";
import { originPosition, type Position, samePosition } from "../lineage/position.ts";
import { refusal } from "../lineage/refusal.ts";
import { rollForward } from "../lineage/roll-forward.ts";
import { TRUST_LOG } from "../lineage/sidecar.ts";
import type { Replication } from "../options.ts";
import { syncDirectory } from "../targets/file.ts";
import { sameSalts } from "../wal/format.ts";
import type { Gate } from "./gate.ts";
import type { Membership } from "./messages.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** How many commits before a crash are remembered; one call of the application's rarely makes more. */
const LAST_COMMITS = 100;

/** Afterwards every mirror is attached and holds, durably, what the primary holds. */
export function bringTogether(
  driver: Driver,
  primary: Primary,
  mirrors: readonly Mirror[],
  gate: Gate,
  options: Replication,
): void {
  for (const mirror of mirrors) mirror.wait("described");
  let copy = primary.describe();
  const best = furthest(mirrors);
  if (copy.file === "missing" && best) {
    if (!options.restoreMissing) throw refusal(copy, best.copy as Copy, decideFor(copy, best));
    restoreFrom(best, primary);
    copy = primary.describe();
  }

  // Every refusal comes before any change.
  refuse(copy, mirrors);

  // Logs that agree beside files that prove nothing by themselves: the images decide.
  for (const mirror of mirrors) {
    const decision = decideFor(copy, mirror);
    if (decision.action.do !== "compare-at") continue;
    proveAt(primary, copy, mirror, decision, decision.action.frame);
    copy = primary.describe();
    refuse(copy, mirrors);
  }

  // A primary that lacks what a replica has is rolled forward before anyone reads it.
  const ahead = mirrors.filter((mirror) => decideFor(copy, mirror).action.do === "roll-forward");
  if (ahead.length > 0) {
    rollForward(driver, primary.sidecar, copy, furthest(ahead)?.copy as Copy);
    copy = primary.describe();
  }

  primary.open();
  prepare(primary, copy, mirrors);
  attach(primary, mirrors, gate);
}

// --- internal ---

function decideFor(primary: Copy, mirror: Mirror): Decision {
  return decide(primary, mirror.copy as Copy);
}

function refuse(copy: Copy, mirrors: readonly Mirror[]): void {
  for (const mirror of mirrors) {
    const decision = decideFor(copy, mirror);
    if (decision.action.do === "refuse") throw refusal(copy, mirror.copy as Copy, decision);
  }
}

function proveAt(p: Primary, copy: Copy, mirror: Mirror, decision: Decision, frame: number): void {
  mirror.post({ type: "compare-at", primary: p.path, frame });
  const { differing, pages } = mirror.wait("compared");
  if (differing > 0) {
    const because = `${differing} of ${pages} pages differ, and ${decision.because}`;
    throw refusal(copy, mirror.copy as Copy, { ...decision, relation: "diverged", because });
  }
  p.sidecar.update(TRUST_LOG);
  mirror.post({ type: "trust-log" });
  mirror.wait("described");
}

/** The mirror whose copy is there and has most: by timeline, then by where it stands. */
function furthest(mirrors: readonly Mirror[]): Mirror | null {
  const rank = ({ copy }: Mirror): number[] => [
    copy?.state?.timeline ?? 0,
    copy?.history.length ?? 0,
    copy?.position?.frame ?? 0,
  ];
  const present = mirrors.filter(({ copy }) => copy?.file === "present");
  present.sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    const i = x.findIndex((value, n) => value !== y[n]);
    return i < 0 ? 0 : (y[i] as number) - (x[i] as number);
  });
  return present[0] ?? null;
}

/** `restoreMissing`: the replica's content becomes the primary, on a new timeline. */
function restoreFrom(mirror: Mirror, primary: Primary): void {
  const found = mirror.copy as Copy;
  const { position, state } = found;
  if (!position || !state?.databaseId) {
    throw refusal(primary.describe(), found, {
      relation: "unknown",
      action: { do: "refuse" },
      because: `the replica's position is not proven: ${found.because}`,
    });
  }
  const timeline = state.timeline + 1;
  const fresh = `${primary.path}-lockstep-new`;
  mirror.post({ type: "export", to: fresh, timeline });
  mirror.wait("ready");
  for (const suffix of ["-wal", "-shm", "-journal"]) {
    fs.rmSync(`${primary.path}${suffix}`, { force: true }); // of a file that is not there
  }
  const folded = { position: { ...position, timeline }, file: stampFingerprint(fresh) };
  primary.sidecar.update(
    { databaseId: state.databaseId, timeline, generation: null, folded, folding: false },
    { history: [position], event: ["restored", `from ${mirror.path}, timeline ${timeline}`] },
  );
  fs.renameSync(fresh, primary.path);
  syncDirectory(path.dirname(primary.path));
  mirror.refresh();
}

/** Gives the primary a position if it has none, and every replica what it needs to be attached. */
function prepare(primary: Primary, copy: Copy, mirrors: readonly Mirror[]): void {
  const work = mirrors.map((mirror) => ({ mirror, action: decideFor(copy, mirror).action }));
  takeOffice(primary);
  const state = primary.sidecar.state;
  const known = copy.position !== null && state.databaseId !== null;
  const bare = work.some(({ action: { do: it } }) =>
    ["copy", "begin", "compare", "delta"].includes(it),
  );

  const position = known ? (copy.position as Position) : originPosition(state.timeline);
  if (!known || bare) {
    primary.foldAndStandStill(position, known ? copy.log : null);
  } else {
    primary.standStill();
    primary.rewriteLog(copy);
  }
  if (known) recordLog(primary, copy);
  try {
    const databaseId = state.databaseId ?? randomUUID();
    const { timeline } = state;
    if (!known) {
      primary.sidecar.update(
        { databaseId, generation: null },
        { history: [position], event: ["named", "replication begins at this content"] },
      );
    }
    const base = copy.base;
    const membership: Membership = { databaseId, timeline, position, base, primary: primary.path };
    for (const { mirror, action } of work) prepareOne(mirror, action, membership);
    for (const { mirror, action } of work) finishOne(mirror, action, copy, membership);
    // A replica without a log cannot be appended to: it gets the primary's, whole, if there is one.
    const bareOnes = known && copy.log ? work.filter(needsLog).map(({ mirror }) => mirror) : [];
    for (const mirror of bareOnes) mirror.post({ type: "install-log", membership });
    for (const mirror of bareOnes) mirror.wait("ready");
    primary.position = position;
  } catch (error) {
    for (const mirror of mirrors) mirror.giveUp();
    throw error;
  } finally {
    primary.release();
  }
}

type Action = Decision["action"];

/** A replica that is opened as a primary is promoted by that: its old primary is fenced. */
function takeOffice({ sidecar }: Primary): void {
  if (sidecar.state.role === "primary") return;
  const timeline = sidecar.state.timeline + 1;
  sidecar.update(
    { role: "primary", timeline },
    { event: ["promoted", `opened as a primary, timeline ${timeline}`] },
  );
}

/**
 * After an unclean stop: a log that was begun since the last checkpoint is put on record before
 * anything rests on it, and so are its last commits: a replica that is not here today may have been
 * cut off at any of them.
 */
function recordLog({ sidecar }: Primary, { log, base, position }: Copy): void {
  if (!log || !position) return;
  const { salt1, salt2 } = log.header;
  const known =
    sidecar.state.generation !== null && sameSalts(sidecar.state.generation, log.header);
  const begun = known || !base ? [] : [base];
  const latest = log.commits.slice(-LAST_COMMITS).map((commit): Position => {
    const { frame, sum1, sum2 } = commit;
    return { timeline: position.timeline, salt1, salt2, frame, sum1, sum2 };
  });
  const recorded = sidecar.history.slice(-2 * LAST_COMMITS);
  const history = [...begun, ...latest].filter((p) => !recorded.some((q) => samePosition(p, q)));
  sidecar.update(begun.length > 0 ? { generation: { salt1, salt2, base } } : {}, { history });
}

function needsLog({ mirror, action }: { mirror: Mirror; action: Action }): boolean {
  if (action.do === "send") return mirror.copy?.log === null;
  return action.do !== "nothing";
}

/** Starts the work on one replica; the replicas work at the same time. */
function prepareOne(mirror: Mirror, action: Action, membership: Membership): void {
  switch (action.do) {
    case "copy":
    case "begin":
      mirror.post({ type: "copy", membership });
      return;
    case "delta":
    case "compare":
      mirror.post({ type: action.do, membership });
      return;
    case "send":
    case "nothing":
      return;
    default:
      invariant(false, "a refusal comes before any change", { action });
  }
}

/** Waits for it, and adopts a replica that was proven equal. */
function finishOne(mirror: Mirror, action: Action, copy: Copy, membership: Membership): void {
  switch (action.do) {
    case "copy":
    case "begin":
    case "delta":
      mirror.wait("ready");
      return;
    case "compare": {
      const { differing, pages } = mirror.wait("compared");
      if (differing > 0) {
        throw refusal(copy, mirror.copy as Copy, {
          relation: action.otherwise,
          action: { do: "refuse" },
          because: `${differing} of ${pages} pages differ, and ${decideFor(copy, mirror).because}`,
        });
      }
      mirror.post({ type: "adopt", membership });
      mirror.wait("ready");
      return;
    }
    default:
      return;
  }
}

/** Every mirror begins to mirror; what a replica still lacks is sent and made durable. */
function attach(primary: Primary, mirrors: readonly Mirror[], gate: Gate): void {
  const { timeline } = primary.sidecar.state;
  for (const mirror of mirrors) mirror.post({ type: "attach", timeline });
  const positions = mirrors.map((mirror) => mirror.wait("attached").position);
  const index = primary.readIndex();
  const { position } = primary;
  if (index.frames > 0) {
    // Frames after `lowest` are sent; a replica in an older generation needs all of this one.
    const lowest = Math.min(...positions.map((p) => (sameSalts(p, index) ? p.frame : 0)));
    gate.catchUp(sameSalts(position, index) ? lowest : 0);
  }
  if (index.frames > 0) primary.hold();
}
