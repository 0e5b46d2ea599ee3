/**
 * The process of one trial: process.ts WORKLOAD prepare|trial CASE. Prints what the trial gives as
 * JSON, or {"unavailable": why}.
 */
import { type Case, Unavailable, type Workload } from "./workload.ts";

const [name, step, json] = process.argv.slice(2) as [string, "prepare" | "trial", string];
const { workload } = (await import(`./workloads/${name}.ts`)) as { workload: Workload };
try {
  const result = await workload[step]?.(JSON.parse(json) as Case);
  console.log(JSON.stringify(result ?? {}));
} catch (error) {
  if (!(error instanceof Unavailable)) throw error;
  console.log(JSON.stringify({ unavailable: error.message }));
}
