/** Writes one directory for disk.ts: over and over through a file as long as a log gets. */
import fs from "node:fs";
import { join } from "node:path";
import { workerData } from "node:worker_threads";
import { Slots, states } from "../gate/slots.ts";
import type { DiskFailure, DiskThreadData } from "./disk.ts";
import { LOG_BYTES } from "./ways.ts";

const { index, directory, bytesPerCommit, memory, port } = workerData as DiskThreadData;
const slots = new Slots(memory);

try {
  write();
  slots.setState(index, states.CLOSED);
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  port.postMessage({ message, code } satisfies DiskFailure);
  slots.setState(index, states.FAILED);
}
port.close();

function write(): void {
  const file = fs.openSync(join(directory, "disk"), "w");
  fs.writeFileSync(file, Buffer.alloc(LOG_BYTES)); // not a hole: no commit has to find a place
  fs.fsyncSync(file);
  slots.setState(index, states.ATTACHED);
  const bytes = Buffer.alloc(bytesPerCommit, 0x5a);
  let [done, at] = [0, 0];
  for (;;) {
    const seen = slots.work();
    if (slots.givenUp(index)) break;
    const wanted = slots.head();
    if (wanted === done) {
      slots.waitForWork(seen);
      continue;
    }
    if (at + bytes.length > LOG_BYTES) at = 0;
    at += fs.writeSync(file, bytes, 0, bytes.length, at);
    fs.fdatasyncSync(file);
    done = wanted;
    slots.confirm(index, done);
  }
  fs.closeSync(file);
}
