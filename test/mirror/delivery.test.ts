/**
 * What a mirror does with frames at moments that a whole process meets once in a long while: the committing
 * thread moves on while they are written, a generation begins over a log that is not folded, another
 * program cuts the log off just then.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Connection, loadDriver } from "../../src/driver.ts";
import { stampUnused } from "../../src/lineage/fingerprint.ts";
import { originPosition } from "../../src/lineage/position.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { Delivery } from "../../src/mirror/delivery.ts";
import { FileTarget } from "../../src/targets/file.ts";
import { frameOffset, WAL_HEADER_SIZE } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { elsewhere } from "../support/program.ts";

const driver = loadDriver("node:sqlite");

/** Lets something happen just before frames are written, or when they are and are not synced yet. */
class Meddled extends FileTarget {
  beforeFrames: (bytes: Uint8Array) => void = () => {};
  beforeSync: () => void = () => {};
  override write(bytes: Uint8Array, at: number, length: number, offset: number): void {
    if (offset >= WAL_HEADER_SIZE) this.beforeFrames(bytes);
    super.write(bytes, at, length, offset);
  }
  override sync(): void {
    this.beforeSync();
    super.sync();
  }
}

/** A primary with an empty table, all of it in its file, and a replica that is equal to it. */
class Scene {
  readonly replica: string;
  readonly primary: Connection;
  readonly target: Meddled;
  readonly sidecar: Sidecar;
  readonly delivery: Delivery;
  wanted = true;
  readonly #log: string;

  constructor(t: TestContext) {
    const dir = scratch(t);
    const file = path.join(dir, "a.db");
    this.replica = path.join(dir, "b.db");
    this.#log = `${file}-wal`;
    this.primary = driver.open(file);
    this.primary.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
    this.primary.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    fs.copyFileSync(file, this.replica);
    this.sidecar = Sidecar.open(driver, this.replica, "replica");
    const position = originPosition(1);
    this.sidecar.update({ folded: { position, file: stampUnused(this.replica) } });
    this.target = new Meddled(driver, this.replica);
    const at = { header: null, position };
    this.delivery = new Delivery(this.target, this.sidecar, at, () => this.wanted);
    t.after(() => {
      this.target.close(false);
      this.sidecar.close();
      this.primary.close();
    });
  }

  /** Commits on the primary, in a generation of its own, and delivers the log to the replica. */
  commit(sql = "INSERT INTO t VALUES(zeroblob(20000))"): void {
    this.primary.exec("PRAGMA wal_checkpoint(RESTART)");
    this.primary.exec(sql);
    const scan = scanLog(this.#log);
    const [end] = scan?.commits ?? [];
    assert.ok(scan && end);
    const { salt1, salt2, pageSize } = scan.header;
    const { frame: frames, sum1, sum2 } = end;
    const bytes = fs.readFileSync(this.#log);
    this.delivery.deliver(
      { first: 1, frames, pageSize, salt1, salt2, sum1, sum2, ends: true },
      { bytes, at: 0, length: bytes.length },
    );
  }

  /** As any program sees it that opens the replica. */
  rows(): unknown {
    const [count] = elsewhere(this.replica, [
      "SELECT count(*) AS n, sum(length(x)) AS bytes FROM t",
    ]);
    return count?.rows?.[0];
  }
}

test("what the committing thread wrote over while it was written here is not shown", (t) => {
  const scene = new Scene(t);
  scene.commit();
  scene.delivery.sync();
  scene.target.beforeFrames = (bytes) => {
    scene.wanted = false; // it gives up first, and then the ring goes round
    bytes.fill(0x55, WAL_HEADER_SIZE);
  };
  assert.throws(() => scene.commit(), { code: "ERR_LOCKSTEP_REPLICA_TIMEOUT" });
  assert.deepEqual(scene.rows(), { n: 1, bytes: 20000 });
});

test("no generation begins when nobody waits any more: what lies between may be missing here", (t) => {
  const scene = new Scene(t);
  scene.commit();
  scene.delivery.sync();
  const { generation } = scene.sidecar.state;
  const log = fs.readFileSync(`${scene.replica}-wal`);
  scene.wanted = false;
  assert.throws(() => scene.commit(), { code: "ERR_LOCKSTEP_REPLICA_TIMEOUT" });
  assert.deepEqual(scene.sidecar.state.generation, generation, "it is not on record");
  assert.deepEqual(fs.readFileSync(`${scene.replica}-wal`), log, "nor in the log");
});

test("a generation begins over a log that is not folded: that is folded first", (t) => {
  const scene = new Scene(t);
  for (let rows = 1; rows <= 3; rows++) {
    scene.commit();
    scene.delivery.sync();
    assert.deepEqual(scene.rows(), { n: rows, bytes: rows * 20000 });
  }
});

test("a start cuts off what is behind the log's end, and nothing that another program wrote there", (t) => {
  const scene = new Scene(t);
  scene.commit();
  scene.delivery.sync();
  const log = `${scene.replica}-wal`;
  const scan = scanLog(log);
  const end = scan?.commits.at(-1);
  assert.ok(scan && end);
  const ours = { ...scan.header, frames: end.frame };
  fs.appendFileSync(log, Buffer.alloc(5000));
  scene.target.cutBehind(ours);
  const whole = fs.readFileSync(log);
  assert.equal(whole.length, frameOffset(end.frame + 1, scan.header.pageSize));
  elsewhere(scene.replica, ["INSERT INTO t VALUES(1)"]);
  assert.throws(() => scene.target.cutBehind(ours), { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
  assert.ok(fs.statSync(log).size > whole.length);
});

test("another program cuts the log off before a generation's first frames are shown", (t) => {
  const scene = new Scene(t);
  scene.commit("INSERT INTO t VALUES(1)"); // without page 1, which SQLite itself would miss
  scene.target.beforeSync = () => {
    const [row] = elsewhere(scene.replica, ["PRAGMA wal_checkpoint(TRUNCATE)"]);
    assert.equal(row?.rows?.[0]?.["busy"], 0);
  };
  assert.throws(() => scene.delivery.sync(), { code: "ERR_LOCKSTEP_REPLICA_CHANGED" });
});

test("while a generation begins here the index speaks of the one before: that is no damage", async (t) => {
  const scene = new Scene(t);
  scene.commit();
  scene.delivery.sync();
  assert.ok(scene.delivery.fold());
  const { replica, target } = scene;
  const seen: string[] = [];
  target.beforeSync = () => seen.push(takenElsewhere(replica));
  scene.commit();
  assert.deepEqual(seen, ["taken"], "its header is in the log, and no frame");
});

/** In a process of its own, whose closing drops no lock of this one. */
function takenElsewhere(file: string): string {
  const script = `
    const { Snapshot } = await import(${JSON.stringify(new URL("../../src/verify/snapshot.ts", import.meta.url).href)});
    const snapshot = new Snapshot(process.argv[1]);
    snapshot.take();
    snapshot.close();
    console.log("taken");`;
  const node = ["--no-warnings", "--input-type=module", "-e", script, file];
  const { stdout, stderr } = spawnSync(process.execPath, node, { encoding: "utf8" });
  return stdout.trim() || stderr;
}
