/** A thread that opens a log and appends, whatever the thread does that started it. */
import { workerData } from "node:worker_threads";
import { NatsLog } from "../../src/stream/nats.ts";
import { message, soon } from "./messages.ts";

const { url, cells, count } = workerData as { url: string; cells: Int32Array; count: number };
const log = await NatsLog.open(url, soon());
for (let after = 0; after < count; after++) {
  if ((await log.append(message(`m${after + 1}`, 3000), after, soon())) !== null) break;
  Atomics.add(cells, 0, 1);
  Atomics.notify(cells, 0);
}
await log.close();
