/** Power cuts at random moments of a tape: what lies on the disks then, and what must be found there. */
import { callAt } from "../crash/plan.ts";
import { Random } from "../crash/random.ts";
import { Disks, type Mood, type Wreck } from "./disks.ts";
import { MARKS } from "./subject.ts";
import type { Operation } from "./tape.ts";

export interface Cut {
  /** After how many operations of the tape. */
  readonly after: number;
  readonly mood: Mood;
  readonly wreck: Wreck;
  /** Acknowledged: every copy must hold it. */
  readonly lo: number;
  /** Begun: no copy may hold more. */
  readonly hi: number;
  /** The copies that hold it, each by itself: a new disk's does once it was made. */
  readonly holders: readonly string[];
}

const COPIES = ["main/app.db", "replica/app.db"];

const moods: readonly Mood[] = ["nothing", "everything", "anything", "anything", "anything"];

/** @param ignoring syncs of these files are taken for none: a canary's lie */
export function* cuts(
  tape: readonly Operation[],
  seed: number,
  count: number,
  ignoring: RegExp | null = null,
): Generator<Cut> {
  const random = new Random(seed, 5);
  // What is on the tape before the first report was there before, see subject.ts.
  const begun = tape.findIndex(({ path }) => path === MARKS);
  const moments = Array.from({ length: count }, () => random.between(begun + 1, tape.length)).sort(
    (a, b) => a - b,
  );
  const disks = new Disks();
  const said = new Marks(seed);
  let after = 0;
  for (const moment of moments) {
    for (; after < moment; after++) {
      const operation = tape[after] as Operation;
      if (operation.path === MARKS) said.hear(operation);
      else if (!(operation.kind.startsWith("sync") && ignoring?.test(operation.path))) {
        disks.apply(operation);
      }
    }
    const mood = random.pick(moods);
    const { lo, hi, holders } = said;
    yield { after, mood, wreck: disks.cut(random, mood), lo, hi, holders };
  }
}

/** What the recorded process has reported, see crash/child.ts. */
class Marks {
  readonly #seed: number;
  lo = 0;
  hi: number;
  holders: readonly string[] = COPIES;

  constructor(seed: number) {
    this.#seed = seed;
    this.hi = callAt(seed, 1).last;
  }

  hear({ kind, data }: Operation): void {
    if (kind !== "write") return;
    const [word, n, hi, ...holders] = Buffer.from(data).toString().trim().split(" ");
    if (n === undefined) return;
    this.holders = word === "begins" ? holders : COPIES;
    this.hi = word === "begins" ? Number(hi) : callAt(this.#seed, Number(n) + 1).last;
    if (word !== "written") this.lo = Number(n);
  }
}
