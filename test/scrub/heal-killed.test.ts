/** Killed at each step of a healing: what was begun harms nothing, and is done the next time. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DatabaseSync } from "../../src/index.ts";
import { scrub } from "../../src/scrub.ts";
import { withImage } from "../../src/wal/image.ts";
import { type Call, Faults, type Kind, type Rule, skip } from "../faults/shim.ts";
import { scratch } from "../scratch.ts";
import { rot } from "../support/rot.ts";
import { PAGE, takeAside } from "./healing.ts";
import { Subject } from "./random.ts";

/** Rotten pages of the primary, and of the replica. */
const BAD = [[17], [9, 11]] as const;
const ALL = BAD.flat().length;
/** How many calls of a kind are tried, if there are more. */
const CALLS = 3;

class Patient {
  readonly faults: Faults;
  readonly copies: readonly [string, string];

  constructor(t: TestContext) {
    const disks = join(scratch(t), "disks");
    fs.mkdirSync(disks);
    this.copies = new Subject(disks, 300).copies;
    this.faults = new Faults(disks, scratch(t));
  }

  spoil(): void {
    BAD.forEach((pages, i) => {
      for (const page of pages) rot(this.copies[i] as string, page, PAGE, 300);
    });
  }

  /** Until so many are healed: its exit status, or the signal that ended it. */
  live(count: number, ...rules: readonly Rule[]): Promise<number | string> {
    this.faults.set(...rules);
    const script = join(import.meta.dirname, "heal-child.ts");
    const child = spawn(
      process.execPath,
      ["--no-warnings", script, String(count), ...this.copies],
      {
        env: { ...process.env, ...this.faults.env },
        stdio: ["ignore", "ignore", "inherit"],
        detached: true, // a group of its own, which ends as a whole
      },
    );
    return new Promise((resolve) =>
      child.once("close", (code, signal) => resolve(signal ?? code ?? "")),
    );
  }

  /** The pages that rot, as a reader of each copy finds them. */
  read(): string[] {
    return this.copies.flatMap((copy) =>
      withImage(copy, (image) =>
        BAD.flat().map((number) => {
          const page = Buffer.alloc(PAGE);
          image.read(number, 1, page);
          return page.toString("base64");
        }),
      ),
    );
  }
}

test("what has rotted is kept aside, and synced, before it is healed", { skip }, async (t) => {
  const patient = new Patient(t);
  patient.spoil();
  assert.equal(await patient.live(ALL), 0);
  const calls = patient.faults.record().filter(({ result }) => result >= 0);
  for (const disk of ["main", "replica"]) {
    const on = (kind: Kind): Call[] =>
      calls.filter((call) => call.kind === kind && call.path === `${disk}/app.db-lockstep-rot`);
    const kept = on("write").at(-1);
    assert.ok(kept);
    const synced = on("sync").find(({ begin }) => begin > kept.end);
    assert.ok(synced, "it is synced");
    const written = calls.find(
      ({ kind, path, begin }) =>
        kind === "write" && path === "main/app.db-wal" && begin > kept.begin,
    );
    assert.ok(written && written.begin > synced.end, "before the log is written");
  }
});

const STEPS: readonly (readonly [Kind, string])[] = [
  ["write", "*app.db-lockstep-rot"],
  ["sync", "*app.db-lockstep-rot"],
  ["write", "main/app.db-wal"],
  ["write", "main/app.db-shm"],
  ["sync", "main/app.db-wal"],
  ["write", "replica/app.db-wal"],
];

describe("killed", { skip }, () => {
  for (const [on, path] of STEPS) {
    test(`at a ${on} of ${path}`, async (t) => {
      const patient = new Patient(t);
      const sound = patient.read();
      patient.spoil();
      const rotten = patient.read();
      const rule = { on, path, does: "killgroup" } as const;
      assert.equal(await patient.live(ALL, { ...rule, nth: 1e6 }), 0);
      const calls = patient.faults.matched(0);
      assert.ok(calls > 0);
      assert.deepEqual(patient.read(), sound);
      const times = Math.min(CALLS, calls);
      for (let i = 1; i <= times; i++) {
        patient.spoil();
        const nth = Math.ceil((i * calls) / times);
        assert.equal(
          await patient.live(ALL, { ...rule, nth }),
          "SIGKILL",
          `call ${nth} of ${calls}`,
        );
        patient.faults.set();
        patient.read().forEach((page, at) => {
          assert.ok(page === sound[at] || page === rotten[at], `call ${nth} of ${calls}`);
        });
        const [primary, replica] = patient.copies;
        const db = new DatabaseSync(primary, { replicas: [replica] });
        db.exec("UPDATE entry SET what = what || '.' WHERE n = 1");
        db.close();
        const report = await scrub(primary, [replica]);
        assert.equal(report.sound, true);
        assert.deepEqual(patient.read(), sound);
      }
    });
  }
});

test("pages that the disk cannot read are healed, too", { skip }, async (t) => {
  const patient = new Patient(t);
  const sound = patient.read();
  // While the pass over the replica begins, and waits for a moment:
  const begun: Rule = { on: "open", path: "replica/app.db-lockstep-sums", does: { delay: 2000 } };
  const ended = patient.live(64, { ...begun, times: 1 });
  while (patient.faults.matched(0) === 0) await delay(5);
  // All of the first 64 at once, and each when it is looked at: by the pass, and once more.
  const unreadable = { on: "read", path: "replica/app.db", times: 1 + 2 * 64 } as const;
  patient.faults.set({ ...unreadable, does: { error: "EIO" } });
  assert.equal(await ended, 0);
  assert.deepEqual(patient.read(), sound);
  const kept = takeAside(patient.copies[1]);
  assert.deepEqual(
    kept.map(({ page }) => page),
    Array.from({ length: 64 }, (_, i) => i + 1),
  );
  assert.ok(kept.every(({ bytes }) => bytes.equals(Buffer.alloc(PAGE))));
});
