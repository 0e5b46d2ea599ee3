/**
 * Goal: whichever call of the system fails, however, in a start, commits, a checkpoint or a restore,
 * on either copy: the documented error, which names that copy; nothing acknowledged that is not on
 * both; nothing more done after the error; no command that hangs; no file or lock left open; and a
 * reopening without faults brings the copies together.
 * Method: a phase is lived through once, and its calls are recorded. Then once more for each call
 * and each fault, that call failing. One process lives through many cases: what one leaves behind
 * harms the next.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { DriverName } from "../../src/driver.ts";
import type { Reply } from "./child.ts";
import {
  allows,
  countReads,
  diskOf,
  type Fault,
  NONE,
  type Point,
  pointsOf,
  readsOf,
} from "./matrix.ts";
import { ok, Pair, type Saved } from "./pair.ts";
import { type Phase, phases } from "./phases.ts";

/** No command takes longer, but for what a fault delays it. SQLite waits 5 s for a lock. */
const COMMAND_MS_MAX = 12_000;
const CHECKPOINT_BYTES = 1 << 20;
const SETTLED_MS_MAX = 30_000;
/** When nothing fails any more nobody hangs: what takes longer then is a machine that has much to do. */
const WELL = { replicaTimeout: 60_000 };
const DESCRIPTORS_MAX = 200;

export interface Outcome {
  /** Did the fault come about, or did the phase do without this call? */
  readonly hit: boolean;
  /** The codes that came out. */
  readonly codes: readonly string[];
}

/** Where cases are lived through, with one driver. */
export class Sweep {
  readonly #pair: Pair;
  readonly #saved = new Map<string, Saved>();
  #warm = false;

  constructor(t: TestContext, driver: DriverName) {
    this.#pair = new Pair(t, driver);
  }

  /** The calls that a phase makes. */
  async points(name: string): Promise<Point[]> {
    const { phase } = await this.#enter(name, {});
    const pair = this.#pair;
    countReads(pair.faults);
    pair.faults.clear();
    await phase.act(pair, done);
    const points = pointsOf(pair.record(), readsOf(pair.faults));
    pair.faults.set();
    done(await pair.close());
    await this.#afterwards(phase);
    return points;
  }

  /**
   * Lives through a phase with one call failing, and checks all that must hold.
   * @param warm by threads and processes that have done the same before, which costs a third (warm.ts)
   */
  async attempt(name: string, fault: Fault, point: Point, warm = false): Promise<Outcome> {
    const { timeout } = fault;
    this.#warm = warm;
    const { phase } = await this.#enter(name, timeout ? { replicaTimeout: timeout } : {});
    const pair = this.#pair;
    pair.faults.clear();
    pair.faults.set(...fault.rules(point));
    const replies = await this.#live(phase);
    const hit = pair.faults.matched(0) >= point.nth;
    if (replies.includes(null)) {
      assert.ok(fault.kills, `the process died: ${pair.subject.complaints}`);
      await pair.restart();
    }
    pair.faults.set();
    pair.remount();
    const errors = replies.flatMap((reply) => reply?.error ?? []);
    const { codes } = phase;
    for (const { code, copy, message } of errors) {
      const said = code ?? message;
      const allowed = (fault.replica !== NONE && codes?.test(said)) || allows(fault, point, said);
      assert.ok(allowed, `${said}: ${message}`);
      const disk = `${pair.faults.root}/${diskOf(point)}`;
      const isNamed = copy === null || copy.startsWith(disk);
      assert.ok(isNamed || /TIMEOUT/.test(said), `it names ${copy}`); // who waits, not for what
    }
    pair.hangs = errors.some(({ code }) => /TIMEOUT|WORKER_DIED/.test(code));
    if (phase.inStep) {
      for (const copy of [pair.primary, pair.replica]) pair.holdsAcknowledged(copy);
    }
    await this.#afterwards(phase);
    return { hit, codes: errors.map(({ code }) => code) };
  }

  /** The copies as the phase finds them. */
  async #enter(name: string, options: { replicaTimeout?: number }): Promise<{ phase: Phase }> {
    const phase = phases[name] as Phase;
    const pair = this.#pair;
    const all = { checkpointBytes: CHECKPOINT_BYTES, ...phase.options };
    pair.anew(all);
    let saved = this.#saved.get(name);
    if (!saved) {
      await phase.prepare?.(pair);
      saved = pair.save();
      this.#saved.set(name, saved);
    }
    pair.anew({ ...all, ...options });
    pair.load(saved);
    ok(await pair.subject.ask({ do: "warm", warm: this.#warm }));
    await phase.begin?.(pair);
    return { phase };
  }

  /** Everything the phase does, then a close; the answers, null for a process that died. */
  async #live(phase: Phase): Promise<(Reply | null)[]> {
    const pair = this.#pair;
    const replies: (Reply | null)[] = [];
    const see = (reply: Reply | null): boolean => {
      replies.push(reply);
      if (process.env["DBG"]) console.error(JSON.stringify(reply));
      const { milliseconds } = reply ?? { milliseconds: 0 };
      assert.ok(milliseconds < COMMAND_MS_MAX, `it took ${Math.round(milliseconds)} ms`);
      return reply !== null && reply.error === undefined;
    };
    await phase.act(pair, see);
    const fenced = replies.find((reply) => reply?.error?.code?.startsWith("ERR_LOCKSTEP_"));
    if (fenced && phase.inStep && replies.at(-1) !== fenced && !replies.includes(null)) {
      const { error } = (await pair.exec("SELECT 1")) ?? {};
      assert.equal(error?.code, fenced.error?.code, "every later statement throws the same");
    }
    see(await pair.close());
    return replies;
  }

  /** Nothing fails any more, and nothing is left of what did. */
  async #afterwards(phase: Phase): Promise<void> {
    const pair = this.#pair;
    if (pair.hangs) await this.#nothingOpen();
    await phase.mend?.(pair);
    ok(await pair.openWhenFree(WELL));
    ok(await pair.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)"));
    ok(await pair.insert());
    ok(await pair.close());
    await pair.atRest();
    await this.#nothingOpen();
  }

  /**
   * The process has no record, log or directory open: so it holds none of our locks either. Of a log
   * that stays after a failure, a descriptor of the file and of the `-shm` is left open on purpose
   * (`closeUnused`): they hold no lock, but are not to grow too many here.
   */
  async #nothingOpen(): Promise<void> {
    const under = `${this.#pair.faults.root}/`;
    let open: string[] = [];
    ok(await this.#pair.subject.ask({ do: "settle", milliseconds: SETTLED_MS_MAX }));
    for (let i = 0; i < 500; i++) {
      const { value } = ok(await this.#pair.subject.ask({ do: "descriptors", under }));
      const all = value as string[];
      open = all.filter((path) => !/\/process\/|\/app\.db(-shm)?( \(deleted\))?$/.test(path));
      if (open.length === 0 && all.length > DESCRIPTORS_MAX) await this.#pair.restart();
      if (open.length === 0) return;
      await sleep(10); // a thread is on its way out
    }
    assert.deepEqual(open, [], "what is still open");
  }
}

function done(reply: Reply | null): boolean {
  ok(reply);
  return true;
}
