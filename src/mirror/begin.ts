/**
 * Where a mirror's thread begins, before it has loaded what a mirror is: a process that is expected to be needed
 * begins meanwhile.
 */
import { workerData } from "node:worker_threads";
import type { WorkerData } from "../gate/messages.ts";

const data = workerData as WorkerData;
const spare = data.expectsBulk ? (await import("../lineage/bulk.ts")).expectBulk() : null;
const { runMirror } = await import("./worker.ts");
await runMirror(data, spare);
