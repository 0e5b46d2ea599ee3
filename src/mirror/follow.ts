/**
 * Catching up while commits go on: what the replica lacks is read from the primary's log itself, and not
 * from the ring, where it would keep commits waiting. The log does not restart meanwhile, for checkpoints
 * wait (gate/rejoin.ts); if it did, its frames would not verify.
 */
import fs from "node:fs";
import type { FramesRecord, Window } from "../gate/ring.ts";
import type { Position } from "../lineage/position.ts";
import {
  decodeWalHeader,
  frameOffset,
  frameSize,
  type Salts,
  sameSalts,
  WAL_HEADER_SIZE,
  type WalHeader,
} from "../wal/format.ts";
import { naming, readFully } from "../wal/scan.ts";
import type { Delivery } from "./delivery.ts";

const CHUNK_BYTES = 1 << 20;

/** Appends the frames of `log` after those that the replica has, up to `to`: all of them or none. */
export function follow(delivery: Delivery, log: string, to: Position): void {
  delivery.beginWhole();
  for (const { record, window } of piecesOf(log, delivery.next(to), to)) {
    delivery.deliver(record, window);
  }
  delivery.sync();
}

/**
 * The frames of a log file from `first` on, up to `to`, as they would come through the ring. A window is good
 * until the next is asked for.
 */
export function* piecesOf(
  log: string,
  first: number,
  to: Position,
): Generator<{ readonly record: FramesRecord; readonly window: Window }> {
  const fd = fs.openSync(log, "r");
  try {
    const header = headerOf(fd, log);
    if (!header) throw shorter(log);
    const { pageSize } = header;
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameSize(pageSize)));
    const bytes = new Uint8Array(WAL_HEADER_SIZE + perChunk * frameSize(pageSize));
    for (let next = first; next <= to.frame; ) {
      const frames = Math.min(perChunk, to.frame - next + 1);
      const offset = next === 1 ? 0 : frameOffset(next, pageSize);
      const length = frameOffset(next + frames, pageSize) - offset;
      const n = naming(log, () => readFully(fd, bytes, 0, length, offset));
      if (n < length) throw shorter(log);
      const ends = next + frames - 1 === to.frame;
      const record = { ...to, first: next, frames, pageSize, ends };
      yield { record, window: { bytes, at: 0, length: n } };
      next += frames;
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** The header of a log file, if it is of this generation. */
export function readLogHeader(log: string, generation: Salts): WalHeader | null {
  if (!fs.existsSync(log)) return null;
  const fd = fs.openSync(log, "r");
  try {
    const header = headerOf(fd, log);
    return header && sameSalts(header, generation) ? header : null;
  } finally {
    fs.closeSync(fd);
  }
}

function headerOf(fd: number, log: string): WalHeader | null {
  const head = new Uint8Array(WAL_HEADER_SIZE);
  const n = naming(log, () => readFully(fd, head, 0, head.length, 0));
  return n === head.length ? decodeWalHeader(head) : null;
}

function shorter(file: string): Error {
  return Object.assign(new Error("the log became shorter while it was read"), { file });
}
