/** What commits leave in a log, put into a ring as the committing thread would. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { RingWriter } from "../../src/gate/ring.ts";
import type { SharedMemory, Slots } from "../../src/gate/slots.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";

/**
 * Shows the threads the log of `primary`, each commit as a record of its own, and asks them to sync it.
 * @returns where each record ends in the ring
 */
export function showLog(primary: string, memory: SharedMemory, slots: Slots): number[] {
  const log = `${primary}-wal`;
  const scan = scanLog(log);
  assert.ok(scan && scan.commits.length > 0);
  const { salt1, salt2, pageSize } = scan.header;
  const bytes = fs.readFileSync(log);
  const ring = new RingWriter(memory.ring);
  const ends: number[] = [];
  let first = 1;
  for (const { frame, sum1, sum2 } of scan.commits) {
    const at = first === 1 ? 0 : frameOffset(first, pageSize);
    const length = frameOffset(frame + 1, pageSize) - at;
    assert.ok(ring.needs(length) <= ring.free(0), "it has room");
    const window = ring.reserve(length);
    window.bytes.set(bytes.subarray(at, at + length), window.at);
    const frames = frame - first + 1;
    ring.commit(window, { first, frames, pageSize, salt1, salt2, sum1, sum2, ends: true });
    ends.push(ring.head);
    first = frame + 1;
  }
  slots.publish(ring.publish(), true);
  return ends;
}
