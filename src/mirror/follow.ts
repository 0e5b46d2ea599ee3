/**
 * Catching up while commits go on: what the replica lacks is read from the primary's log itself, and not
 * from the ring, where it would keep commits waiting. The log does not restart meanwhile, for checkpoints
 * wait (gate/rejoin.ts); if it did, its frames would not verify.
 */
import fs from "node:fs";
import type { Window } from "../gate/ring.ts";
import type { Position } from "../lineage/position.ts";
import { decodeWalHeader, frameOffset, frameSize, WAL_HEADER_SIZE } from "../wal/format.ts";
import { naming, readFully } from "../wal/scan.ts";
import type { Delivery } from "./delivery.ts";

const CHUNK_BYTES = 1 << 20;

/** Appends the frames of `log` after those that the replica has, up to `to`: all of them or none. */
export function follow(delivery: Delivery, log: string, to: Position): void {
  const fd = fs.openSync(log, "r");
  try {
    const pageSize = pageSizeOf(fd, log);
    const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / frameSize(pageSize)));
    const bytes = new Uint8Array(WAL_HEADER_SIZE + perChunk * frameSize(pageSize));
    delivery.beginWhole();
    for (let first = delivery.next(to); first <= to.frame; ) {
      const frames = Math.min(perChunk, to.frame - first + 1);
      const offset = first === 1 ? 0 : frameOffset(first, pageSize);
      const length = frameOffset(first + frames, pageSize) - offset;
      const n = naming(log, () => readFully(fd, bytes, 0, length, offset));
      const window: Window = { bytes, at: 0, length: n };
      if (n < length) throw shorter(log);
      const ends = first + frames - 1 === to.frame;
      delivery.deliver({ ...to, first, frames, pageSize, ends }, window);
      first += frames;
    }
    delivery.sync();
  } finally {
    fs.closeSync(fd);
  }
}

function pageSizeOf(fd: number, log: string): number {
  const head = new Uint8Array(WAL_HEADER_SIZE);
  const n = naming(log, () => readFully(fd, head, 0, head.length, 0));
  const header = n === head.length ? decodeWalHeader(head) : null;
  if (!header) throw shorter(log);
  return header.pageSize;
}

function shorter(file: string): Error {
  return Object.assign(new Error("the log became shorter while it was read"), { file });
}
