/**
 * A thread that runs one module after the other, each as if the thread had begun with it (warm.ts).
 */
import { createRequire, syncBuiltinESMExports } from "node:module";
import { type MessagePort, parentPort } from "node:worker_threads";
import { spawnWarm } from "./warm-spawn.ts";

const threads = createRequire(import.meta.url)("node:worker_threads") as { workerData: unknown };

spawnWarm(true);
let run = 0;
(parentPort as MessagePort).on("message", async ({ module, workerData }: Task) => {
  threads.workerData = workerData;
  syncBuiltinESMExports();
  await import(`${module}?run=${run++}`);
  parentPort?.postMessage("done");
});

interface Task {
  readonly module: string;
  readonly workerData: unknown;
}
