/** What a commit leaves in a log, put into a ring as the committing thread would. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { RingWriter } from "../../src/gate/ring.ts";
import type { SharedMemory, Slots } from "../../src/gate/slots.ts";
import { scanLog } from "../../src/wal/scan.ts";

/** Shows the threads the log of `primary`, up to its first commit, and asks them to sync it. */
export function showLog(primary: string, memory: SharedMemory, slots: Slots): void {
  const log = `${primary}-wal`;
  const scan = scanLog(log);
  const [end] = scan?.commits ?? [];
  assert.ok(scan && end);
  const { salt1, salt2, pageSize } = scan.header;
  const { frame: frames, sum1, sum2 } = end;
  const bytes = fs.readFileSync(log);
  const ring = new RingWriter(memory.ring);
  const window = ring.reserve(bytes.length);
  window.bytes.set(bytes, window.at);
  ring.commit(window, { first: 1, frames, pageSize, salt1, salt2, sum1, sum2, ends: true });
  slots.publish(ring.publish(), true);
}
