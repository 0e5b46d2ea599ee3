/**
 * A follower that is killed, again and again. Goal: at every instant its copy is a sound database that holds what the
 * primary had committed at one moment, never less than before, and the next follower goes on from there.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { follow } from "../../src/standby/follow.ts";
import { main } from "../cli/lockstep.ts";
import { runs, seed } from "../support/seed.ts";
import { assertEqual, contentOf, insert, world } from "./world.ts";

test(`a follower that is killed at random leaves a copy that goes on (seed ${seed})`, async (t) => {
  const w = await world(t, { maxFrames: 20 });
  const contents = new Map<string, number>([[contentOf(w.writer.db), 0]]);
  let state = seed >>> 0 || 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const write = async (): Promise<void> => {
    const dice = next();
    await w.writer.run(dice < 0.7 ? insert(40, 700) : "DELETE FROM t WHERE id % 4 = 0");
    contents.set(contentOf(w.writer.db), contents.size);
    if (next() < 0.2) w.writer.checkpoint();
    if (next() < 0.1) await w.writer.snapshot();
  };
  let last = 0;
  let made = 0;
  for (let run = 0; run < runs(8); run++) {
    const child = spawn(process.execPath, [main, "follow", "--quiet", w.log.name, w.dest], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const ended = once(child, "exit");
    const patience = sleep(150 + next() * 700);
    for (let i = 0; i < 12; i++) await write();
    await patience; // an instant of the child's life, whichever: that is what is tried
    child.kill("SIGKILL");
    await ended;
    if (!fs.existsSync(w.dest)) continue;
    made++;
    // As another program would find it; on a copy, which it then may change.
    for (const suffix of ["", "-wal"]) {
      const from = `${w.dest}${suffix}`;
      fs.rmSync(`${w.dest}.look${suffix}`, { force: true });
      if (fs.existsSync(from)) fs.copyFileSync(from, `${w.dest}.look${suffix}`);
    }
    const db = new DatabaseSync(`${w.dest}.look`);
    const content = contentOf(db);
    assert.equal(db.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
    db.close();
    const at = contents.get(content);
    assert.ok(at !== undefined, "the copy holds what the primary held at one moment");
    assert.ok(at >= last, "and never an earlier one than before");
    last = at;
  }
  await follow(w.log, w.dest, { once: true });
  await assertEqual(w);
  t.diagnostic(`${made} copies looked at, the last at commit ${last} of ${contents.size}`);
});
