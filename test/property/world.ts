/**
 * The copies, what they may hold, and what happens to them. At every start the database must hold one
 * of the states that may have survived: at the least everything acknowledged, and nothing that was
 * never committed. Which states these are the model says.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { codes, LockstepError } from "../../src/errors.ts";
import { restore } from "../../src/restore.ts";
import { sync } from "../../src/sync.ts";
import { frameOffset, sameSalts } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import type { Ending } from "../scratch.ts";
import { assertAtRest, logEnd, readAtRest, runSql } from "../support/files.ts";
import { Scene } from "../support/scene.ts";
import { Life, liveAndDie, type Told, type Where } from "./life.ts";
import { EMPTY, found, plan, SCHEMA, type State, type Step, told } from "./model.ts";
import type { LifePlan, Program } from "./program.ts";

/** What a start may say of a replica that something happened to since it was attached last. */
const SETTLED: readonly string[] = [codes.REPLICA_UNKNOWN, codes.DIVERGED, codes.PRIMARY_STALE];

const LAST: LifePlan = {
  ...{ acts: [], durability: "commit", checkpointBytes: 8 << 20, away: 0 },
  ...{ end: "close", between: "nothing" },
};

export class World {
  readonly #t: Ending;
  readonly #driver: Program["driver"];
  #scene: Scene;
  /** What the copies may hold, in the order of commits. */
  #possible: readonly State[] = [EMPTY];
  /** The replicas of the last life. */
  #attached: readonly string[] = [];
  /** Replicas that need not be known at their next start. */
  #excused = new Set<string>();
  /** The primary that was just replaced: it may hold commits that were acknowledged to nobody. */
  #former: string | null = null;
  #restoreMissing = false;
  /** A disk has lied: what is left of the truth is spread over the copies. */
  #torn = false;
  /** For the canary: what the model takes for acknowledged, and nobody has written. */
  readonly #lie: boolean;

  constructor(t: Ending, { driver, replicas, pageSize, autoVacuum }: Program, lie = false) {
    this.#t = t;
    this.#driver = driver;
    this.#lie = lie;
    this.#scene = Scene.make(t, { driver, replicas });
    runSql(
      this.#scene.primary,
      `PRAGMA page_size=${pageSize}; PRAGMA auto_vacuum=${autoVacuum}; VACUUM`,
    );
  }

  async live(each: LifePlan): Promise<void> {
    const where = this.#where(each);
    const killed = typeof each.end === "object" && "kill" in each.end ? each.end.kill : null;
    // Only commits that are acknowledged one by one stand still while the copies are copied.
    const kill =
      killed ?? (each.durability === "barrier" && each.end !== "close" ? { afterStep: 99 } : null);
    if (kill) {
      await this.#settled(where);
      const { by, steps } = this.#planned(each, 0);
      const marked = steps.map((step, i) => [step, by[i] ?? 0] as const);
      const survived = await liveAndDie({ where, steps: marked, kill });
      this.#attach(where);
      this.#survive(steps, survived);
    } else await this.#liveHere(where, each);
    await this.#happen(each.between);
  }

  /** All replicas once more; then everything is equal, and is what the model says. */
  async end(): Promise<void> {
    await this.#liveHere(this.#where(LAST), LAST);
    const [state] = this.#possible as [State];
    for (const copy of this.#scene.copies) {
      assert.equal(readAtRest(copy, found), told(state), `${this.#name(copy)} is as the model`);
    }
    fs.rmSync(this.#scene.root, { recursive: true });
  }

  async #liveHere(where: Where, each: LifePlan): Promise<void> {
    const life = await this.#open(where);
    const past = typeof each.end === "object" && "past" in each.end ? each.end.past : 0;
    const { by, steps } = this.#planned(each, past);
    const ordinary = steps.length - past;
    steps.forEach((step, i) => {
      if (i < ordinary) life.do(step, by[i] ?? 0);
      else life.doPast(step.sql as string);
    });
    const now = steps.at(-1)?.after as State;
    assert.equal(found(life.first), told(now), "what is read while it is open");
    if (each.end === "close") {
      life.close();
      this.#survive(steps, { durable: steps.length, begun: steps.length });
      assertAtRest(where.primary, where.replicas);
      return;
    }
    const image = this.#scene.crashImage();
    this.#survive(steps, life.told);
    const moved = new Map(this.#scene.copies.map((copy, i) => [copy, image.copies[i] as string]));
    life.close();
    fs.rmSync(this.#scene.root, { recursive: true });
    this.#scene = image;
    this.#attached = this.#attached.map((copy) => moved.get(copy) as string);
    this.#excused = new Set([...this.#excused].map((copy) => moved.get(copy) as string));
    if (typeof each.end === "object" && "torn" in each.end) this.#tear(each.end.torn, each.end.at);
  }

  /** The steps of a life from the state that it began with, and through which connection each goes. */
  #planned(each: LifePlan, past: number): { steps: Step[]; by: number[] } {
    const [from] = this.#possible as [State];
    const aux = path.join(this.#scene.root, "aux.db");
    const steps: Step[] = [{ sql: SCHEMA, single: true, after: from }];
    const by = [0];
    let state = from;
    for (const [act, connection] of each.acts) {
      const more = plan(state, [act], aux);
      steps.push(...more);
      // What is attached is attached to one connection.
      by.push(...more.map(() => connection));
      state = more.at(-1)?.after ?? state;
    }
    const unseen = Array.from({ length: past }, () => ({ put: 1, bytes: 300 }));
    steps.push(...plan(state, unseen, aux));
    return { steps, by };
  }

  #where({ durability, checkpointBytes, away }: LifePlan): Where {
    const { primary, replicas } = this.#scene;
    const there = this.#torn ? replicas : replicas.filter((_, i) => (away & (1 << i)) === 0);
    // With none there would be no replication; a missing primary needs what was attached last.
    const needed = this.#restoreMissing ? [...new Set([...this.#attached, ...there])] : there;
    return {
      ...{ driver: this.#driver, primary, durability, checkpointBytes },
      replicas: needed.length > 0 ? needed : replicas.slice(0, 1),
      restoreMissing: this.#restoreMissing,
    };
  }

  /** Opens, and settles what may be refused. What is found is what the copies hold from here on. */
  async #open(where: Where): Promise<Life> {
    let life: Life;
    try {
      life = await Life.open(where);
    } catch (error) {
      const excused = where.replicas.filter((replica) => this.#excused.has(replica));
      const known = error instanceof LockstepError && SETTLED.includes(error.code);
      if (!known || excused.length === 0) throw error;
      // Replicas that have parted, or of which nothing is known: somebody has to say which one it is.
      if (this.#restoreMissing) await restore(this.#attached[0] as string, where.primary);
      for (const replica of excused) await sync(where.primary, replica, { from: "primary" });
      life = await Life.open(where);
    }
    this.#attach(where);
    const seen = found(life.first);
    const state = this.#possible.findLast((each) => told(each) === seen);
    if (!state) life.close();
    assert.ok(state, `what is found may not be:\n${seen}\n${this.#possible.map(told).join("\n")}`);
    this.#possible = [state];
    return life;
  }

  /** Makes sure that a life elsewhere begins with what is known. */
  async #settled(where: Where): Promise<void> {
    const life = await this.#open(where);
    life.close();
  }

  #attach(where: Where): void {
    this.#attached = where.replicas;
    for (const replica of where.replicas) this.#excused.delete(replica);
    // If its successor goes on without it, the two have parted.
    if (this.#former && !where.replicas.includes(this.#former)) this.#excused.add(this.#former);
    this.#former = null;
    this.#restoreMissing = false;
    this.#torn = false;
  }

  #survive(steps: readonly Step[], { durable, begun }: Told): void {
    const [from] = this.#possible as [State];
    const states = [from, ...steps.map(({ after }) => after)];
    this.#possible = states.slice(durable, begun + 1);
    if (this.#lie) this.#possible = this.#possible.map((state) => ({ ...state, version: -1 }));
  }

  async #happen(what: LifePlan["between"]): Promise<void> {
    const { primary, replicas, copies } = this.#scene;
    const pick = (list: readonly string[], n: number): string => list[n % list.length] as string;
    if (this.#torn || what === "nothing") return;
    // Whoever takes the primary's place must have been there.
    const alone = this.#attached.length === 0;
    if (alone && (typeof what === "string" || "restored" in what)) return;
    if (what === "roles swapped") {
      if (!this.#attached.includes(replicas[0] as string)) return;
      this.#scene = Scene.swapped(this.#t, this.#scene);
      this.#attached = this.#attached.map((each) => (each === replicas[0] ? primary : each));
      this.#former = primary;
    } else if (what === "primary missing") {
      this.#lose(primary);
      this.#restoreMissing = true;
      this.#excuse(replicas);
    } else if ("emptyReplica" in what) {
      const lost = pick(replicas, what.emptyReplica);
      this.#lose(lost);
      this.#attached = this.#attached.filter((each) => each !== lost);
    } else if ("restored" in what) {
      const from = pick(this.#attached, what.restored);
      this.#lose(primary);
      await restore(from, primary);
      this.#excuse(replicas.filter((each) => each !== from));
    } else {
      fs.rmSync(`${pick(copies, what.noRecord)}-lockstep`, { force: true });
      this.#excuse(replicas);
    }
  }

  #excuse(replicas: readonly string[]): void {
    for (const each of replicas) this.#excused.add(each);
  }

  /** Its disk is replaced by an empty one. */
  #lose(copy: string): void {
    const directory = path.dirname(copy);
    for (const name of fs.readdirSync(directory)) fs.rmSync(path.join(directory, name));
  }

  /** Cuts a log anywhere in what its file does not hold yet. */
  #tear(which: number, where: number): void {
    const copies = [this.#scene.primary, ...this.#attached];
    const copy = copies[which % copies.length] as string;
    const scan = scanLog(`${copy}-wal`);
    if (!scan) return;
    const { folded, folding } = this.#scene.sidecar(copy).state;
    if (folding) return; // it is being folded ahead, for which all was synced: the file needs it
    const inFile = folded && sameSalts(folded.position, scan.header) ? folded.position.frame : 0;
    const kept = inFile === 0 ? 0 : frameOffset(inFile + 1, scan.header.pageSize);
    const size = logEnd(copy);
    fs.truncateSync(`${copy}-wal`, kept + Math.floor((size - kept) * where));
    this.#torn = true;
  }

  #name(copy: string): string {
    return path.basename(path.dirname(copy));
  }
}

export async function run(t: Ending, each: Program, lie = false): Promise<void> {
  const world = new World(t, each, lie);
  for (const life of each.lives) await world.live(life);
  await world.end();
}
