/**
 * An archive that is away while the log goes which would prove what it holds to be the primary's past: whoever takes the log
 * away keeps what proves it.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync as Plain } from "node:sqlite";
import { test } from "node:test";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { leftPath } from "../../src/lineage/left-at.ts";
import { createArchive } from "../../src/stream/archive.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { ok } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";
import { copyDirectory, keepFingerprint, runSql } from "../support/files.ts";
import type { Faulty } from "./faulty.ts";
import { comesBack, images, loses, provenByLog, saltOf } from "./lagging.ts";

/** Large pages, where more is committed than is kept for an archive: that takes an eighth of the time. */
const PAGE = 4096;

/** A start without the archive, in which the log grows until it begins anew. */
async function beginsAnew({ pair, replicas }: Faulty): Promise<void> {
  ok(await pair.open({ ...replicas, checkpointBytes: 1 << 20 }));
  const before = saltOf(pair.primary);
  for (let i = 0; i < 7; i++) ok(await pair.insert(10_000_000)); // more than is kept for it
  for (let i = 0; i < 20 && saltOf(pair.primary) === before; i++) ok(await pair.insert());
  assert.notEqual(saltOf(pair.primary), before);
  await pair.restart();
}

/** The archive is there again, and goes on with one image more. */
async function goesOn(
  faulty: Faulty,
  isGone = false,
  others: readonly string[] = [],
): Promise<void> {
  faulty.bringBack();
  await comesBack(faulty, isGone, others);
  assert.equal(await images(faulty), 2);
}

test("the primary, whose disk has lost a generation, is rolled forward into that", {
  skip,
}, async (t) => {
  const faulty = await provenByLog(t);
  const { pair } = faulty;
  const disk = path.dirname(pair.primary);
  fs.renameSync(disk, `${disk}-then`);
  copyDirectory(`${disk}-then`, disk);
  const was = readFingerprint(path.join(`${disk}-then`, path.basename(pair.primary)));
  assert.ok(was);
  keepFingerprint(pair.primary, was);
  faulty.takeAway();
  const third = path.join(pair.faults.root, "third.db"); // it needs a copy, so the log is folded
  ok(await pair.open({ replicas: [pair.replica, third] }));
  ok(await pair.insert());
  await pair.restart();
  fs.rmSync(disk, { recursive: true });
  fs.renameSync(`${disk}-then`, disk);
  await goesOn(faulty);
});

test("another program folds the log, and has it open when the primary is opened", {
  skip,
}, async (t) => {
  const faulty = await provenByLog(t);
  const { pair } = faulty;
  faulty.takeAway();
  const other = new Plain(pair.primary);
  const [folded] = other.prepare("PRAGMA wal_checkpoint(PASSIVE)").all();
  assert.ok(folded?.["log"] && folded["log"] === folded["checkpointed"]);
  ok(await pair.open(faulty.replicas));
  const before = saltOf(pair.primary);
  ok(await pair.insert());
  assert.notEqual(saltOf(pair.primary), before);
  other.close();
  await pair.restart();
  await goesOn(faulty);
});

test("another program folds the log, and removes it", { skip }, async (t) => {
  const faulty = await provenByLog(t);
  const { pair } = faulty;
  runSql(pair.primary, "SELECT count(*) FROM other");
  assert.ok(!fs.existsSync(`${pair.primary}-wal`), "as SQLite does");
  faulty.takeAway();
  ok(await pair.open(faulty.replicas));
  ok(await pair.insert());
  await pair.restart();
  await goesOn(faulty);
});

test("of two that are away one is found: what proves the other stays", { skip }, async (t) => {
  const faulty = await provenByLog(t);
  const { pair } = faulty;
  const directory = path.join(pair.faults.root, "second");
  const second = `archive:${directory}?async=1`;
  await createArchive(directory);
  faulty.takeAway();
  loses(pair.replica); // it needs a copy, so the log is folded
  const replicas = [...(faulty.replicas.replicas ?? []), second];
  ok(await pair.open({ ...faulty.replicas, replicas }));
  assert.ok(fs.existsSync(leftPath(pair.primary)));
  // Before anything is committed: the other begins at a moment when the file holds all.
  for (const began = performance.now(); ; ) {
    const states = ok(await pair.subject.ask({ do: "states" })).value as string[];
    if (states[2] === "mirroring") break;
    assert.ok(performance.now() - began < 60_000, `${states}`);
    await pair.subject.ask({ do: "turn", milliseconds: 5 });
  }
  ok(await pair.insert());
  await pair.restart();
  await goesOn(faulty, false, [second]);
});

for (const isGone of [false, true]) {
  const then = isGone ? "the file replica takes over" : "started again";
  test(`the log begins anew while it is away since the start; killed, ${then}`, {
    skip,
  }, async (t) => {
    const faulty = await provenByLog(t, PAGE);
    faulty.takeAway();
    await beginsAnew(faulty);
    await goesOn(faulty, isGone);
  });
}

test("the primary, which has lost the end of its log, is rolled forward, and the log begins anew", {
  skip,
}, async (t) => {
  const faulty = await provenByLog(t, PAGE);
  const { primary } = faulty.pair;
  const [first] = scanLog(`${primary}-wal`)?.commits ?? [];
  fs.truncateSync(`${primary}-wal`, frameOffset((first?.frame ?? 0) + 1, PAGE));
  faulty.takeAway();
  await beginsAnew(faulty);
  await goesOn(faulty);
});
