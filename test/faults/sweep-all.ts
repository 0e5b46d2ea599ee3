/**
 * Every call of every scenario, or every so many-th.
 *
 *   npm run test:sweep [-- --every 10] [--driver better-sqlite3] [--scenario PART] [--fault PART]
 */

import type { TestContext } from "node:test";
import { parseArgs } from "node:util";
import { DRIVERS } from "./pair.ts";
import { scenarios } from "./scenarios.ts";
import { type Fault, faults, type ScenarioName, sweepOne } from "./sweep.ts";

const { values } = parseArgs({
  options: {
    every: { type: "string", default: "1" },
    driver: { type: "string", default: "" },
    scenario: { type: "string", default: "" },
    fault: { type: "string", default: "" },
  },
});

let failures = 0;
for (const driver of DRIVERS.filter((name) => name.includes(values.driver))) {
  for (const scenario of Object.keys(scenarios) as ScenarioName[]) {
    if (!scenario.includes(values.scenario)) continue;
    for (const fault of Object.keys(faults) as Fault[]) {
      if (!fault.includes(values.fault)) continue;
      const codes = new Map<string, number>();
      for (let nth = 1; ; nth += Number(values.every)) {
        const outcome = await attempt(driver, scenario, fault, nth);
        if (typeof outcome === "string") {
          failures++;
          console.log(`FAILED: ${scenario}; ${fault}: call ${nth}, with ${driver}: ${outcome}`);
          continue;
        }
        if (!outcome.hit) break; // the scenario has fewer calls
        for (const code of new Set(outcome.codes)) codes.set(code, (codes.get(code) ?? 0) + 1);
      }
      console.log(`${driver}; ${scenario}; ${fault}:`, Object.fromEntries(codes));
    }
  }
}
console.log(failures === 0 ? "nothing failed" : `${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;

async function attempt(...what: [(typeof DRIVERS)[number], ScenarioName, Fault, number]) {
  const after: (() => unknown)[] = [];
  const context = { after: (work: () => unknown) => after.push(work) };
  try {
    return await sweepOne(context as unknown as TestContext, ...what);
  } catch (error) {
    return (error as Error).message;
  } finally {
    for (const work of after.reverse()) await work();
  }
}
