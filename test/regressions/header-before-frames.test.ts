/**
 * A new generation's header and frames were written at once and synced at the end. A power cut may
 * keep any of the blocks from the disk: frames of the generation before, valid under its header,
 * would overlay the newer file. The header has to be durable before the first frame is written.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import { stampUnused } from "../../src/lineage/fingerprint.ts";
import { originPosition } from "../../src/lineage/position.ts";
import { Sidecar } from "../../src/lineage/sidecar.ts";
import { Delivery } from "../../src/mirror/delivery.ts";
import { FileTarget } from "../../src/targets/file.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";

/** Says in which order it is written and synced. */
class Told extends FileTarget {
  readonly calls: string[] = [];
  override write(bytes: Uint8Array, at: number, length: number, offset: number): void {
    this.calls.push(`write ${offset}+${length}`);
    super.write(bytes, at, length, offset);
  }
  override sync(): void {
    this.calls.push("sync");
    super.sync();
  }
}

test("the header of a new generation is synced before its frames are written", (t) => {
  const dir = scratch(t);
  const driver = loadDriver("node:sqlite");
  const [primary, replica] = [path.join(dir, "a.db"), path.join(dir, "b.db")];
  const db = driver.open(primary);
  db.exec("PRAGMA journal_mode=WAL; CREATE TABLE t(x); PRAGMA wal_checkpoint(TRUNCATE)");
  fs.copyFileSync(primary, replica);
  db.exec("INSERT INTO t VALUES(zeroblob(20000))");
  const log = fs.readFileSync(`${primary}-wal`);
  const scan = scanLog(`${primary}-wal`);
  const [commit] = scan?.commits ?? [];
  assert.ok(scan && commit);

  const sidecar = Sidecar.open(driver, replica, "replica");
  const position = originPosition(1);
  sidecar.update({ folded: { position, file: stampUnused(replica) } });
  const target = new Told(driver, replica);
  const at = { header: null, position };
  const delivery = new Delivery(target, sidecar, at, () => true);
  const { salt1, salt2, pageSize } = scan.header;
  const { frame: frames, sum1, sum2 } = commit;
  delivery.deliver(
    { first: 1, frames, pageSize, salt1, salt2, sum1, sum2, ends: true },
    { bytes: log, at: 0, length: log.length },
  );
  delivery.sync();
  assert.deepEqual(target.calls, ["write 0+32", "sync", `write 32+${log.length - 32}`, "sync"]);
  assert.deepEqual(fs.readFileSync(`${replica}-wal`), log, "the logs are equal");
  target.close(false);
  sidecar.close();
  db.close();
});
