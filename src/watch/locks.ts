/**
 * Who has locked what of a database, as Linux tells: `/proc/locks` has a line for each POSIX lock.
 *
 *     1: POSIX  ADVISORY  READ 1234 08:01:2245959 123 123        pid, device:inode, first and last byte
 *
 * Of a database's `-shm` byte 120 is SQLite's write lock, and 123 to 127 are its five read marks; byte 128 is
 * held by everybody who has it open, so by this process as well. That tells the file from others: the device is
 * not everywhere the one that `stat` says. Nothing is opened for this: closing it would drop locks.
 */
import fs from "node:fs/promises";
import path from "node:path";

export interface Holders {
  /** Pids of those in a writing transaction; the others' numbers mean nothing if they are below 1. */
  readonly writers: readonly number[];
  /** By read mark, 0 to 4: the pids of those that hold it. */
  readonly readers: readonly (readonly number[])[];
}

/** The inode of a database's `-shm`, a look at its disk; null if it cannot be told just now. */
export async function inodeOf(database: string): Promise<string | null> {
  try {
    return String((await fs.stat(`${database}-shm`)).ino);
  } catch {
    return null;
  }
}

/** @returns null where it cannot be told */
export async function holdersOf(inode: string): Promise<Holders | null> {
  try {
    return holdersIn(await fs.readFile("/proc/locks", "latin1"), inode, process.pid);
  } catch {
    return null;
  }
}

/** The same of the text of `/proc/locks`. @param own this process's pid */
export function holdersIn(text: string, inode: string, own: number): Holders | null {
  const locks = [...text.matchAll(LINE)]
    .map(([, type, pid, device, ino, first, last]) => ({
      ...{ isRead: type === "READ", pid: Number(pid), device, inode: ino },
      ...{ first: Number(first), last: last === "EOF" ? Number.POSITIVE_INFINITY : Number(last) },
    }))
    .filter((lock) => lock.inode === inode);
  const at = (byte: number) => locks.filter(({ first, last }) => first <= byte && byte <= last);
  const ours = at(OPEN).filter(({ pid }) => pid === own);
  const [device, ...others] = new Set(ours.map((lock) => lock.device));
  if (device === undefined || others.length > 0) return null; // not known which of them it is
  const holders = (byte: number, isRead: boolean): number[] => [
    ...new Set(
      at(byte)
        .filter((lock) => lock.device === device && lock.isRead === isRead)
        .map(({ pid }) => pid),
    ),
  ];
  return {
    writers: holders(WRITE, false),
    readers: MARKS.map((mark) => holders(FIRST_MARK + mark, true)),
  };
}

/** `process 1234 (python3 app.py)`, as far as can be told; null: it is gone, or a child of ours at work. */
export async function nameOf(pid: number): Promise<string | null> {
  if (pid < 1) return "a process that cannot be seen from here";
  try {
    const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8"); // 1234 (comm) S parent …
    const [, comm, parent] = /\((.*)\) \S (\d+)/s.exec(stat) ?? [];
    const command = (await fs.readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
    const isOurs = Number(parent) === process.pid && command.some((each) => each.startsWith(HERE));
    if (isOurs) return null;
    // What follows may be a secret: no more than which program it runs.
    const [program = "", script = ""] = command.map((each) => path.basename(each));
    const name =
      program === "" || script.startsWith("-") ? program || comm : `${program} ${script}`;
    return `process ${pid} (${name?.trim()})`;
  } catch {
    return null;
  }
}

// --- internal ---

const LINE =
  /^\d+: POSIX\s+ADVISORY\s+(READ|WRITE)\s+(-?\d+)\s+([0-9a-f]+:[0-9a-f]+):(\d+)\s+(\d+)\s+(\d+|EOF)$/gm;

/** Where Lockstep's own modules lie. */
const HERE = path.dirname(import.meta.dirname);

const WRITE = 120;
const FIRST_MARK = 123;
const MARKS = [0, 1, 2, 3, 4] as const;
const OPEN = 128;
