/**
 * Goal: whichever single call of the system fails, and wherever the process dies, no acknowledged
 * transaction is lost, no error goes unsaid, no lock stays behind, and a reopen brings the copies
 * together.
 * Method: one scenario that starts, commits, checkpoints, closes, starts again. It is run once to
 * count its calls; then once for each call, and that call fails, or fails from then on, or the
 * process is killed there.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import type { Reply } from "./child.ts";
import { Pair } from "./pair.ts";
import type { Rule } from "./shim.ts";

export type Fault = (nth: number) => Rule[];

export const FAULTS: Record<string, Fault> = {
  "one call fails with EIO": (nth) => [{ on: "*", path: "*", nth, times: 1, does: EIO }],
  "every call fails with EIO from there on": (nth) => [{ on: "*", path: "*", nth, does: EIO }],
  "one open fails with EIO": (nth) => [{ on: "open", path: "*", nth, times: 1, does: EIO }],
  "the process is killed": (nth) => [{ on: "*", path: "*", nth, does: "killgroup" }],
};
const EIO = { error: "EIO" } as const;

export interface Outcome {
  /** Did the fault come about, or is the scenario shorter? */
  readonly hit: boolean;
  /** The codes that came out. */
  readonly codes: readonly string[];
}

/** Runs the scenario under one fault and checks what is left. */
export async function sweepOne(
  t: TestContext,
  driver: DriverName,
  fault: Fault,
  nth: number,
): Promise<Outcome> {
  const pair = new Pair(t, driver, { checkpointBytes: 30_000 });
  void pair.subject;
  pair.faults.set(...fault(nth));
  const codes = await scenario(pair);
  const hit = pair.faults.matched(0) >= nth;
  const dead = (await pair.subject.ask({ do: "turn", milliseconds: 0 })) === null;
  if (hit) {
    for (const copy of [pair.primary, pair.replica]) pair.holdsAcknowledgedIfAny(copy);
  }
  if (dead) await pair.restart();
  else
    assert.ok(
      codes.every((code) => /^ERR_LOCKSTEP_|SQLITE/.test(code)),
      codes.join(),
    );
  await pair.recovers();
  await pair.restart();
  await pair.recovers();
  await pair.restart();
  return { hit, codes };
}

async function scenario(pair: Pair): Promise<string[]> {
  const codes: string[] = [];
  const note = (reply: Reply | null): boolean => {
    if (reply?.error) codes.push(reply.error.code);
    return reply !== null && reply.error === undefined;
  };
  for (let life = 0; life < 2; life++) {
    if (!note(await pair.open())) continue;
    note(await pair.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)"));
    for (let i = 0; i < 5; i++) note(await pair.insert(5000));
    note(await pair.close());
  }
  return codes;
}
