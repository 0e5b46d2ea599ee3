/**
 * What a start does for asynchronous streams, which it does not wait for: before it folds a log it keeps what proves
 * where they may have been left (lineage/left-at.ts).
 */
import { isStream, streamName } from "../address.ts";
import type { Copy } from "../lineage/describe.ts";
import { commitsOf, dropLeft, keepLeft, readLeft } from "../lineage/left-at.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/**
 * The primary's log is about to be folded: a stream may stand at any of its commits, or where the record says.
 * @param copy the primary as it was described, if it was
 * @param voucher a replica that proves what the primary holds: it may have the only log that led there
 */
export function leave(primary: Primary, copy?: Copy, voucher?: Copy): void {
  if (!primary.later.areAny || primary.later.isKept) return;
  const past = voucher ? commitsOf(voucher) : [];
  const commits = [...past, ...commitsOf(copy ?? primary.describe())];
  keepLeft(primary.path, commits); // durable: all commits of the log are kept, start
  primary.later.isKept = true;
}

/** The same at once if the record names one that is not among the replicas today: nobody will look at it. */
export function leaveOthers(primary: Primary, copy: Copy, replicas: readonly string[]): void {
  const names = replicas.map((replica) => (isStream(replica) ? streamName(replica) : ""));
  const isOther = Object.keys(primary.later.at).some((name) => !names.includes(name));
  if (isOther && copy.log) leave(primary, copy);
}

/** At the end of a start: replicas hold what the primary does, and each may become a primary itself. */
export function tellLeft({ path, later }: Primary, mirrors: readonly Mirror[]): void {
  if (!later.areAny) return;
  const keep = readLeft(path);
  for (const mirror of mirrors) mirror.post({ type: "left", at: later.at, keep });
}

/** At the end of a start: all that were asynchronous are waited for now, and have all. */
export function forgetLeft(primary: Primary, mirrors: readonly Mirror[]): void {
  const names = Object.keys(primary.later.at);
  const isHere = (name: string): boolean => mirrors.some(({ path }) => path === name);
  if (names.length === 0 || !names.every(isHere)) return;
  primary.later.at = {};
  primary.sidecar.update({ leftAt: {} });
  dropLeft(primary.path);
}
