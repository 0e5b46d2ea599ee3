/**
 * The files of an archive: how a message lies in one (told in archive.ts), and how files are read, written and
 * named there.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import { tornFile } from "./archive-errors.ts";
import type { Entry } from "./log.ts";

const { promises: files } = fs;

export const NEW = "new";

export function encode(message: Uint8Array, sequence: number): Uint8Array {
  const bytes = Buffer.alloc(HEAD_SIZE + message.length);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeBigUInt64LE(BigInt(Date.now()), 8);
  bytes.writeBigUInt64LE(BigInt(sequence), 16);
  bytes.writeUInt32LE(message.length, 24);
  bytes.set(message, HEAD_SIZE);
  bytes.writeUInt32LE(checksumOf(bytes), 28);
  return bytes;
}

/** @throws LockstepError REPLICA_CHANGED, which names the file */
export function decode(bytes: Buffer, sequence: number, file: string): Entry {
  const isWhole =
    bytes.length >= HEAD_SIZE &&
    bytes.toString("latin1", 0, 4) === MAGIC &&
    bytes.readUInt32LE(4) === VERSION &&
    bytes.readUInt32LE(24) === bytes.length - HEAD_SIZE &&
    bytes.readUInt32LE(28) === checksumOf(bytes) &&
    bytes.readBigUInt64LE(16) === BigInt(sequence);
  // durable: a message is what was put there
  if (!isWhole) throw tornFile(file);
  const time = new Date(Number(bytes.readBigUInt64LE(8)));
  return { sequence, bytes: bytes.subarray(HEAD_SIZE), time };
}

export async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await files.readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

export async function writeSynced(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await files.open(file, "wx", 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a directory that may be there; but not what it is to be in. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await files.mkdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** A small file, the old one or the new one at every instant. */
export async function writeWhole(root: string, name: string, text: string): Promise<void> {
  const fresh = path.join(root, NEW, `${name}-${process.pid}-${randomBytes(4).toString("hex")}`);
  await writeSynced(fresh, Buffer.from(text));
  await files.rename(fresh, path.join(root, name));
  await syncNames(root);
}

export async function syncNames(directory: string): Promise<void> {
  const handle = await files.open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await files.readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

export async function numbersIn(shard: string): Promise<number[]> {
  const names = await namesIn(shard);
  return names
    .filter((name) => /^\d{10,}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

export async function removeEmpty(directory: string): Promise<void> {
  try {
    await files.rmdir(directory);
  } catch {
    // somebody has put something there
  }
}

/** Removes the files of a directory that were not written since. @returns how many there were */
export async function sweepOld(directory: string, before: Date): Promise<number> {
  let swept = 0;
  for (const name of await files.readdir(directory)) {
    const file = path.join(directory, name);
    const stat = await files.stat(file).catch(() => null); // it may be done with meanwhile
    if (!stat || stat.mtime >= before) continue;
    await files.rm(file, { force: true });
    swept++;
  }
  return swept;
}

// --- internal ---

const HEAD_SIZE = 32;
const MAGIC = "LKSA";
const VERSION = 1;
const ZERO = new Uint8Array(4);

function checksumOf(bytes: Uint8Array): number {
  const head = crc32(ZERO, crc32(bytes.subarray(0, 28)));
  return crc32(bytes.subarray(HEAD_SIZE), head);
}
