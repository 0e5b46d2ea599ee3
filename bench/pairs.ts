/** A database and its replica, in step, closed: made once a workload, from a template. */
import fs from "node:fs";
import { join } from "node:path";
import { Replicated } from "./built.ts";
import { sync } from "./ledger.ts";
import { template } from "./templates.ts";
import type { Case } from "./workload.ts";

export interface Pair {
  readonly primary: string;
  readonly replica: string;
}

export function pairPaths({ shared, x }: Pick<Case, "shared" | "x">): Pair {
  return { primary: join(shared, `primary-${x}.db`), replica: join(shared, `replica-${x}.db`) };
}

export function makePair(one: Case, ...others: readonly string[]): Pair {
  const pair = pairPaths(one);
  if (fs.existsSync(pair.primary)) return pair;
  copyTemplate(one, pair.primary);
  new Replicated(pair.primary, { replicas: [pair.replica, ...others] }).close();
  return pair;
}

export function copyTemplate({ scratch, x }: Case, path: string): void {
  fs.copyFileSync(template(scratch, x), path);
  sync(path);
}

export const milliseconds = (work: () => void): number => {
  const before = performance.now();
  work();
  return performance.now() - before;
};

/** How fast a file of this size was worked through. */
export function speed(path: string, ms: number): { time: number; speed: number } {
  return { time: ms, speed: fs.statSync(path).size / 1e3 / ms };
}
