/** A pair with one replica more, whose disk misbehaves: it hangs, fills up, vanishes, while commits go on. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { DriverName } from "../../src/driver.ts";
import type { ReplicationOptions } from "../../src/options.ts";
import { ok, Pair, TIMEOUT_MS } from "../faults/pair.ts";
import type { Rule } from "../faults/shim.ts";
import { assertAtRest } from "../support/files.ts";

export const OFTEN = 30_000;
const PATIENCE_MS = 60_000;
/** Where one is to hang: how long is waited for it. */
export const TIMEOUT = { replicaTimeout: 2 * TIMEOUT_MS };

/** A pair with one replica more, on a disk of its own, that commits go on without. */
export class Group {
  readonly pair: Pair;
  readonly other: string;

  constructor(t: TestContext, driver: DriverName, options: ReplicationOptions = {}) {
    this.pair = new Pair(t, driver, {
      onReplicaFailure: "degrade",
      ...options,
    });
    fs.mkdirSync(join(this.pair.faults.root, "other"));
    this.other = join(this.pair.faults.root, "other", "app.db");
  }

  get replicas(): ReplicationOptions {
    return { replicas: [this.pair.replica, this.other] };
  }

  async states(): Promise<unknown> {
    return ok(await this.pair.subject.ask({ do: "states" })).value;
  }

  /** Commits go on until the other replica is in this state. */
  async until(state: string): Promise<void> {
    for (const began = performance.now(); ; ) {
      const [pair, other] = (await this.states()) as string[];
      assert.equal(pair, "mirroring");
      if (other === state) return;
      assert.ok(performance.now() - began < PATIENCE_MS, `it stays ${other}`);
      ok(await this.pair.insert(2000));
      await this.pair.subject.ask({ do: "turn", milliseconds: 5 });
    }
  }

  /** It is closed: all three are equal and hold what was acknowledged. */
  async atRest(): Promise<void> {
    await this.pair.atRest();
    assertAtRest(this.pair.primary, [this.other]);
  }
}

export async function without(group: Group, rule: Rule, rows = 3, bytes = 5000): Promise<void> {
  const { pair } = group;
  await pair.begin(group.replicas);
  pair.faults.set(rule);
  for (let i = 0; i < rows; i++) ok(await pair.insert(bytes));
  await group.until("detached");
}

export async function comesBack(group: Group): Promise<void> {
  group.pair.faults.set();
  await group.until("mirroring");
  ok(await group.pair.close());
  await group.atRest();
}

export const hang = (on: Rule["on"], path: string): Rule => ({ on, path, does: "hang" });
