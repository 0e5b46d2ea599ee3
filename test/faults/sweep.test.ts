/** A few of the sweep's cases; `npm run test:sweep` runs them all. */
import { test } from "node:test";
import { Random } from "../crash/random.ts";
import { DRIVERS } from "../support/drivers.ts";
import { runs, seed } from "../support/seed.ts";
import { faults, pointsFor, tell, thinned } from "./matrix.ts";
import { phases } from "./phases.ts";
import { skip } from "./shim.ts";
import { Sweep } from "./sweep.ts";

/** Of every phase so many. */
const CASES = runs(1);

test(`a sample of failing calls (SEED=${seed})`, { skip }, async (t) => {
  const random = new Random(seed);
  const sweeps = DRIVERS.map((driver) => ({ driver, sweep: new Sweep(t, driver) }));
  for (const phase of Object.keys(phases)) {
    const { driver, sweep } = random.pick(sweeps);
    const points = thinned(await sweep.points(phase));
    for (let i = 0; i < CASES; i++) {
      const fault = random.pick(faults);
      const point = random.pick(pointsFor(fault, phase, points));
      await t.test(`${phase}; ${fault.name}: ${tell(point)}, with ${driver}`, async () => {
        await sweep.attempt(phase, fault, point);
      });
    }
  }
});
