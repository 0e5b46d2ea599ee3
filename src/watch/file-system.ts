/** On which file system a copy lies: what is left of it, whether it is a disk, and which. */
import fs from "node:fs/promises";
import path from "node:path";
import { archiveDirectory, isStream } from "../address.ts";

export interface Place {
  /** What an unprivileged process may still write, in bytes. */
  readonly freeBytes: number;
  readonly sizeBytes: number;
  /** A network's or a program's file system, by its name; null if it is none that is known. */
  readonly remote: string | null;
  /** What keeps its content only as long as the machine, or a container, runs; null if it is none known. */
  readonly fleeting: string | null;
  /** The same for all that is on one disk, as far as that can be told. */
  readonly disk: string;
}

/**
 * @param copy its path; of a stream what it is called: an archive is a directory
 * @returns null if it cannot be told just now, or is on servers
 */
export async function placeOf(copy: string): Promise<Place | null> {
  const archive = archiveDirectory(copy);
  if (archive === null && isStream(copy)) return null;
  try {
    const { type, bsize, bavail, blocks } = await fs.statfs(archive ?? path.dirname(copy));
    const { dev } = await fs.stat(archive ?? copy);
    return {
      freeBytes: bavail * bsize,
      sizeBytes: blocks * bsize,
      ...kindOf(type),
      disk: await diskOf(dev),
    };
  } catch {
    return null;
  }
}

/** @param type what `statfs` says it is */
export function kindOf(type: number): Pick<Place, "remote" | "fleeting"> {
  if (process.platform !== "linux") return { remote: null, fleeting: null }; // elsewhere they mean other things
  const magic = type >>> 0; // some are told as negative numbers
  return { remote: REMOTE.get(magic) ?? null, fleeting: FLEETING.get(magic) ?? null };
}

// --- internal ---

/** Of linux/magic.h, and of the sources of those that are not in it. */
const REMOTE: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "SMB"],
  [0xfe534d42, "SMB"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x00c36400, "Ceph"],
  [0x73757245, "Coda"],
  [0x0bd00bd0, "Lustre"],
  [0x786f4256, "a VirtualBox folder"],
  [0xbacbacbc, "a VMware folder"],
  [0x65735546, "FUSE"],
]);

const FLEETING: ReadonlyMap<number, string> = new Map([
  [0x01021994, "in memory (tmpfs)"],
  [0x858458f6, "in memory (ramfs)"],
  [0x794c7630, "on an overlay, as a container's own layer is"],
]);

/** Partitions of one disk are one; what lies beneath LVM, RAID or a loop device is not looked for. */
async function diskOf(dev: number): Promise<string> {
  const number = `${majorOf(dev)}:${minorOf(dev)}`;
  try {
    const device = await fs.realpath(`/sys/dev/block/${number}`);
    const isPartition = await fs.stat(path.join(device, "partition")).then(isThere, isNot);
    return isPartition ? path.dirname(device) : device;
  } catch {
    return number; // no block device: as of a network's file system
  }
}

const isThere = (): boolean => true;
const isNot = (): boolean => false;

/** As Linux puts both into one number. */
function majorOf(dev: number): number {
  return Number(((BigInt(dev) >> 8n) & 0xfffn) | ((BigInt(dev) >> 32n) & 0xfffff000n));
}

function minorOf(dev: number): number {
  return Number((BigInt(dev) & 0xffn) | ((BigInt(dev) >> 12n) & 0xffffff00n));
}
