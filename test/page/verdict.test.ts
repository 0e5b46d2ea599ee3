/** What a report comes to, in words: without a browser. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "../../src/serve/assets/page/snapshot.js";
import { lost, PROOF_OLD_MS, verdictOf } from "../../src/serve/assets/page/verdict.js";
import * as words from "../../src/serve/assets/page/words.js";
import {
  detached,
  failed,
  healthy,
  PRIMARY,
  REPLICA,
  rejoining,
  replica,
  type Snapshot,
} from "./snapshots.ts";

const NOW = Date.parse("2026-07-11T03:19:24Z");
const clock = (ms: number): string => words.moment(ms, NOW, { seconds: false });

describe("the verdict", () => {
  test("in step: two copies, or more", () => {
    const { level, headline, steps, notes } = verdictOf(healthy({}, NOW));
    assert.deepEqual(
      { level, headline, steps, notes },
      {
        level: "good",
        headline: "Both copies are in step.",
        steps: [],
        notes: [],
      },
    );
    const three = healthy({ replicas: [replica({}, NOW), replica({ path: "/c" }, NOW)] }, NOW);
    assert.equal(verdictOf(three).headline, "All 3 copies are in step.");
  });

  test("detached: which, since when, what happened, what to do", () => {
    const snapshot = detached(NOW);
    const { level, headline, what, steps } = verdictOf(snapshot);
    const since = clock(NOW - 7 * 60_000);
    assert.equal(level, "bad");
    assert.equal(
      headline,
      `The replica ${REPLICA} is out of step since ${since}; commits go on without it.`,
    );
    assert.equal(
      what,
      `ENOENT: no such file or directory, stat '${REPLICA}'. The primary has every acknowledged transaction.`,
    );
    assert.equal(steps[0]?.said, `${snapshot.replicas[0]?.lastError?.next}.`);
    assert.match(steps[1]?.said ?? "", /^It is tried again by itself/);
  });

  test("since when: by the oldest event that names it since it was well, else by its lag", () => {
    const event = (minutes: number, level: "info" | "error", what: string) => ({
      at: new Date(NOW - minutes * 60_000).toISOString(),
      ...{ level, what, detail: "" },
    });
    const events = [
      event(3, "error", `${REPLICA} cannot come back yet`),
      event(4, "error", "Commits go on without /mnt/c"),
      event(5, "error", `Commits go on without ${REPLICA}`),
      event(6, "info", `${REPLICA} holds all again`),
      event(9, "error", `Commits go on without ${REPLICA}`),
    ];
    const said = (parts: Partial<Snapshot>): string =>
      verdictOf({ ...detached(NOW), ...parts }).headline;
    assert.match(said({ events }), new RegExp(`since ${clock(NOW - 5 * 60_000)};`));
    assert.match(said({ events: [] }), new RegExp(`since ${clock(NOW - 7 * 60_000)};`));
    const replicas = [replica({ state: "detached" })];
    assert.match(said({ events: [], replicas }), /is out of step; commits go on without it\.$/);
  });

  test("fenced: nothing is acknowledged", () => {
    const { level, headline, steps } = verdictOf(failed(NOW));
    assert.equal(level, "bad");
    assert.match(
      headline,
      /^The replica \/mnt\/b\/app\.db failed, and nothing is acknowledged since/,
    );
    assert.match(steps[0]?.said ?? "", /^Make room on the replica's disk/);
  });

  test("rejoining: it heals by itself", () => {
    const { level, headline, steps } = verdictOf(rejoining(NOW));
    assert.equal(level, "warning");
    assert.match(headline, /is catching up; it was out of step since/);
    assert.match(steps[0]?.said ?? "", /^Wait: it counts again by itself/);
    assert.equal(steps.length, 1);
  });

  test("several: how many of how many", () => {
    const [gone] = detached(NOW).replicas;
    const replicas = [gone!, { ...gone!, path: "/mnt/c/app.db" }, replica({ path: "/d" })];
    const snapshot = { ...detached(NOW), replicas };
    assert.match(
      verdictOf(snapshot).headline,
      /^2 of 3 replicas are out of step since .*without them\.$/,
    );
  });

  test("closed, and no replica at all", () => {
    const closed = healthy({ healthy: false, replicas: [replica({ state: "closed" }, NOW)] }, NOW);
    assert.equal(verdictOf(closed).headline, "The database was closed: nothing is replicated.");
    assert.equal(verdictOf(healthy({ replicas: [] }, NOW)).level, "bad");
  });

  test("unhealthy for another reason: that, and what to run", () => {
    const reasons = [{ what: `${REPLICA} has a page that has rotted`, next: "Run lockstep scrub" }];
    const { level, headline, what, steps } = verdictOf(healthy({ healthy: false, reasons }, NOW));
    assert.equal(level, "bad");
    assert.equal(headline, `Something is wrong: ${REPLICA} has a page that has rotted.`);
    assert.equal(what, "", "it is said once");
    assert.equal(steps[0]?.said, "Run lockstep scrub.");
    assert.equal(steps[1]?.command, `lockstep scrub ${PRIMARY} ${REPLICA}`);
    const unknown = verdictOf(healthy({ healthy: false }, NOW));
    assert.equal(unknown.steps[0]?.command, `lockstep status ${PRIMARY} ${REPLICA}`);
  });

  test("mirroring, but seconds behind: since when, and why that may be", () => {
    const lag = (seconds: number) => ({ lag: { frames: 9, bytes: 37_000, seconds } });
    const after = (seconds: number) =>
      verdictOf(healthy({ replicas: [replica(lag(seconds), NOW)] }, NOW));
    assert.equal(after(4).level, "good");
    assert.equal(after(120).level, "warning");
    assert.equal(
      after(120).headline,
      `The replica ${REPLICA} is behind since ${clock(NOW - 120_000)}.`,
    );
    assert.equal(after(60).key, after(61).key);
    assert.notEqual(after(4).key, after(60).key);
  });

  test("no reason is kept quiet, and none is said twice", () => {
    const rot = { what: "/mnt/c/app.db has a page that has rotted", next: "Run lockstep scrub" };
    const snapshot = detached(NOW);
    const also = verdictOf({ ...snapshot, reasons: [...snapshot.reasons, rot] });
    assert.equal(also.what, `${verdictOf(snapshot).what} ${rot.what}.`);
    assert.ok(also.steps.some(({ said }) => said === "Run lockstep scrub."));
    const reasons = [...failed(NOW).reasons, rot];
    assert.equal(
      verdictOf({ ...failed(NOW), reasons }).what,
      `${verdictOf(failed(NOW)).what} ${rot.what}.`,
    );
  });

  test("what calls itself healthy is not, if a replica is not mirroring", () => {
    for (const state of ["failed", "detached", "rejoining", "closed"] as const) {
      const snapshot = healthy({ healthy: true, replicas: [replica({ state }, NOW)] }, NOW);
      assert.notEqual(verdictOf(snapshot).level, "good", state);
    }
  });

  test("notes: a proof that is missing or old, a log and a ring nearly full, a reader in the way", () => {
    const noted = (parts: Partial<Snapshot>): string =>
      verdictOf(healthy(parts, NOW))
        .notes.map(({ said, command }) => `${said} ${command}`)
        .join();
    const proven = (ago: number): Partial<Snapshot> => ({
      replicas: [replica({ lastProof: new Date(NOW - ago).toISOString() }, NOW)],
    });
    assert.match(
      noted({ replicas: [replica({ lastProof: null }, NOW)] }),
      /was never proven to restore\. To prove it: lockstep drill \/var\/lib\/app\/app\.db \/mnt\/b\/app\.db/,
    );
    assert.match(noted(proven(PROOF_OLD_MS + 1)), /last proven to restore 8 days ago/);
    assert.equal(noted(proven(PROOF_OLD_MS)), "");
    const primary = healthy({}, NOW).primary;
    assert.match(
      noted({ primary: { ...primary, logBytes: primary.logLimitBytes * 0.9 } }),
      /limit/,
    );
    assert.match(noted({ primary: { ...primary, oldestReaderMs: 720_000 } }), /for 12 minutes/);
    assert.match(noted({ ringBytes: 9, ringLimitBytes: 10 }), /ring/);
    const since = new Date(NOW - 600_000).toISOString();
    const warning = { copy: PRIMARY, since, what: "It is so", next: "Do this", stack: null };
    assert.match(
      noted({ warnings: [{ ...warning, kind: "open-transaction" }] }),
      new RegExp(`^It is so, since ${words.moment(since, NOW)}\\. Do this\\. `),
    );
    assert.match(
      noted({ warnings: [{ ...warning, kind: "same-disk" }] }),
      /^It is so\. Do this\. /,
    );
  });

  test("its key changes with the state, not with a figure", () => {
    const one = detached(NOW);
    const later = detached(NOW + 61_000, 8 * 60_000 + 1000);
    assert.equal(verdictOf(one).key, verdictOf(later).key);
    assert.notEqual(verdictOf(one).key, verdictOf(rejoining(NOW)).key);
    assert.notEqual(verdictOf(one).key, verdictOf(healthy({}, NOW)).key);
  });

  test("lost: since when, and a command that may be pasted", () => {
    const snapshot = healthy({ replicas: [replica({ path: "/mnt/it's; rm x" })] }, NOW);
    const { level, headline, steps } = lost(snapshot, NOW + 5000, null);
    assert.equal(level, "lost");
    assert.equal(headline, `No word from the process since ${words.moment(NOW, NOW)}.`);
    assert.equal(steps[1]?.command, `lockstep status ${PRIMARY} '/mnt/it'\\''s; rm x'`);
    assert.equal(lost(null, NOW, null).headline, "No word from the process.");
  });
});

describe("a report", () => {
  test("is put in order: history oldest first, events newest first", () => {
    const snapshot = healthy({}, NOW);
    const shuffled = {
      ...snapshot,
      events: snapshot.events.toReversed(),
      history: snapshot.history.toReversed(),
    };
    assert.deepEqual(parse(JSON.stringify(shuffled)), snapshot);
  });

  test("that makes no sense is refused, with the field's name", () => {
    const snapshot = healthy({}, NOW);
    const fields = [
      "at",
      "primary",
      "replicas",
      "healthy",
      "reasons",
      "warnings",
      "commits",
      "history",
      "events",
    ];
    const wrong: [string, unknown][] = fields.map((name) => [name, undefined]);
    wrong.push(["at", "yesterday"], ["healthy", "yes"], ["replicas", [null]], ["commits", -1]);
    for (const [name, value] of wrong) {
      const text = JSON.stringify({ ...snapshot, [name]: value });
      assert.throws(() => parse(text), new RegExp(`"${name}"`), name);
    }
    for (const text of ["", "null", "[]", "{", "<html>"]) assert.throws(() => parse(text), text);
  });
});

describe("words", () => {
  test("bytes", () => {
    const said = [0, 1023, 1024, 7_737_000, 33_554_432, 2 ** 40 * 3000].map(words.bytes);
    assert.deepEqual(said, ["0 B", "1,023 B", "1 KiB", "7.4 MiB", "32 MiB", "3,000 TiB"]);
  });

  test("latencies", () => {
    const said = [0.0004, 0.131, 0.9996, 1.31, 42.83, 999, 2300].map(words.latency);
    assert.deepEqual(said, ["0 µs", "131 µs", "1 ms", "1.3 ms", "42.8 ms", "999 ms", "2.3 s"]);
  });

  test("time spans, by their largest unit", () => {
    const said = [-5, 400, 1000, 99_000, 101_000, 3_600_000, 6_100_000, 47 * 3.6e6, 51 * 3.6e6];
    assert.deepEqual(said.map(words.span), [
      ...["0 ms", "400 ms", "1 second", "99 seconds", "2 minutes", "60 minutes", "2 hours"],
      ...["47 hours", "2 days"],
    ]);
  });

  test("a moment has its date if that is not today's", () => {
    const noon = new Date(2026, 6, 11, 12, 0, 5).getTime();
    assert.equal(words.moment(noon, noon), "12:00:05");
    assert.equal(words.moment(noon - 86_400_000, noon), "10 Jul, 12:00:05");
  });

  test("nothing hides in a text", () => {
    assert.equal(words.visible("a\u202eb\u0000c\nd\u200be"), "a\\u{202e}b\\u{0}c\\u{a}d\\u{200b}e");
    assert.equal(words.visible("/mnt/müller/日本.db"), "/mnt/müller/日本.db");
  });
});
