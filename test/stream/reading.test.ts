/**
 * What the messages of a stream mean. Goal: a reader sees what its writers wrote, in order, or an error; never
 * something else. Method: streams of random writers, with promotions, snapshots, void and unfinished messages,
 * of which it is known what counts; then the same with a message missing, twice, or in another place.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatPosition } from "../../src/lineage/position.ts";
import type { Entry } from "../../src/stream/log.ts";
import { Reading, type Taken } from "../../src/stream/reading.ts";
import { decodeSegment, encodeSegment, type SegmentHeader } from "../../src/stream/segment.ts";
import { runs, seed } from "../support/seed.ts";
import { Scribe } from "./scribe.ts";

const changed = { code: "ERR_LOCKSTEP_REPLICA_CHANGED" };

const simple = ["log", "open", "promote", "void", "stale", "snapshot"] as const;
interface Step {
  readonly do: "frames" | "half" | "ahead" | "install" | (typeof simple)[number];
  /** Frames of its messages, if it has any. */
  readonly sizes: number[];
}

const sizes = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("frames" as const), sizes }) },
  fc.record({ do: fc.constantFrom("half" as const, "ahead" as const, ...simple), sizes }),
  fc.record({
    do: fc.constant("install" as const),
    sizes: fc.oneof(sizes, fc.constant<number[]>([])),
  }),
);

function write(steps: readonly Step[]): Scribe {
  const scribe = new Scribe();
  scribe.open("opened", 1, true);
  scribe.install([1]);
  for (const each of steps) {
    if (each.do === "frames") scribe.frames(each.sizes, true);
    else if (each.do === "half") {
      scribe.frames(each.sizes, false);
      scribe.open("opened", scribe.timeline, true);
    } else if (each.do === "install") scribe.install(each.sizes);
    else if (each.do === "log") scribe.beginLog();
    else if (each.do === "open") scribe.open("opened", scribe.timeline, true);
    else if (each.do === "promote") scribe.open("promoted", scribe.timeline + 1, true);
    else if (each.do === "void") scribe.open("promoted", scribe.timeline, false);
    else if (!scribe.isLogWritten) scribe.frames([1], true);
    else if (each.do === "stale") scribe.frames([1], true, "00000000000000ff");
    else if (each.do === "snapshot") scribe.snapshot();
    else {
      scribe.snapshotAhead(each.sizes);
      scribe.frames(each.sizes, true);
    }
  }
  return scribe;
}

const text = (position: Parameters<typeof formatPosition>[0] | null): string | null =>
  position && formatPosition(position);

/** Reads it all; what counted, until an error. */
function read(entries: readonly Entry[], from = 1): { counted: string[]; error: unknown } {
  const reading = new Reading("a stream", from);
  const counted: string[] = [];
  try {
    for (const entry of entries.slice(from - 1)) {
      const { is } = reading.take(entry);
      if (is === "end" || is === "installed") counted.push(text(reading.state.position) as string);
    }
  } catch (error) {
    assert.equal((error as { code?: unknown }).code, changed.code);
    return { counted, error };
  }
  return { counted, error: null };
}

const renumbered = (entries: readonly Entry[]): Entry[] =>
  entries.map((entry, i) => ({ ...entry, sequence: i + 1 }));

const program = fc.array(step, { maxLength: 14 });
const settings = { seed, numRuns: runs(300) };

describe(`a stream of random writers (seed ${seed})`, () => {
  test("is read as it was written", () => {
    fc.assert(
      fc.property(program, (steps) => {
        const { entries, expected } = write(steps);
        const reading = new Reading("a stream", 1);
        for (const [i, entry] of entries.entries()) {
          const taken: Taken = reading.take(entry);
          assert.equal(taken.is, expected[i]?.is, `message ${i + 1}`);
          assert.deepEqual(reading.state.position, expected[i]?.position ?? null);
        }
      }),
      settings,
    );
  });

  test("can be read from wherever a log begins, and from where an earlier reading stood", () => {
    fc.assert(
      fc.property(program, fc.nat(), (steps, at) => {
        const { entries, counted } = write(steps);
        const all = counted.map(text);
        const from = (at % entries.length) + 1;
        const later = read(entries, from);
        // Of an install, whoever comes in the middle may see more than its end.
        const seen = later.counted.filter((position) => all.includes(position));
        assert.deepEqual(seen, seen.length === 0 ? [] : all.slice(-seen.length));
        assert.equal(later.error, null);

        const reading = new Reading("a stream", 1);
        for (const entry of entries.slice(0, from - 1)) reading.take(entry);
        if (reading.isPending) return;
        const next = new Reading("a stream", reading.state);
        for (const entry of entries.slice(from - 1)) {
          assert.equal(next.take(entry).is, reading.take(entry).is);
        }
        assert.deepEqual(next.state.position, reading.state.position);
      }),
      settings,
    );
  });

  const damage = fc.constantFrom("drop", "twice", "swap");

  test("that was tampered with is read up to there, if at all", () => {
    let found = 0;
    fc.assert(
      fc.property(program, damage, fc.nat(), (steps, how, where) => {
        const { entries, expected, counted } = write(steps);
        const is = (i: number): string => expected[i]?.is ?? "";
        // Two snapshots without a log may change places: nothing in them says where they belong.
        const frames = (i: number): boolean =>
          /piece|end|installed/.test(is(i)) && headerAt(entries, i).frames > 0;
        const at = where % entries.length;
        if (!frames(at) || (how === "swap" && !frames(at + 1))) return;
        const hurt = [...entries];
        if (how === "drop") hurt.splice(at, 1);
        if (how === "twice") hurt.splice(at + 1, 0, entries[at] as Entry);
        if (how === "swap") hurt.splice(at, 2, entries[at + 1] as Entry, entries[at] as Entry);
        const all = counted.map(text);
        const { counted: twice, error } = read(renumbered(hurt));
        // The same snapshot, noted twice, leads to where it is.
        const seen = twice.filter((position, i) => position !== twice[i - 1]);
        if (error) found++;
        // A log that begins anew leads away from what is missing before it.
        const kept = seen.filter((position) => all.includes(position));
        assert.deepEqual(kept, seen);
        const isPrefix = all.slice(0, seen.length).every((position, i) => position === seen[i]);
        const isRest = isSubsequence(seen, all);
        assert.ok(isPrefix || (isRest && expected.slice(at).some((e) => e.is === "installed")));
      }),
      settings,
    );
    assert.ok(found > 20, `it was noticed ${found} times`);
  });

  test("a reader that does not check the chain would be caught: the canary", () => {
    const { entries, counted } = write([
      { do: "frames", sizes: [1] },
      { do: "frames", sizes: [2] },
      { do: "frames", sizes: [1] },
    ]);
    const blind = entries.toSpliced(entries.length - 2, 1).map(({ bytes }) => {
      const { header } = decodeSegment(bytes, "here");
      return header.first - 1 + header.frames;
    });
    assert.notDeepEqual(
      blind.slice(-counted.length),
      counted.map((p) => p.frame),
    );
    const missing = renumbered(entries.toSpliced(entries.length - 2, 1));
    assert.match(String(read(missing).error), /was written for another place/);
    const forged = missing.map((entry) => {
      const { header, wrapped } = decodeSegment(entry.bytes, "here");
      const place = header.place === 0 ? 0 : entry.sequence;
      return { ...entry, bytes: encodeSegment({ ...header, place }, wrapped) };
    });
    assert.match(String(read(forged).error), /does not continue what stands before it/);
  });
});

describe("a message is refused that", () => {
  const scribe = write([{ do: "frames", sizes: [2] }]);
  const good = scribe.entries;
  const last = good.at(-1) as Entry;
  const { header, wrapped } = decodeSegment(last.bytes, "here");
  const refuses = (name: string, change: object, message: RegExp): void => {
    test(name, () => {
      const bytes = encodeSegment({ ...header, ...change }, wrapped);
      const { error } = read([...good.slice(0, -1), { ...last, bytes }]);
      assert.match(String(error), message);
    });
  };
  refuses(
    "is of another database",
    { databaseId: "11111111-89ab-cdef-0123-456789abcdef" },
    /another database/,
  );
  refuses("is of another timeline", { timeline: 2 }, /is of timeline 2/);
  refuses("leaves frames out", { first: 3 }, /frame 3 after 1/);
  refuses("has other sums before it", { before: { sum1: 1, sum2: 2 } }, /does not continue/);
  refuses("has other sums after it", { after: { sum1: 1, sum2: 2 } }, /does not verify/);
  refuses("has another number of frames", { frames: 1 }, /as many frames as it says/);
  refuses("has frames of another size", { pageSize: 1024 }, /something else of its log/);
  refuses("is of another log", { salt1: 1 }, /a log that is not there/);
  refuses(
    "begins a log, and has no log's header",
    { first: 1 },
    /begins a log with another header/,
  );

  test("says that it ends a transaction, and does not", () => {
    const half = new Scribe();
    half.open("opened", 1, true);
    half.install([1]);
    half.frames([1], false);
    const end = half.entries.at(-1) as Entry;
    const found = decodeSegment(end.bytes, "here");
    const bytes = encodeSegment({ ...found.header, ends: true }, found.wrapped);
    const { error } = read([...half.entries.slice(0, -1), { ...end, bytes }]);
    assert.match(String(error), /ends no transaction/);
  });

  test("opens a timeline that is over", () => {
    const other = write([{ do: "promote", sizes: [] }]);
    other.open("opened", 1, true);
    assert.match(String(read(other.entries).error), /opens timeline 1 after 2/);
  });

  test("begins a log on another content", () => {
    const other = write([{ do: "frames", sizes: [1] }]);
    other.beginLog(other.counted[0]);
    other.frames([1], true);
    assert.match(String(read(other.entries).error), /on another content/);
  });

  test("has a snapshot at a position that is not on the way", () => {
    const other = write([{ do: "frames", sizes: [1] }]);
    other.snapshotAhead([1]);
    other.frames([2], true);
    assert.match(String(read(other.entries).error), /contradict/);
  });
});

describe("two promotions", () => {
  test("at one time: the first wins, and what the second writes does not count", () => {
    const scribe = write([{ do: "frames", sizes: [1] }]);
    scribe.open("promoted", 2, true);
    scribe.open("promoted", 2, false);
    scribe.frames([1], true, "00000000000000ff");
    scribe.frames([1], true);
    const reading = new Reading("a stream", 1);
    for (const entry of scribe.entries) reading.take(entry);
    assert.deepEqual(reading.state.position, scribe.position);
    assert.equal(reading.state.timeline, 2);
  });
});

function headerAt(entries: readonly Entry[], i: number): SegmentHeader {
  return decodeSegment((entries[i] as Entry).bytes, "here").header;
}

function isSubsequence(part: readonly (string | null)[], all: readonly (string | null)[]): boolean {
  let at = 0;
  for (const each of all) if (each === part[at]) at++;
  return at === part.length;
}
