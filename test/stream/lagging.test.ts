/**
 * An asynchronous archive that is far behind when the log that would bring it along goes: what it holds is known for what
 * it is, it is gone on with, and what it has missed is refused by name.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import type { ReplicationOptions } from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { restore } from "../../src/restore.ts";
import { restoreStream } from "../../src/standby/restore.ts";
import { openStream } from "../../src/stream/open.ts";
import { Random } from "../crash/random.ts";
import { ok } from "../faults/pair.ts";
import { skip } from "../faults/shim.ts";
import { seed } from "../support/seed.ts";
import { Faulty } from "./faulty.ts";
import {
  caughtUp,
  comesBack,
  images,
  killedBehind,
  loses,
  opened,
  PAGE,
  provenByLog,
  rows,
  saltOf,
} from "./lagging.ts";

const random = new Random(seed);
/** At which message it hangs. */
const some = (commits = 2000): number => 1 + random.below(Math.min(8, commits / 1000));

for (const commits of [2000, 21_000]) {
  test(`killed ${commits} commits behind, it is brought along out of the log, seed ${seed}`, {
    skip,
  }, async (t) => {
    const faulty = await killedBehind(t, some(commits), commits);
    await faulty.begin();
    ok(await faulty.pair.close());
    await faulty.assertEqual();
    assert.equal(await images(faulty), 1, "the image that it began with");
  });
}

test(`a start folds the log while it is away, killed again, seed ${seed}`, { skip }, async (t) => {
  const faulty = await killedBehind(t, some());
  const { pair } = faulty;
  for (let life = 0; life < 2; life++) {
    faulty.takeAway();
    loses(pair.replica); // it needs a copy
    ok(await pair.open(faulty.replicas));
    for (let i = 0; i < 30; i++) ok(await pair.insert());
    await pair.restart();
    faulty.bringBack();
  }
  await faulty.begin();
  assert.ok(!fs.existsSync(`${pair.primary}-lockstep-left`), "what was kept is needed no more");
  ok(await pair.close());
  await faulty.assertEqual();
  assert.equal(await images(faulty), 2);
});

/** The file replica takes the primary's place: how. */
const takeovers: Record<string, (faulty: Faulty) => Promise<string>> = {
  "opened as a primary": async ({ pair }) => pair.replica,
  restoreMissing: async ({ pair }) => {
    loses(pair.primary);
    return pair.primary;
  },
  "lockstep restore": async ({ pair }) => {
    const dest = path.join(pair.faults.root, "dest.db");
    await restore(pair.replica, dest);
    return dest;
  },
};

/** It has, and goes on: the archive is in step in the end. */
async function goesOn(faulty: Faulty, primary: string): Promise<void> {
  const { pair } = faulty;
  const fourth = path.join(pair.faults.root, "fourth.db");
  const others = primary === pair.primary ? [pair.replica] : [fourth];
  const options = { replicas: [...others, faulty.address], restoreMissing: true };
  const db = await opened(primary, options);
  db.exec("INSERT INTO other VALUES(1)");
  await caughtUp(db);
  db.close();
  await faulty.assertHolds(primary);
  await pair.restart();
}

for (const [how, take] of Object.entries(takeovers)) {
  for (const isAway of [false, true]) {
    const when = isAway ? "after a start without it" : "at once";
    test(`the file replica takes over, ${how}, ${when}`, { skip }, async (t) => {
      const faulty = await provenByLog(t);
      const { pair } = faulty;
      if (isAway) {
        faulty.takeAway();
        const third = path.join(pair.faults.root, "third.db"); // it needs a copy, so the log is folded
        ok(
          await pair.open({
            ...faulty.replicas,
            replicas: [...(faulty.replicas.replicas ?? []), third],
          }),
        );
        for (let i = 0; i < 30; i++) ok(await pair.insert());
        await pair.restart();
        faulty.bringBack();
      }
      await goesOn(faulty, await take(faulty));
    });
  }

  test(`a message is under way when the log begins anew; killed, the file replica takes over, ${how}`, {
    skip,
  }, async (t) => {
    const faulty = await killedUnderWay(t);
    const { state, history = [] } =
      readSidecar(loadDriver("node:sqlite"), faulty.pair.replica) ?? {};
    const at = await faulty.position();
    const [left, past] = [Object.values(state?.leftAt ?? {}).flat(), history].map((positions) =>
      positions.map(formatPosition),
    );
    assert.ok(at && left?.includes(at) && !past?.includes(at), "that alone proves it");
    await goesOn(faulty, await take(faulty));
  });
}

test("a message is under way when the log begins anew; killed, started again", {
  skip,
}, async (t) => {
  await comesBack(await killedUnderWay(t));
});

/** A generation after a message that has its name, and is not confirmed. */
async function killedUnderWay(t: TestContext): Promise<Faulty> {
  const faulty = await Faulty.make(t, { checkpointBytes: 200_000 });
  const { pair } = faulty;
  ok(await pair.insert(9000));
  const before = saltOf(pair.primary);
  pair.faults.set({ on: "sync", path: "other/log/", nth: 2, does: "hang" });
  while (!pair.faults.record().some(({ detail }) => detail === "hangs")) {
    ok(await pair.insert(2000));
    await pair.subject.ask({ do: "turn", milliseconds: 20 });
  }
  while (saltOf(pair.primary) === before) ok(await pair.insert(5000));
  for (let i = 0; i < 3; i++) ok(await pair.insert(5000));
  await pair.restart();
  pair.faults.set();
  return faulty;
}

test(`it was let go, and the log began anew; killed, the file replica takes over, seed ${seed}`, {
  skip,
}, async (t) => {
  const faulty = await Faulty.make(t, { replicaTimeout: 600_000 });
  const { pair } = faulty;
  pair.faults.set({ on: "open", path: "other/new/", nth: 1 + random.below(4), does: "hang" });
  for (let i = 0; i < 9; i++) ok(await pair.insert(10_000_000));
  await faulty.until("detached");
  for (let i = 0; i < 9; i++) ok(await pair.insert(3_000_000)); // generations later
  await pair.restart();
  await comesBack(faulty, true);
  assert.equal(await images(faulty), 2);
});

test(`commits go on without a file replica meanwhile; it comes back, for the history has room, seed ${seed}`, {
  skip,
}, async (t) => {
  const options: ReplicationOptions = { onReplicaFailure: "degrade", checkpointBytes: 30_000 };
  const faulty = await Faulty.make(t, { ...options, replicaTimeout: 60_000 }, PAGE, "third");
  const { pair } = faulty;
  const third = path.join(pair.faults.root, "third");
  pair.faults.set(
    { on: "write", path: "third/", does: { error: "EIO" } },
    { on: "sync", path: "other/log/", does: { delay: 30 } },
  );
  const before = faulty.history.length;
  for (let i = 0; i < 150; i++) {
    ok(await pair.exec("INSERT INTO other VALUES(randomblob(200));".repeat(40)));
    ok(await pair.insert());
  }
  await pair.restart();
  const { history } = faulty;
  const generations = new Set(history.map(({ salt1, salt2 }) => `${salt1} ${salt2}`)).size;
  const added = history.length - before;
  assert.ok(generations > 20, `${generations} generations`);
  assert.ok(added < 3 * generations + 250, `${added} positions for ${generations} generations`);
  pair.faults.set();
  await faulty.begin();
  ok(await pair.close());
  await faulty.assertEqual();
  assert.ok(fs.readFileSync(path.join(third, "app.db")).equals(fs.readFileSync(pair.primary)));
});

test(`each moment is restored as it was, or refused by the name of the hole, seed ${seed}`, {
  skip,
}, async (t) => {
  const faulty = await Faulty.make(t, { checkpointBytes: 64 << 20, replicaTimeout: 600_000 }, PAGE);
  const { pair } = faulty;
  const known: { readonly at: string; readonly time: number; readonly rows: number }[] = [];
  const note = async (isTaken = false): Promise<void> => {
    ok(await pair.insert());
    const at = String(ok(await pair.subject.ask({ do: "position" })).value);
    do await pair.subject.ask({ do: "turn", milliseconds: 10 });
    while (isTaken && (await faulty.position()) !== at);
    known.push({ at, time: Date.now(), rows: rows(pair.primary) });
  };
  for (let i = 0; i < 5; i++) await note(true);
  pair.faults.set({ on: "open", path: "other/new/", does: "hang" });
  for (let i = 0; i < 5; i++) await note();
  await pair.restart(); // and a start that folds the log
  faulty.takeAway();
  loses(pair.replica);
  pair.faults.set();
  ok(await pair.open(faulty.replicas));
  for (let i = 0; i < 5; i++) await note();
  faulty.bringBack();
  await faulty.until("mirroring");
  for (let i = 0; i < 5; i++) await note(true);
  ok(await pair.close());
  await faulty.assertEqual();

  const { log } = await openStream(faulty.address);
  const dest = path.join(pair.faults.root, "restored.db");
  // Of the last moment before the hole it is not known whether anything was committed since the last message.
  let restored = 0;
  let refused = 0;
  for (const { at, time, rows: expected } of known) {
    for (const target of [at, new Date(time).toISOString()]) {
      try {
        await restoreStream(log, dest, { at: target, force: true });
        assert.equal(rows(dest), expected, target);
        restored++;
      } catch (error) {
        const { code, what } = error as { code?: string; what?: string };
        assert.equal(code, "ERR_LOCKSTEP_REPLICA_GONE", `${error}`);
        assert.match(String(what), target === at ? /is not in it/ : /begins it anew with an image/);
        refused++;
      }
    }
  }
  await log.close();
  assert.ok(restored === 19 && refused === 21, `${restored} restored, ${refused} refused`);
});
