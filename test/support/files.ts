/**
 * Files as they lie. What reads or copies a database file that may be open in this process does it in
 * a process of its own: closing a descriptor of it would drop this process's locks.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { crc32 } from "node:zlib";
import {
  type Fingerprint,
  readFingerprint,
  sameFingerprint,
} from "../../src/lineage/fingerprint.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { crcsOf, wrongSums } from "./sums.ts";

/** Copies a directory and all in it, times and modes included. */
export function copyDirectory(from: string, to: string): void {
  const { status, stderr } = spawnSync("cp", ["-a", from, to], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

/** A digest of what a copy holds: its file and its log. No log and an empty one are the same. */
export function digestOf(copy: string): string {
  const hash = createHash("sha256");
  for (const suffix of ["", "-wal"]) {
    if (fs.existsSync(copy + suffix)) hash.update(fs.readFileSync(copy + suffix));
    hash.update("|");
  }
  return hash.digest("hex");
}

/** Opens a closed copy without touching it or leaving anything beside it. */
export function readAtRest<T>(file: string, use: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(`${pathToFileURL(file).href}?immutable=1`, { readOnly: true });
  try {
    return use(db);
  } finally {
    db.close();
  }
}

/** Runs SQL on a database as any program would, in this process: nobody else here has it open. */
export function runSql(file: string, ...statements: string[]): void {
  const db = new DatabaseSync(file);
  try {
    for (const sql of statements) db.exec(sql);
  } finally {
    db.close();
  }
}

/** What is to be found out of a file at rest, by whoever may know it already. */
export interface Examined {
  integrity(file: string, bytes: Uint8Array): string;
  crcs(bytes: Uint8Array, pageSize: number): Uint32Array;
}

/** What `integrity_check` says of a closed copy. */
export function integrityOf(file: string): string {
  const rows = readAtRest(file, (db) => db.prepare("PRAGMA integrity_check").all());
  return rows.map((row) => row["integrity_check"]).join("; ");
}

/** Both closed: equal byte for byte, sound, nothing but the sidecar, right sums and a proof beside. */
export function assertAtRest(
  primary: string,
  replicas: readonly string[],
  examined: Examined = { integrity: integrityOf, crcs: crcsOf },
): void {
  for (const copy of [primary, ...replicas]) {
    const name = path.basename(copy);
    const beside = fs
      .readdirSync(path.dirname(copy))
      .filter(
        (each) => each.startsWith(name) && !/\.set-aside-|-lockstep-(sums|proof)$/.test(each),
      );
    assert.deepEqual(beside.sort(), [name, `${name}-lockstep`], `what is left beside ${copy}`);
  }
  for (const copy of [primary, ...replicas]) {
    const wrong = wrongSums(copy, (bytes, pageSize) => examined.crcs(bytes, pageSize));
    assert.deepEqual(wrong, [], copy);
  }
  const bytes = fs.readFileSync(primary);
  for (const replica of replicas) {
    const equal = Buffer.compare(bytes, fs.readFileSync(replica)) === 0;
    assert.ok(equal, `${replica} is, byte for byte, ${primary}`);
  }
  assert.equal(examined.integrity(primary, bytes), "ok");
}

/**
 * A file that was moved here has another inode than it had. If the record beside it says that the file
 * is unchanged, it says so of the file as it is here.
 * @param was the file's fingerprint where it was
 */
export function keepFingerprint(copy: string, was: Fingerprint): void {
  if (!fs.existsSync(`${copy}-lockstep`)) return;
  keepAmended(copy, was);
  const record = new DatabaseSync(`${copy}-lockstep`);
  try {
    const row = record.prepare("SELECT value FROM state WHERE key = 'folded'").get();
    const folded = row ? JSON.parse(String(row["value"])) : null;
    if (folded === null || !sameFingerprint(folded.file, was)) return;
    const value = JSON.stringify({ ...folded, file: readFingerprint(copy) });
    record.prepare("UPDATE state SET value = ? WHERE key = 'folded'").run(value);
  } finally {
    record.close();
  }
}

/** The same in what amends the record, in both slots. */
function keepAmended(copy: string, was: Fingerprint): void {
  const file = `${copy}-lockstep-amended`;
  if (!fs.existsSync(file)) return;
  const bytes = fs.readFileSync(file);
  for (const slot of [bytes.subarray(0, 4096), bytes.subarray(4096)]) {
    const end = slot.length < 8 ? 0 : 8 + slot.readUInt32BE(4);
    if (end < 8 || end > slot.length || crc32(slot.subarray(4, end)) !== slot.readUInt32BE(0))
      continue;
    const amendment = JSON.parse(slot.toString("utf8", 8, end));
    const { folded } = amendment.state;
    if (!folded || !sameFingerprint(folded.file, was)) continue;
    folded.file = readFingerprint(copy);
    const length = slot.write(JSON.stringify(amendment), 8);
    slot.writeUInt32BE(length, 4);
    slot.writeUInt32BE(crc32(slot.subarray(4, 8 + length)), 0);
  }
  fs.writeFileSync(file, bytes);
}

/** Where a copy's log ends, in bytes: behind its last commit there may be room that was made ahead. */
export function logEnd(copy: string): number {
  const scan = scanLog(`${copy}-wal`);
  const last = scan?.commits.at(-1);
  return scan && last ? frameOffset(last.frame + 1, scan.header.pageSize) : 0;
}

/** What any user of the machine sees of how a process was started. */
export function readArguments(pid: number): string {
  const { status, stdout } = spawnSync("ps", ["-ww", "-o", "args=", "-p", `${pid}`], {
    encoding: "utf8",
  });
  assert.equal(status, 0, "the process is there");
  return stdout;
}
