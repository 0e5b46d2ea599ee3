/** The table of the start, row by row, as a pure function of what is seen on both sides. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Decision, decide } from "../../src/lineage/decide.ts";
import type { Copy } from "../../src/lineage/describe.ts";
import { at, copy, type Looks, missing } from "../support/copies.ts";

type Outcome = `${Decision["relation"]}: ${Decision["action"]["do"]}`;

function outcome(primary: Copy, replica: Copy): Outcome {
  const { relation, action, because } = decide(primary, replica);
  assert.match(because, /^\w.*[^.]$/, "a clause for messages");
  return `${relation}: ${action.do}`;
}

function row(name: string, expected: Outcome, primary: Looks, replica: Looks): void {
  test(`${name} -> ${expected}`, () => {
    assert.equal(outcome(copy("p", primary), copy("r", replica)), expected);
  });
}

test("missing on one side or on both", () => {
  assert.equal(outcome(missing("p"), missing("r")), "missing: begin");
  assert.equal(outcome(missing("p"), copy("r")), "stale-primary: refuse");
  assert.equal(outcome(missing("p", {}), copy("r")), "stale-primary: refuse");
  assert.equal(outcome(copy("p"), missing("r")), "missing: copy");
  // What the record beside a missing replica says does not matter.
  assert.equal(
    outcome(copy("p"), missing("r", { databaseId: "other", timeline: 9 })),
    "missing: copy",
  );
});

// Whose it is.
const known = { position: at(1, 5) };
row("no record beside the primary", "unknown: compare", { ...known, state: null }, known);
row("no record beside the replica", "unknown: compare", known, { ...known, state: null });
row(
  "neither has a record",
  "unknown: compare",
  { ...known, state: null },
  { ...known, state: null },
);
row(
  "the primary was never named",
  "unknown: compare",
  { ...known, state: { databaseId: null } },
  known,
);
row("another database's", "unknown: compare", known, { ...known, state: { databaseId: "other" } });
row("promoted meanwhile", "fenced: refuse", known, { ...known, state: { timeline: 2 } });
row("promoted, unproven", "fenced: refuse", known, { position: null, state: { timeline: 2 } });
row("of an older timeline", "in-step: nothing", { ...known, state: { timeline: 2 } }, known);

test("what a comparison that finds a difference is refused as", () => {
  const compared = (replica: Looks): unknown => decide(copy("p", known), copy("r", replica)).action;
  assert.deepEqual(compared({ ...known, state: null }), { do: "compare", otherwise: "unknown" });
  assert.deepEqual(compared({ position: null }), { do: "compare", otherwise: "diverged" });
});

// A position that is not proven.
row("the primary's is not", "unknown: compare", { position: null }, known);
row("the replica's is not", "unknown: compare", known, { position: null });
row("neither is", "unknown: compare", { position: null }, { position: null });

// Not proven, but both logs are of the recorded generation and agree as far as the shorter goes.
const recorded = { generation: { salt1: 1001, salt2: 1, base: null } };
const doubted = { position: null, state: recorded };
row(
  "equal logs",
  "unknown: compare-at",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  { ...doubted, log: { g: 1, frames: [2, 5] } },
);
row(
  "one log a prefix",
  "unknown: compare-at",
  { ...doubted, log: { g: 1, frames: [2, 5, 9] } },
  { ...doubted, log: { g: 1, frames: [2, 5] } },
);
row(
  "only one in doubt",
  "unknown: compare-at",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  { state: recorded, log: { g: 1, frames: [2, 5, 9] } },
);
row(
  "logs that parted",
  "unknown: compare",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  { ...doubted, log: { g: 1, frames: [2, 5], branch: 1 } },
);
row(
  "no commit where the shorter ends",
  "unknown: compare",
  { ...doubted, log: { g: 1, frames: [2, 6] } },
  { ...doubted, log: { g: 1, frames: [2, 5] } },
);
row(
  "logs of two generations",
  "unknown: compare",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  { ...doubted, log: { g: 2, frames: [2, 5] } },
);
row(
  "a log that is not on record",
  "unknown: compare",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  { position: null, log: { g: 1, frames: [2, 5] } },
);
row(
  "one without a log",
  "unknown: compare",
  { ...doubted, log: { g: 1, frames: [2, 5] } },
  doubted,
);

test("the images are compared where the shorter log ends", () => {
  const frameOf = (mine: number[], theirs: number[]): unknown => {
    const sides = [mine, theirs].map((frames) => copy("c", { ...doubted, log: { g: 1, frames } }));
    return decide(...(sides as [Copy, Copy])).action;
  };
  assert.deepEqual(frameOf([2, 5, 9], [2, 5]), { do: "compare-at", frame: 5 });
  assert.deepEqual(frameOf([2], [2, 5]), { do: "compare-at", frame: 2 });
});

// In step.
const log = { g: 1, frames: [2, 5] };
row("equal, no logs", "in-step: nothing", known, known);
row("equal, both logs", "in-step: nothing", { log }, { log });
row("equal, only the replica's log", "in-step: nothing", known, { log });
row("equal, only the primary's log", "in-step: send", { log }, known);

// One generation.
const longer = { g: 1, frames: [2, 5, 6, 9] };
row("its log is a prefix", "behind: send", { log: longer }, { log });
row("folded at a commit of the log", "behind: send", { log: longer }, known);
row("the primary's is a prefix", "ahead: roll-forward", { log }, { log: longer });
row("the primary is folded, its log lost", "ahead: roll-forward", known, { log: longer });
row("no commit of the log ends there", "diverged: refuse", { log: longer }, { position: at(1, 4) });
row("nor of the replica's", "diverged: refuse", { position: at(1, 4) }, { log: longer });
row("parted before", "diverged: refuse", { log: longer }, { log: { ...log, branch: 1 } });
row("parted before, ahead", "diverged: refuse", { log }, { log: { ...longer, branch: 1 } });
row("one length, other content", "diverged: refuse", { log }, { log: { ...log, branch: 1 } });
row(
  "behind, the log gone, but on record",
  "behind: delta",
  { position: at(1, 9), history: [at(1, 5)] },
  known,
);
row("behind, the log gone, not on record", "diverged: refuse", { position: at(1, 9) }, known);
row("ahead, the log gone, but on record", "stale-primary: refuse", known, {
  position: at(1, 9),
  history: [at(1, 5)],
});

// The primary was promoted before it had what the replica has.
const promoted = { state: { timeline: 2 } };
row("promoted without its end", "stale-primary: refuse", { log, ...promoted }, { log: longer });
row(
  "promoted without its newest log",
  "stale-primary: refuse",
  { ...known, ...promoted },
  { log: { g: 2, frames: [1, 3] }, base: at(1, 5) },
);
row("promoted with all it has", "behind: send", { log: longer, ...promoted }, { log });

// Generations after one another.
const second = { log: { g: 2, frames: [1, 3] }, base: at(1, 5) };
row("the primary's log begins at its position", "behind: send", second, known);
row("and its own log still stands", "behind: send", second, { log });
row("its log begins at the primary's position", "ahead: roll-forward", known, second);
row("the primary's own log still stands", "ahead: roll-forward", { log }, second);
row("the primary's log begins elsewhere", "diverged: refuse", { ...second, base: at(1, 9) }, known);
row("another branch of that frame", "diverged: refuse", second, { position: at(1, 5, 1) });
row("what the log begins at is unknown", "diverged: refuse", { ...second, base: null }, known);

// Many generations apart.
const far = { position: at(7, 3), history: [at(1, 5), at(2, 8), at(6, 2)] };
row("in the primary's history", "behind: delta", far, known);
row("the primary is in its history", "stale-primary: refuse", known, far);
row("another branch of what is in the history", "diverged: refuse", far, { position: at(1, 5, 1) });
row("not in the history", "diverged: refuse", far, { position: at(3, 1) });
row("never met", "diverged: refuse", { position: at(1, 1) }, { position: at(9, 1) });

test("a timeline is no part of a position: only the records' timelines fence", () => {
  const older = copy("r", { position: { ...at(1, 5), timeline: 1 } });
  const newer = copy("p", { position: { ...at(1, 5), timeline: 4 }, state: { timeline: 4 } });
  assert.equal(outcome(newer, older), "in-step: nothing");
});

test("it never lets a copy be overwritten that may hold what the other lacks", () => {
  // Every pair of these copies; what may be overwritten must be provably the past of the other.
  const positions = [1, 2].flatMap((g) => [0, 1].flatMap((b) => [2, 5].map((f) => at(g, f, b))));
  const all: Copy[] = [copy("none", { position: null })];
  for (const position of positions) {
    const { salt2: g, frame } = position;
    const branch = position.sum1 % 10;
    const frames = [2, 5].filter((f) => f <= frame);
    all.push(
      copy("c", { position }),
      copy("c", { log: { g, frames, branch }, base: at(g - 1, 5) }),
    );
    all.push(copy("c", { position, history: [at(1, 2), at(1, 5)] }));
  }
  for (const primary of all) {
    for (const replica of all) {
      const { action } = decide(primary, replica);
      const holds = (whole: Copy, part: Copy): boolean => contains(whole, part);
      if (action.do === "delta" || (action.do === "send" && primary.log)) {
        assert.ok(holds(primary, replica), JSON.stringify([action, primary, replica]));
      }
      if (action.do === "roll-forward") {
        assert.ok(holds(replica, primary), JSON.stringify([action, primary, replica]));
      }
    }
  }
});

/** By other means than decide.ts: is the part's very content one the whole has been through? */
function contains(whole: Copy, part: Copy): boolean {
  const name = JSON.stringify(at0(part));
  const { log } = whole;
  const commits = (log?.commits ?? []).map(({ frame, sum1 }) => [log?.header.salt2, frame, sum1]);
  const been = [whole.position, whole.base, ...whole.history].map((p) => p && key(p));
  return [...commits, ...been].some((each) => JSON.stringify(each) === name);
}

function at0({ position }: Copy): unknown {
  return position && key(position);
}

function key({ salt2, frame, sum1 }: { salt2: number; frame: number; sum1: number }): number[] {
  return [salt2, frame, sum1];
}
