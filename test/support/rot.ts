/**
 * Rot: bits that flip beneath the file system. Nothing of a file's size or times shows it, and nobody
 * has the file open.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";

/** Changes bytes of a file; `bit` is one of the byte's, 0 to 7. */
export function flip(file: string, ...bits: { readonly at: number; readonly bit: number }[]): void {
  const { mtimeNs } = fs.statSync(file, { bigint: true });
  const fd = fs.openSync(file, "r+");
  const byte = Buffer.alloc(1);
  for (const { at, bit } of bits) {
    assert.equal(fs.readSync(fd, byte, 0, 1, at), 1, `byte ${at} is in the file`);
    byte[0] = (byte[0] as number) ^ (1 << bit);
    fs.writeSync(fd, byte, 0, 1, at);
  }
  fs.closeSync(fd);
  const time = `@${mtimeNs / 1_000_000_000n}.${String(mtimeNs % 1_000_000_000n).padStart(9, "0")}`;
  const { status, stderr } = spawnSync("touch", ["-m", "-d", time, file], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.equal(fs.statSync(file, { bigint: true }).mtimeNs, mtimeNs);
}

/** Flips a bit of a page. */
export function rot(file: string, page: number, pageSize: number, at = 0, bit = 0): void {
  flip(file, { at: (page - 1) * pageSize + at, bit });
}
