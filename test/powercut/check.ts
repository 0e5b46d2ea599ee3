/**
 * What a power cut left is checked here. What is found depends on the bytes, the names and the marks on the
 * files alone, so equal states are looked at once; what must be in them is each state's own.
 *
 *   alone    each copy by itself, the other disk gone for ever, is opened with SQLite alone
 *   both     the copies, as they lie on both disks, go through a start of Lockstep's
 */
import fs from "node:fs";
import { join } from "node:path";
import type { Contents } from "../crash/contents.ts";
import { contents } from "../crash/judge.ts";
import { type DriverName, driverNames, plain, replicated } from "../crash/open.ts";
import type { Random } from "../crash/random.ts";
import { assertAtRest } from "../support/files.ts";
import { settled, useWarm } from "../support/warm.ts";
import type { Cut } from "./cuts.ts";
import type { Wreck } from "./disks.ts";
import { Images } from "./images.ts";
import { layOut } from "./layout.ts";
import { digestOfAll } from "./likeness.ts";
import { Oracle } from "./oracle.ts";

export interface Tally {
  /** States that were drawn. */
  drawn: number;
  /** Those that no other one was equal to: each went through a start. */
  distinct: number;
  /** Of these, in a thread and processes that were begun for it. */
  cold: number;
}

export const DISKS = ["main", "replica"];
/** So many distinct states are started warm, and then one cold (warm.ts). */
const WARM_RUN = 100;

/** The checks of one life; of its tape all states. */
export class Checks {
  readonly tally: Tally = { drawn: 0, distinct: 0, cold: 0 };
  readonly #scratch: string;
  readonly #random: Random;
  readonly #isReplicated: boolean;
  readonly #oracle: Oracle;
  readonly #images = new Images();
  /** What was found in each copy alone, and in both, by a digest of them. */
  readonly #alone = new Map<string, Contents | null>();
  readonly #both = new Map<string, Found>();

  constructor(scratch: string, seed: number, random: Random, isReplicated: boolean) {
    this.#scratch = scratch;
    this.#random = random;
    this.#isReplicated = isReplicated;
    this.#oracle = new Oracle(seed);
  }

  /** What is wrong with a state. */
  async check(cut: Cut): Promise<string[]> {
    const { wreck, holders } = cut;
    const digestOf = (found: number): string | undefined => this.#oracle.digest(found);
    const problems: string[] = [];
    for (const copy of this.#isReplicated ? holders : ["main/app.db"]) {
      const found = await this.#lookAt(copy, wreck);
      problems.push(...contents(cut, digestOf, `${copy} alone`, found));
    }
    this.tally.drawn++;
    const like = digestOfAll(wreck);
    const known = this.#both.get(like);
    const found = known ?? (this.#isReplicated ? await this.#start(wreck) : NOTHING);
    if (!known) {
      this.#both.set(like, found);
      this.tally.distinct++;
    }
    problems.push(...found.problems);
    if (found.contents) problems.push(...contents(cut, digestOf, "both", found.contents));
    return problems;
  }

  async #lookAt(copy: string, wreck: Wreck): Promise<Contents | null> {
    const files = [...wreck].filter(
      ([path]) => path.startsWith(copy) && !path.startsWith(`${copy}-lockstep`),
    );
    const alone = new Map(files);
    const like = digestOfAll(alone);
    const known = this.#alone.get(like);
    if (known !== undefined) return known;
    const place = this.#place("alone");
    layOut(alone, place, DISKS);
    const driver = this.#random.pick(driverNames);
    const found = await this.#look(join(place, copy), driver);
    this.#alone.set(like, found);
    fs.rmSync(place, { recursive: true });
    return found;
  }

  /** What a copy holds, opened alone and without Lockstep; null if there is none. */
  async #look(path: string, driver: DriverName): Promise<Contents | null> {
    if (!fs.existsSync(path)) return null;
    try {
      const db = (await plain(driver))(path);
      const found = this.#images.contentsOf(db);
      db.close();
      return found;
    } catch (error) {
      return { found: 0, integrity: (error as Error).stack ?? String(error), digest: "" };
    }
  }

  async #start(wreck: Wreck): Promise<Found> {
    const isCold = this.tally.distinct % WARM_RUN === 0;
    if (isCold) this.tally.cold++;
    useWarm(!isCold);
    const place = this.#place("both");
    layOut(wreck, place, DISKS);
    const [primary, replica] = DISKS.map((disk) => `${place}/${disk}/app.db`) as [string, string];
    let found: Contents | null = null;
    try {
      const open = await replicated(this.#random.pick(driverNames));
      const db = open(primary, { replicas: [replica], replicaTimeout: 30_000 });
      found = this.#images.contentsOf(db);
      db.exec("CREATE TABLE IF NOT EXISTS after_the_cut (n)"); // and goes on
      db.close();
      assertAtRest(primary, [replica], this.#images);
      await settled();
      return { contents: found, problems: [] };
    } catch (error) {
      await settled().catch(() => {});
      return { contents: found, problems: [`both: ${(error as Error).stack}`] };
    } finally {
      fs.rmSync(place, { recursive: true });
    }
  }

  #place(name: string): string {
    return join(this.#scratch, `${name}-${this.tally.drawn}`);
  }
}

// --- internal ---

interface Found {
  readonly contents: Contents | null;
  readonly problems: readonly string[];
}

const NOTHING: Found = { contents: null, problems: [] };
