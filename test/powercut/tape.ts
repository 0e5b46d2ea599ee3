/**
 * The tape: everything that a process did to its disks, in order. recorder.c writes it and tells its
 * format; here it is built, and read.
 */
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { buildLibrary, skipWithout } from "../support/preload.ts";

const recorder = buildLibrary(join(import.meta.dirname, "recorder.c"));

/** For `test(name, { skip }, …)`. */
export const skip = skipWithout(recorder);

const KINDS = [
  "",
  "create",
  "write",
  "truncate",
  "rename",
  "unlink",
  "sync-begin",
  "sync-end",
  "utimens",
] as const;

/** Something that was done, and succeeded. */
export interface Operation {
  readonly kind: Exclude<(typeof KINDS)[number], "">;
  readonly thread: number;
  /** The file's; 0 for what is done to a name. */
  readonly inode: number;
  /** Below the root; its first part is the disk. */
  readonly path: string;
  /** Of a rename: what it was called before. */
  readonly before: string;
  /** Where a write goes; the size of a truncation; of a sync: 1 if the times are synced, too. */
  readonly at: number;
  /** Of the file, afterwards, in nanoseconds. */
  readonly mtimeNs: bigint;
  /** What was written. */
  readonly data: Uint8Array;
}

/** The environment of a process that is to be recorded. @param root a directory, its real path */
export function recording(root: string, scratch: string): { env: NodeJS.ProcessEnv; tape: string } {
  if ("reason" in recorder) throw new Error(recorder.reason);
  const tape = join(scratch, "tape");
  const lock = join(scratch, "lock");
  fs.writeFileSync(lock, Buffer.alloc(8));
  const env = { LD_PRELOAD: recorder.path, TAPE_ROOT: `${root}/`, TAPE: tape, TAPE_LOCK: lock };
  return { env, tape };
}

/** Where a tape is kept: a process's threads never run the same way twice, a tape is replayed. */
export function tapeOf(seed: number, life: number | "*" = "*"): string {
  return join(os.tmpdir(), `lockstep-powercut-${seed}-${life}.tape`);
}

const HEAD = 56;

/** Puts something on a tape that was done before it was recorded. */
export function prepend(tape: string, operation: Omit<Operation, "thread" | "before">): void {
  const { kind, inode, path, at, mtimeNs, data } = operation;
  const name = Buffer.from(path);
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(KINDS.indexOf(kind), 0);
  head.writeBigUInt64LE(BigInt(inode), 8);
  head.writeBigInt64LE(BigInt(at), 16);
  head.writeBigInt64LE(mtimeNs, 32);
  head.writeUInt32LE(name.length, 40);
  head.writeUInt32LE(data.length, 48);
  fs.appendFileSync(tape, Buffer.concat([head, name, data]));
}

export function readTape(path: string): Operation[] {
  const bytes = fs.readFileSync(path);
  const operations: Operation[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [name, other, data] = [40, 44, 48].map((field) => bytes.readUInt32LE(at + field)) as [
      number,
      number,
      number,
    ];
    const names = at + HEAD;
    operations.push({
      kind: KINDS[bytes.readUInt32LE(at)] as Operation["kind"],
      thread: bytes.readUInt32LE(at + 4),
      inode: Number(bytes.readBigUInt64LE(at + 8)),
      at: Number(bytes.readBigInt64LE(at + 16)),
      mtimeNs: bytes.readBigInt64LE(at + 32),
      path: bytes.toString("utf8", names, names + name),
      before: bytes.toString("utf8", names + name, names + name + other),
      data: bytes.subarray(names + name + other, names + name + other + data),
    });
    at = names + name + other + data;
  }
  return operations;
}
