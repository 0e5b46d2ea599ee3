/** A few of the sweep's cases at random; `npm run test:sweep` runs them all. */
import { test } from "node:test";
import { Random } from "../crash/random.ts";
import { DRIVERS } from "./pair.ts";
import { scenarios } from "./scenarios.ts";
import { skip } from "./shim.ts";
import { type Fault, faults, type ScenarioName, sweepOne } from "./sweep.ts";

const RUNS = 12;
/** No scenario makes many more calls than that. */
const CALLS = 800;

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const random = new Random(seed);

for (let run = 1; run <= RUNS; run++) {
  const driver = random.pick(DRIVERS);
  const scenario = random.pick(Object.keys(scenarios) as ScenarioName[]);
  const fault = random.pick(Object.keys(faults) as Fault[]);
  const nth = random.between(1, fault === "one open fails" ? CALLS / 8 : CALLS);
  test(`${scenario}; ${fault}: call ${nth}, with ${driver} (SEED=${seed})`, { skip }, async (t) => {
    await sweepOne(t, driver, scenario, fault, nth);
  });
}
