/**
 * The start, on the committing thread: look at all copies, decide, and do what was decided, in an
 * order in which a refusal comes before any change.
 */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { isAsynchronous } from "../address.ts";
import type { Driver } from "../driver.ts";
import { invariant } from "../invariant.ts";
import { type Decision, decide } from "../lineage/decide.ts";
import { type Copy, walPath } from "../lineage/describe.ts";
import { stampUnused } from "../lineage/fingerprint.ts";
import { busy } from "../lineage/fold.ts";
import { dropLeft } from "../lineage/left-at.ts";
import { originPosition, type Position } from "../lineage/position.ts";
import { notEnough, refusal } from "../lineage/refusal.ts";
import { rollForward } from "../lineage/roll-forward.ts";
import { moveStrayLogs } from "../lineage/stray.ts";
import type { SumsRecord } from "../lineage/sums.ts";
import { trustLog } from "../lineage/trust-log.ts";
import { takeBackUnbegun } from "../lineage/unbegun.ts";
import { syncDirectory } from "../targets/directory.ts";
import { sameSalts } from "../wal/format.ts";
import { relieve } from "./deputy.ts";
import { foldAndStandStill, recordForeignFold } from "./fold-whole.ts";
import { assertQuick, type HubOptions, nameAsFound, prepareAmongWriters } from "./foreign-start.ts";
import type { Gate } from "./gate.ts";
import { atRest } from "./glimpse.ts";
import { forgetLeft, leave, leaveOthers, tellLeft } from "./leave.ts";
import { installLogs, latestCommits, recordLog, renewLog } from "./logs.ts";
import { membershipOf } from "./membership.ts";
import type { CopySums, Membership } from "./messages.ts";
import type { Mirror } from "./mirror.ts";
import { assertMounted, rememberDisks } from "./mounted.ts";
import { takeOffice, timelineToBe } from "./office.ts";
import type { Peek } from "./peek.ts";
import type { Primary } from "./primary.ts";
import { type Proof, prove } from "./prove.ts";
import { assertNotRewound, forgetEmptied, recordStreams } from "./streams.ts";

/**
 * Afterwards every mirror is attached, or about to be, and its replica holds, durably, what the primary
 * holds.
 */
export function bringTogether(
  driver: Driver,
  primary: Primary,
  mirrors: readonly Mirror[],
  gate: Gate,
  options: HubOptions,
  peek: Peek,
): void {
  relieve(primary.sidecar, options.foreign?.deputy);
  const glanced = mirrors.every(({ copy }) => copy !== null) ? primary.describe() : null;
  const isAtRest = glanced && mirrors.every((mirror) => atRest(glanced, mirror.copy as Copy));
  if (!isAtRest) for (const mirror of mirrors) mirror.look();
  assertNotRewound(primary, mirrors);
  lookDeeper(primary, mirrors);
  let copy = isAtRest ? glanced : primary.describe(); // to look takes its time
  if (takeBackUnbegun(primary.sidecar, copy)) copy = primary.describe();
  const present = mirrors.filter((mirror) => mirror.copy?.file === "present");
  // What nobody waits for does not restore a primary that is missing; but none begins anew beside it either.
  if (copy.file === "missing" && !present[0]) refuse(copy, peek.holding());
  if (copy.file === "missing" && present[0]) {
    // Out of a stream only the command restores: it may take long, and tells what it does.
    if (!options.restoreMissing || furthest(present).isStream) refuse(copy, present);
    assertEnough(primary, copy, present, options);
    restoreFrom(furthest(present), primary, present);
    copy = primary.describe();
  }

  // Every refusal comes before any change.
  refuse(copy, mirrors);
  assertMounted(primary, copy, mirrors);
  if (primary.foreign) assertQuick(copy, mirrors);
  const proof = prove(primary, copy, mirrors);

  copy = accept(primary, copy, proof);
  refuse(copy, mirrors);
  refuseUnproven(copy, mirrors, proof);

  // A primary that lacks what a replica has is rolled forward before anyone reads it.
  const ahead = mirrors.filter((mirror) => decideFor(copy, mirror).action.do === "roll-forward");
  if (ahead.length > 0) {
    primary.disconnect();
    recordLog(primary, copy);
    leave(primary, copy); // durable: all commits of the log are kept, rolled forward
    const source = furthest(ahead);
    const log = source.isStream ? logOf(source, primary) : walPath(source.path);
    try {
      rollForward(driver, primary.sidecar, copy, source.copy as Copy, log);
    } finally {
      if (source.isStream) fs.rmSync(log, { force: true });
    }
    primary.later.isKept = false; // durable: of the log that stands there now nothing is kept yet
    copy = primary.describe();
  }

  primary.open();
  primary.useWal();
  if (!isKnown(copy)) {
    if (options.foreign) nameAsFound(primary, options.foreign.past);
    else nameContent(primary, proof);
    copy = primary.describe();
  }
  forgetEmptied(primary, mirrors);
  leaveOthers(primary, copy, options.replicas);
  if (primary.foreign) prepareAmongWriters(primary, copy, mirrors);
  else prepare(primary, copy, mirrors);
  attach(primary, mirrors, gate);
  rememberDisks(primary, copy, mirrors);
  recordStreams(primary, mirrors);
  tellLeft(primary, mirrors);
  forgetLeft(primary, mirrors);
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

/** Pages were compared, and some record still does not fit: a log that lost what its file holds. */
function refuseUnproven(copy: Copy, mirrors: readonly Mirror[], { equal }: Proof): void {
  for (const mirror of mirrors) {
    const decision = decideFor(copy, mirror);
    const { do: still } = decision.action;
    if (equal.includes(mirror) || (still !== "compare" && still !== "compare-at")) continue;
    throw refusal(copy, mirror.copy as Copy, { ...decision, relation: "diverged" });
  }
}

/** Does the primary belong to a lineage, at a position in it? */
function isKnown({ position, state }: Copy): boolean {
  return position !== null && state !== null && state.databaseId !== null;
}

/** Puts on record what was proven by pages, as far as it can be said before the primary is folded. */
function accept(primary: Primary, copy: Copy, { equal, trusted, frames }: Proof): Copy {
  if (trusted.length > 0) trustLog(primary.sidecar);
  for (const mirror of trusted) {
    mirror.post({ type: "trust-log" });
    mirror.wait("described");
  }
  const now = trusted.length > 0 ? primary.describe() : copy;
  if (equal.length === 0 || !isKnown(now)) return now;
  // What was compared was the position's content only if nobody had written in between.
  if (frames !== (now.log ? now.position?.frame : 0)) throw busy(primary.path);
  adopt(equal, membershipOf(primary, now));
  return now;
}

/** Replicas that were proven equal hold the position that the primary held then. */
function adopt(equal: readonly Mirror[], membership: Membership): void {
  for (const mirror of equal) mirror.post({ type: "adopt", membership });
  for (const mirror of equal) mirror.wait("ready");
  for (const mirror of equal) mirror.refresh();
}

/**
 * Content whose lineage no record proves gets a position. If a replica that was proven equal has one
 * in the primary's lineage, it is that. Else a new lineage begins, under a new name: nobody may take
 * the old one's history for the past of this content.
 */
function nameContent(primary: Primary, { equal, frames, wasWal }: Proof): void {
  const { sidecar } = primary;
  const { databaseId: old, timeline } = sidecar.state;
  const voucher = equal.find(
    ({ copy }) => old !== null && copy?.state?.databaseId === old && copy.position,
  );
  const databaseId = voucher ? (old as string) : randomUUID();
  const vouching = voucher?.copy; // as it is before its log is folded
  const compared = vouching?.position ?? originPosition(timeline);
  const history = voucher ? sidecar.history : [];
  const membership = { databaseId, timeline, position: compared, base: null, history };
  adopt(equal, { ...membership, primary: primary.path, file: null });
  // durable: all commits of the log are kept, named
  if (vouching) leave(primary, undefined, vouching);
  if (!vouching) {
    primary.later.at = {};
    dropLeft(primary.path);
  }
  // The switch to WAL mode writes page 1: then the replicas stand one step behind.
  const position = wasWal || equal.length === 0 ? compared : originPosition(timeline);
  sidecar.update(
    { databaseId, generation: null, folded: null },
    {
      history: [...new Set([compared, position])],
      forget: !voucher,
      event: ["named", "replication begins at this content"],
    },
  );
  foldAndStandStill(primary, position, frames);
  primary.release();
}

/** What the end of a stream does not tell its past may. */
function lookDeeper(primary: Primary, mirrors: readonly Mirror[]): void {
  const streams = mirrors.filter((mirror) => mirror.isStream);
  const copy = streams.length > 0 ? primary.describe() : null;
  for (const mirror of streams) {
    if (copy && decideFor(copy, mirror).action.do === "refuse") mirror.refresh();
  }
}

/** A file with the log that a stream ends in, to roll the primary forward with. */
function logOf(mirror: Mirror, primary: Primary): string {
  const to = `${primary.path}-lockstep-stream`;
  mirror.post({ type: "export-log", to });
  mirror.wait("ready");
  return to;
}

/** The mirror whose copy contains all the others. @throws LockstepError DIVERGED if none does */
function furthest(mirrors: readonly Mirror[]): Mirror {
  const contains = (a: Mirror, b: Mirror): boolean =>
    ["in-step", "behind"].includes(decideFor(a.copy as Copy, b).relation);
  const best = mirrors.find((a) => mirrors.every((b) => a === b || contains(a, b)));
  if (best) return best;
  const [a, b] = mirrors.map(({ copy }) => copy as Copy) as [Copy, Copy];
  const because = "the primary is missing, and none of its replicas contains all the others";
  throw refusal(a, b, { relation: "diverged", action: { do: "refuse" }, because });
}

/**
 * With `degrade` a commit may have been acknowledged without the very replicas that are there now.
 * @throws LockstepError PRIMARY_MISSING unless one of them must hold all that was acknowledged
 */
function assertEnough(
  primary: Primary,
  copy: Copy,
  present: readonly Mirror[],
  { replicas, minCopies }: HubOptions,
): void {
  const all = replicas.filter((replica) => !isAsynchronous(replica)).length;
  // Each commit is on `minCopies - 1` of them, or with 1 perhaps on none: then the more the better.
  const enough = Math.min(all, Math.max(1, all - (minCopies - 1) + 1));
  const { detached } = primary.sidecar.state;
  const source = furthest(present);
  const isDetached = detached.some(({ path }) => path === source.path);
  if (present.length >= enough && !isDetached) return;
  const why = isDetached
    ? `the primary's record says that commits went on without ${source.path}`
    : `${present.length} of ${all} replicas are there, and it takes ${enough} to be sure that one holds all that was acknowledged`;
  throw notEnough(copy, source.copy as Copy, why);
}

/** `restoreMissing`: the replica's content becomes the primary, on a new timeline. */
function restoreFrom(mirror: Mirror, primary: Primary, present: readonly Mirror[]): void {
  const found = mirror.copy as Copy;
  const { position, state } = found;
  if (!position || !state?.databaseId) {
    throw refusal(primary.describe(), found, {
      relation: "unknown",
      action: { do: "refuse" },
      because: `the replica's position is not proven: ${found.because}`,
    });
  }
  const timeline = Math.max(state.timeline, primary.sidecar.state.timeline) + 1;
  const fresh = `${primary.path}-lockstep-new`;
  dropLeft(primary.path); // the old primary may have been further than this replica
  mirror.post({ type: "export", to: fresh, primary: primary.path });
  const { sums } = mirror.wait("ready");
  primary.later.at = state.leftAt ?? {};
  moveStrayLogs(primary.path);
  const folded = { position: { ...position, timeline }, file: stampUnused(fresh), sums };
  primary.sidecar.update(
    {
      ...{ databaseId: state.databaseId, timeline, generation: null, folded, folding: false },
      leftAt: primary.later.at,
    },
    {
      // The others are its past, as was just proven: where they stand must be known to be.
      history: [...found.history, ...others(present, mirror), ...latestCommits(found), position],
      forget: true, // the old primary may have been further than this replica
      event: ["restored", `from ${mirror.path}, timeline ${timeline}`],
    },
  );
  fs.renameSync(fresh, primary.path);
  syncDirectory(path.dirname(primary.path)); // durable: the name of the primary that is restored
  mirror.refresh();
}

function others(present: readonly Mirror[], source: Mirror): Position[] {
  return present.flatMap((each) => (each === source ? [] : (each.copy?.position ?? [])));
}

/** Gives every replica what it needs to be attached. The primary stands still meanwhile. */
function prepare(primary: Primary, seen: Copy, mirrors: readonly Mirror[]): void {
  primary.standStill();
  try {
    const copy = primary.sees(seen) ? seen : lookAgain(primary, mirrors);
    const work = mirrors.map((mirror) => ({ mirror, action: decideFor(copy, mirror).action }));
    const membership = membershipOf(primary, copy);
    recordLog(primary, copy);
    renewLog(primary, copy);
    if (work.some(({ action }) => action.do === "copy" || action.do === "delta")) {
      leave(primary, copy); // durable: all commits of the log are kept, standing still
      primary.foldStandingStill(copy);
    }
    const hasSums = Boolean(primary.sidecar.state.folded?.sums);
    // The first of the files makes the primary's, too.
    const first = work.find(
      ({ mirror, action }) => !mirror.isStream && action.do === "copy",
    )?.mirror;
    for (const { mirror, action } of work) {
      const sums = hasSums ? "take" : mirror === first ? "both" : "make";
      prepareOne(mirror, action, membership, sums);
    }
    for (const { mirror, action } of work) {
      if (action.do !== "copy" && action.do !== "delta") continue;
      const { sums } = mirror.wait("ready");
      if (sums && mirror === first) recordSums(primary, sums);
    }
    // A replica without a log cannot be appended to: it gets the primary's, whole, if there is one.
    installLogs(copy, work, membership);
    primary.position = membership.position;
  } catch (error) {
    for (const mirror of mirrors) mirror.giveUp(); // durable: the others stop, too
    throw error;
  } finally {
    primary.release();
  }
}

/** Another program has written since the primary was described; now it stands still. */
function lookAgain(primary: Primary, mirrors: readonly Mirror[]): Copy {
  for (const mirror of mirrors) mirror.look();
  const copy = primary.describe();
  if (!isKnown(copy) || !primary.sees(copy)) throw busy(primary.path);
  refuse(copy, mirrors);
  assertMounted(primary, copy, mirrors);
  const isPreparable = (mirror: Mirror): boolean =>
    ["nothing", "send", "copy", "delta"].includes(decideFor(copy, mirror).action.do);
  if (!mirrors.every(isPreparable)) throw busy(primary.path); // the next start finds out more
  return copy;
}

type Action = Decision["action"];

/** The primary's sums, which were made while it was copied. */
function recordSums({ sidecar }: Primary, sums: SumsRecord): void {
  const { folded } = sidecar.state;
  if (folded && !folded.sums) sidecar.update({ folded: { ...folded, sums } });
}

/** Starts the work on one replica; the replicas work at the same time. */
function prepareOne(mirror: Mirror, action: Action, membership: Membership, sums: CopySums): void {
  switch (action.do) {
    case "copy":
    case "delta":
      mirror.post({ type: action.do, membership, sums });
      return;
    case "send":
    case "nothing":
      return;
    default:
      invariant(false, "proofs and refusals come before any change", { action });
  }
}

/**
 * Every mirror mirrors from now on; what a replica still lacks is sent and made durable. A stream may be refused, for its
 * old primary still writes: then a standby is one as before, and follows. A file is locked: nobody writes that, and on no
 * account may it be on a timeline that the primary's record does not know.
 */
function attach(primary: Primary, mirrors: readonly Mirror[], gate: Gate): void {
  const timeline = timelineToBe(primary);
  const streams = mirrors.filter(({ isStream }) => isStream);
  const files = mirrors.filter(({ isStream }) => !isStream);
  // durable, in this order: a standby in office: its streams, then its record
  const positions = attachAll(streams, timeline);
  // durable, in this order: a standby in office: its record, then its files
  takeOffice(primary);
  positions.push(...attachAll(files, timeline));
  const index = primary.readIndex();
  const { position } = primary;
  if (index.frames > 0) {
    // Frames after `lowest` are sent; a replica in an older generation needs all of this one.
    const lowest = Math.min(...positions.map((p) => (sameSalts(p, index) ? p.frame : 0)));
    gate.catchUp(sameSalts(position, index) ? lowest : 0);
  } else gate.durable = position; // all of it is in the files
  if (primary.foreign) return; // held since `prepare`
  recordForeignFold(primary);
  primary.hold();
}

/** Where they stand. They are attached at the same time. */
function attachAll(mirrors: readonly Mirror[], timeline: number): Position[] {
  for (const mirror of mirrors) mirror.attach(timeline);
  return mirrors.map((mirror) => mirror.attachedAt());
}
