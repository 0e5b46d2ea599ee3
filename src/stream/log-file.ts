/** A log file made of what a stream carries: the generation that it ends in, from its first frame. */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";
import type { Position } from "../lineage/position.ts";
import { frameOffset, sameSalts } from "../wal/format.ts";
import { writeFully } from "../wal/scan.ts";
import { beginnings } from "./find.ts";
import type { Keys } from "./keys.ts";
import type { StreamLog } from "./log.ts";
import { unwrap } from "./seal.ts";
import { decodeSegment, kinds } from "./segment.ts";

/**
 * Writes the log that leads to `position`, where the stream ends with message `last`, to the new file `to`, and syncs it.
 * Pieces of a transaction that never ended are in it only where nothing came after them: whoever reads it up to
 * `position` finds out whether it verifies.
 * @throws LockstepError REPLICA_GONE if the stream does not hold all of it any more
 */
export async function writeLogFile(
  log: StreamLog,
  { position, last }: { readonly position: Position; readonly last: number },
  keys: Keys | null,
  to: string,
  onMessage: () => void,
): Promise<void> {
  const begins = await beginningOf(log, position, last);
  fs.rmSync(to, { force: true });
  const fd = fs.openSync(to, "wx", 0o600);
  try {
    for await (const { sequence, bytes } of log.read(begins, { to: last })) {
      const where = `${log.name} message ${sequence}`;
      onMessage();
      const { header, wrapped } = decodeSegment(bytes, where);
      if (header.kind !== kinds.FRAMES || !sameSalts(header, position)) continue;
      const frames = unwrap(header, wrapped, keys, where);
      const at = header.first === 1 ? 0 : frameOffset(header.first, header.pageSize);
      writeFully(fd, frames, 0, frames.length, at);
    }
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The message with frame 1 of this generation. @throws LockstepError REPLICA_GONE */
export async function beginningOf(
  log: StreamLog,
  position: Position,
  last: number,
): Promise<number> {
  const { first } = await log.ends();
  for await (const { sequence, header } of beginnings(log, { first, last })) {
    if (header.kind === kinds.FRAMES && sameSalts(header, position)) return sequence;
  }
  throw new LockstepError(codes.REPLICA_GONE, {
    copy: log.name,
    what: "The stream does not hold the beginning of its last log any more",
    state: "Neither side was changed",
    next: "Restore from the stream to a new file, and see how the two differ: lockstep verify",
  });
}
