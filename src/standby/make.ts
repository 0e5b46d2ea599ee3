/**
 * A standby where there is none, and the log beside one that has none: each step leaves the old state or the new
 * one, whenever it is cut off, as in mirror/prepare.ts.
 */
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { codes } from "../errors.ts";
import { walPath } from "../lineage/describe.ts";
import { stampUnused } from "../lineage/fingerprint.ts";
import { emptyPlaceForLog } from "../lineage/fold.ts";
import { formatPosition, type Position } from "../lineage/position.ts";
import { freshLog } from "../lineage/resync.ts";
import type { Sidecar } from "../lineage/sidecar.ts";
import { moveStrayLogs } from "../lineage/stray.ts";
import { findStart, type Start } from "../stream/find.ts";
import type { Keys } from "../stream/keys.ts";
import type { StreamLog } from "../stream/log.ts";
import { Reading } from "../stream/reading.ts";
import { wholes } from "../stream/transactions.ts";
import { syncDirectory } from "../targets/directory.ts";
import { frameOffset, sameSalts, sameSums } from "../wal/format.ts";
import { scanLog, writeFully } from "../wal/scan.ts";
import { cannotFollow, refused } from "./refusals.ts";
import { type Staged, type StageOptions, stageFrom } from "./stage.ts";

/** Makes the file from the newest snapshot; it stands at the snapshot's position then. */
export async function makeStandby(
  log: StreamLog,
  sidecar: Sidecar,
  options: StageOptions,
): Promise<Staged> {
  const { copy } = sidecar;
  const fresh = freshLog(copy);
  const ends = await log.ends();
  const start = await findStart(log, ends, { to: ends.last, position: null }, options.keys);
  if (!start) throw noSnapshot(log);
  moveStrayLogs(copy); // durable: no foreign log beside the standby
  const staged = await stageFrom(log, start, atSnapshot(start, ends.last), fresh, options);
  const { databaseId, position } = staged;
  const folded = { position, file: stampUnused(fresh) };
  // durable, in this order: a standby: recorded, then named
  sidecar.update(
    {
      ...{ databaseId, timeline: position.timeline, role: "replica", stream: log.name },
      ...{ generation: null, folding: false, resync: null, folded },
    },
    { event: ["copied", `from ${log.name}`], history: [position], forget: true },
  );
  fs.renameSync(fresh, copy); // durable, in this order: a standby: named, then synced
  syncDirectory(path.dirname(copy)); // durable: the name of the standby
  return staged;
}

/** Puts the log that begins at message `from` beside a copy without one, up to its position, in one rename. */
export async function installLog(
  log: StreamLog,
  driver: Driver,
  sidecar: Sidecar,
  { from, position, keys }: { from: number; position: Position; keys: Keys | null },
): Promise<void> {
  const { copy } = sidecar;
  const fresh = freshLog(copy);
  fs.rmSync(fresh, { force: true });
  const { last } = await log.ends();
  const reading = new Reading(log.name, from, keys);
  const fd = fs.openSync(fresh, "wx", fs.statSync(copy).mode);
  let base: Position | null = null;
  try {
    read: for await (const whole of wholes(log, log.read(from, { to: last }), reading, keys)) {
      for await (const { header, payload, commits } of whole.pieces()) {
        if (!sameSalts(header, position)) break read;
        const { first, frames, pageSize } = header;
        base = header.base;
        const offset = first === 1 ? 0 : frameOffset(first, pageSize);
        const end = frameOffset(Math.min(position.frame, first + frames - 1) + 1, pageSize);
        writeFully(fd, payload, 0, end - offset, offset);
        if (commits.some((each) => each.frame === position.frame)) break read;
      }
    }
    fs.fsyncSync(fd); // durable: a log out of a stream
  } finally {
    fs.closeSync(fd);
  }
  const end = scanLog(fresh)?.commits.at(-1);
  // durable: a log out of a stream leads to the copy's position
  if (end?.frame !== position.frame || !sameSums(end, position)) {
    fs.rmSync(fresh);
    const what = `It stands at ${formatPosition(position)}, and the log in the stream does not lead there`;
    throw cannotFollow(codes.DIVERGED, copy, log.name, what);
  }
  emptyPlaceForLog(driver, copy);
  const { salt1, salt2 } = position;
  // durable, in this order: the log of a standby: recorded, then named
  sidecar.update({ generation: { salt1, salt2, base } }, { history: base ? [base] : [] });
  fs.renameSync(fresh, walPath(copy));
  syncDirectory(path.dirname(copy)); // and again when the log is opened, before it is used
}

export function noSnapshot(log: StreamLog) {
  return refused(
    codes.REPLICA_GONE,
    log.name,
    "It has no snapshot from which its messages lead on",
    "Wait for the primary to take one; it does when it opens the stream",
  );
}

// --- internal ---

/** At the snapshot itself: what comes after is delivered as to any replica. */
function atSnapshot({ snapshot }: Start, to: number) {
  return { to, position: snapshot.position };
}
