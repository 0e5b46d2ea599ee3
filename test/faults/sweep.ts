/**
 * Goal: whichever single call of the system fails, and wherever the process dies, no acknowledged
 * transaction is lost, no error goes unsaid, no lock stays behind, and a reopen brings the copies
 * together.
 * Method: a scenario is run once for each of its calls, and that call fails, or all do from then on,
 * or the processes are killed there.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import type { Reply } from "./child.ts";
import { Pair } from "./pair.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import type { Rule } from "./shim.ts";

const EIO = { error: "EIO" } as const;

/** The rules under which the `nth` call is the first that fails. */
export const faults = {
  "one call fails": (nth) => [{ on: "*", path: "*", nth, times: 1, does: EIO }],
  "all calls fail from one on": (nth) => [{ on: "*", path: "*", nth, does: EIO }],
  "one open fails": (nth) => [{ on: "open", path: "*", nth, times: 1, does: EIO }],
  "the processes are killed": (nth) => [{ on: "*", path: "*", nth, does: "killgroup" }],
} satisfies Record<string, (nth: number) => Rule[]>;

export type Fault = keyof typeof faults;
export type ScenarioName = keyof typeof scenarios;

export interface Outcome {
  /** Did the fault come about, or is the scenario shorter? */
  readonly hit: boolean;
  /** The codes that came out. */
  readonly codes: readonly string[];
}

/** Runs a scenario under one fault and checks what is left. */
export async function sweepOne(
  t: TestContext,
  driver: DriverName,
  name: ScenarioName,
  fault: Fault,
  nth: number,
): Promise<Outcome> {
  const { prepare, options = {} }: Scenario = scenarios[name];
  const pair = new Pair(t, driver, { checkpointBytes: 30_000, ...options });
  void pair.subject;
  await prepare?.(pair);
  pair.faults.set(...faults[fault](nth));
  const codes = await live(pair);
  const hit = pair.faults.matched(0) >= nth;
  const dead = (await pair.subject.ask({ do: "turn", milliseconds: 0 })) === null;
  if (dead) await pair.restart();
  else for (const code of codes) assert.match(code, /^ERR_LOCKSTEP_|SQLITE/);
  if (hit && !prepare) {
    for (const copy of [pair.primary, pair.replica]) pair.holdsAcknowledgedIfAny(copy);
  }
  await pair.recovers();
  await pair.restart();
  await pair.recovers();
  await pair.restart();
  return { hit, codes };
}

/** Opens, commits, checkpoints, closes, twice; goes on after any error. */
async function live(pair: Pair): Promise<string[]> {
  const codes: string[] = [];
  const done = (reply: Reply | null): boolean => {
    if (reply?.error) codes.push(reply.error.code);
    return reply !== null && reply.error === undefined;
  };
  for (let i = 0; i < 2; i++) {
    if (!done(await pair.open())) continue;
    done(await pair.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)"));
    for (let n = 0; n < 5; n++) done(await pair.insert(5000));
    done(await pair.close());
  }
  return codes;
}
