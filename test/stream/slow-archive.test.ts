/** An asynchronous archive on a slow disk, beside a primary that is killed at any instant. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync as Plain } from "node:sqlite";
import { test } from "node:test";
import { Random } from "../crash/random.ts";
import { ok } from "../faults/pair.ts";
import { type Rule, skip } from "../faults/shim.ts";
import { runs, seed } from "../support/seed.ts";
import { Faulty } from "./faulty.ts";
import { caughtUp, opened } from "./lagging.ts";

const WRITER = path.join(import.meta.dirname, "writer.ts");
const random = new Random(seed);

/** What comes after a kill; each leaves copies that can be opened. */
const aftermaths: Record<string, (faulty: Faulty) => Promise<void>> = {
  "a restart": async () => {},
  "a start that folds the log while it is away, killed as well": async (faulty) => {
    const { pair } = faulty;
    faulty.takeAway();
    fs.rmSync(path.dirname(pair.replica), { recursive: true });
    fs.mkdirSync(path.dirname(pair.replica));
    ok(await pair.open(faulty.replicas));
    for (let i = random.below(40); i >= 0; i--) ok(await pair.exec(ANOTHER));
    await pair.restart();
    faulty.bringBack();
  },
  "the primary is gone": async ({ pair }) => {
    fs.rmSync(path.dirname(pair.primary), { recursive: true });
    fs.mkdirSync(path.dirname(pair.primary));
  },
};

const ANOTHER = "INSERT INTO t VALUES((SELECT max(n) + 1 FROM t), zeroblob(300))";

test(`a slow archive, kill -9 at random instants, seed ${seed}`, { skip }, async (t) => {
  const faulty = await Faulty.make(t, { checkpointBytes: 100_000, restoreMissing: true });
  const { pair } = faulty;
  ok(await pair.close());
  await pair.restart();
  const slow: Rule = { on: "sync", path: "other/log/", does: { delay: 10 + random.below(60) } };
  for (let life = 0; life < runs(4); life++) {
    const replicas = [pair.replica, faulty.address];
    pair.faults.set(slow);
    const first = String(rowsOf(pair.primary) + 1);
    const child = spawn(process.execPath, [WRITER, pair.primary, first, ...replicas], {
      env: { ...process.env, ...pair.faults.env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const wanted = Number(first) + random.below(1500);
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged >= wanted) child.kill("SIGKILL");
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL", "it wrote until it was killed");
    pair.faults.set();
    const each = Object.entries(aftermaths);
    const [how, then] = each[life % each.length] as (typeof each)[number];
    t.diagnostic(`life ${life}: killed after row ${acknowledged}, then ${how}`);
    await then(faulty);
    const db = await opened(pair.primary, { replicas, restoreMissing: true });
    assert.ok(Number(db.prepare("SELECT max(n) AS n FROM t").get()?.["n"]) >= acknowledged);
    if (random.oneIn(2)) for (let i = random.below(60); i >= 0; i--) db.exec(ANOTHER);
    await caughtUp(db);
    db.close();
    await faulty.assertHolds(pair.primary);
    assert.ok(fs.readFileSync(pair.replica).equals(fs.readFileSync(pair.primary)));
  }
});

function rowsOf(file: string): number {
  const db = new Plain(file, { readOnly: true });
  const [row] = db.prepare("SELECT max(n) AS n FROM t").all();
  db.close();
  return Number(row?.["n"]);
}
