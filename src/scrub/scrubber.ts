/**
 * The scrubber: a process that reads the copies of a database in use, at its pace, over and over, and says
 * which pages are not as their checksums say. It takes no lock, keeps nobody waiting and changes no copy;
 * a process of its own, because closing a descriptor of a database file drops the locks of whoever closes
 * it (lineage/bulk.ts).
 *
 *   node scrubber.js '{"copies": [PATH, …], "bytesPerSecond": N, "heals": true}'
 *
 * Commits and checkpoints go on meanwhile, so a page that seems to have rotted is looked at once more. It
 * has, if between two looks at the record beside the copy, which both say the same and that no fold is
 * under way, the page is not as its entry says, and is not in the log. What cannot be settled so is left to
 * the next pass.
 *
 * If another copy in that position has the page as that entry says, and no entry of any says otherwise, what has rotted is
 * kept aside, and the page proposed to the process that writes the copies: gate/heal.ts.
 *
 * It prints one JSON object a line, a `Finding` (gate/scrubber.ts), and ends with its input.
 */

import { once } from "node:events";
import fs from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { loadDriver } from "../driver.ts";
import type { Remedy } from "../gate/heal.ts";
import type { Finding } from "../gate/scrubber.ts";
import { walPath } from "../lineage/describe.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { RotLog } from "../lineage/rot.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import { checksumOf, SumsFile } from "../lineage/sums.ts";
import { readSidecar } from "../lineage/unlocked.ts";
import { lockPage } from "../wal/image.ts";
import { readFully, scanLog } from "../wal/scan.ts";
import { purposesOf } from "./pages.ts";

export interface ScrubberJob {
  readonly copies: readonly string[];
  readonly bytesPerSecond: number;
  /** Is what has rotted healed, if it can be? Else it is named only. */
  readonly heals: boolean;
}

const CHUNK_BYTES = 256 << 10;
/** The least time between the beginnings of two passes, in milliseconds. */
const BETWEEN_PASSES_MS = 60_000;
/** Of a copy that is written all the time, how often a moment of rest is looked for. */
const TRIES = 100;
const BETWEEN_TRIES_MS = 20;

/** How often pages are looked at anew whose healing came to nothing, because something had changed meanwhile. */
const PROPOSALS = 5;

const driver = loadDriver("node:sqlite");
const { copies, bytesPerSecond, heals } = JSON.parse(process.argv[2] as string) as ScrubberJob;
/** The pages that were named and not seen to be as they should since, by `nameOf`. */
const told = new Set<string>();
/** Those that were kept aside, and what they were then. */
const kept = new Map<string, number>();
const input = createInterface({ input: process.stdin });
input.on("close", () => process.kill(process.pid, "SIGKILL")); // not exit: see stream/image-child.ts

for (;;) {
  const began = performance.now();
  for (const copy of copies) {
    try {
      await pass(copy);
    } catch {
      // Gone, or being replaced: whoever needs it says so.
    }
  }
  await delay(Math.max(0, began + BETWEEN_PASSES_MS - performance.now()));
}

/** Reads all pages of a copy once. */
async function pass(copy: string): Promise<void> {
  const folded = await atRest(copy);
  const sums = folded?.sums ? SumsFile.open(copy, "r") : null;
  if (!sums) return;
  if (folded?.file.size !== String((folded?.sums?.pages ?? 0) * sums.pageSize)) return sums.close();
  const fd = fs.openSync(copy, "r");
  try {
    const size = sums.pageSize;
    const perChunk = Math.max(1, CHUNK_BYTES / size);
    const bytes = Buffer.alloc(perChunk * size);
    for (let first = 1; first <= sums.length; first += perChunk) {
      const began = performance.now();
      const count = readPages(fd, bytes, first, perChunk, size);
      const rotten: number[] = [];
      for (const [i, entry] of sums.read(first, count).entries()) {
        const page = first + i;
        if (isAs(entry, page, bytes.subarray(i * size, (i + 1) * size))) {
          if (told.delete(nameOf(copy, page))) say({ type: "sound", copy, page });
        } else if (page !== lockPage(size) && (await look(copy, fd, sums, page))) rotten.push(page);
      }
      name(copy, rotten);
      if (heals) await heal(copy, fd, sums, rotten);
      await delay(
        Math.max(0, began + ((count * size) / bytesPerSecond) * 1000 - performance.now()),
      );
    }
  } finally {
    fs.closeSync(fd);
    sums.close();
  }
}

/** What its file holds, once no fold is under way; null if there is no such moment. */
async function atRest(copy: string): Promise<SidecarState["folded"]> {
  for (let tries = 0; tries < TRIES; tries++) {
    const state = settled(copy);
    if (state) return state.folded;
    await delay(BETWEEN_TRIES_MS);
  }
  return null;
}

function isAs(entry: number, page: number, bytes: Uint8Array): boolean {
  return entry === 0 || entry === checksumOf(page, bytes);
}

/** A page that has rotted, as it was at a moment when nothing of it changed. */
interface Rotten {
  readonly page: number;
  readonly bytes: Buffer;
  readonly entry: number;
  readonly folded: Position;
  /** What it should be; null if no copy has it, or their entries differ. */
  readonly remedy: Remedy | null;
}

/** Looks again, at a moment when nothing of it changes; null if it has not rotted. */
async function look(
  copy: string,
  fd: number,
  sums: SumsFile,
  page: number,
): Promise<Rotten | null> {
  const bytes = Buffer.alloc(sums.pageSize);
  for (let tries = 0; tries < TRIES; tries++) {
    const before = settled(copy);
    if (before) {
      readPages(fd, bytes, page, 1, bytes.length);
      const [entry = 0] = sums.read(page, 1);
      const isLogged = isInLog(copy, page);
      const { position: folded } = before.folded;
      const remedy = remedyOf(copy, folded, page, entry);
      if (JSON.stringify(before) === JSON.stringify(settled(copy))) {
        if (isLogged || isAs(entry, page, bytes)) return null;
        return { page, bytes, entry, folded, remedy };
      }
    }
    await delay(BETWEEN_TRIES_MS);
  }
  return null;
}

/** The page, from another copy whose file holds the same; null if none has it, or an entry says otherwise. */
function remedyOf(copy: string, folded: Position, page: number, entry: number): Remedy | null {
  let remedy: Remedy | null = null;
  for (const from of copies) {
    const state = from === copy ? null : settled(from);
    if (!state || !samePosition(state.folded.position, folded)) continue;
    const sums = SumsFile.open(from, "r");
    if (!sums) continue;
    const [other = 0] = sums.read(page, 1);
    sums.close();
    if (other !== 0 && other !== entry) return null;
    const bytes = pageOf(from, page, sums.pageSize);
    if (checksumOf(page, bytes) !== entry || isInLog(from, page)) continue;
    remedy ??= { page, entry, from, bytes: bytes.toString("base64") };
  }
  return remedy;
}

/** A page of another copy's file. */
function pageOf(copy: string, page: number, size: number): Buffer {
  const fd = fs.openSync(copy, "r");
  try {
    const bytes = Buffer.alloc(size);
    readPages(fd, bytes, page, 1, size);
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}

/** Reads pages; those that the disk cannot read are zeroes. @returns how many the file has of them */
function readPages(fd: number, into: Buffer, first: number, count: number, size: number): number {
  try {
    return Math.floor(readFully(fd, into, 0, count * size, (first - 1) * size) / size);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EIO") throw error;
  }
  if (count === 1) {
    into.fill(0, 0, size);
    return 1;
  }
  for (let i = 0; i < count; i++) {
    if (readPages(fd, into.subarray(i * size), first + i, 1, size) === 0) return i;
  }
  return count;
}

/** Proposes what these pages of a copy should be, as long as that leads anywhere. */
async function heal(
  copy: string,
  fd: number,
  sums: SumsFile,
  pages: readonly number[],
): Promise<void> {
  let left = pages;
  for (let tries = 0; left.length > 0 && tries < PROPOSALS; tries++) {
    const looks = [];
    for (const page of left) looks.push(await look(copy, fd, sums, page));
    const found = looks.filter((each) => each?.remedy) as (Rotten & { remedy: Remedy })[];
    const [folded] = found.map((each) => each.folded);
    if (!folded) return;
    const together = found.filter((each) => samePosition(each.folded, folded));
    if (!keepAside(copy, together)) return;
    const remedies = together.map(({ remedy }) => remedy);
    say({ type: "heal", copy, folded, pages: remedies });
    const [answer] = await once(input, "line");
    const healed = new Set(JSON.parse(answer) as number[]);
    for (const page of healed) told.delete(nameOf(copy, page));
    left = left.filter((page) => !healed.has(page));
  }
}

/** @returns false if the disk does not take them */
function keepAside(copy: string, rotten: readonly Rotten[]): boolean {
  const log = new RotLog(copy);
  try {
    for (const { page, bytes, entry } of rotten) {
      const is = checksumOf(page, bytes);
      if (kept.get(nameOf(copy, page)) === is) continue;
      log.add(page, bytes, is, entry); // durable: a rotten page is kept aside before it is healed
    }
    log.finish(); // durable: and synced, before it is healed
    for (const { page, bytes } of rotten) kept.set(nameOf(copy, page), checksumOf(page, bytes));
    return true;
  } catch {
    return false; // it is named, and stays as it is
  } finally {
    log.close();
  }
}

interface Settled extends Pick<SidecarState, "generation"> {
  readonly folded: NonNullable<SidecarState["folded"]>;
}

/** What the record says of the file, if it says something and no fold is under way. */
function settled(copy: string): Settled | null {
  try {
    const state = readSidecar(driver, copy)?.state;
    if (!state?.folded?.sums || state.folding) return null;
    return { folded: state.folded, generation: state.generation };
  } catch {
    return null; // read while it was written
  }
}

function isInLog(copy: string, page: number): boolean {
  let found = false;
  scanLog(walPath(copy), (_, pages) => {
    found ||= pages.has(page);
  });
  return found;
}

/** Names those that were not named yet. */
function name(copy: string, pages: readonly number[]): void {
  const anew = pages.filter((page) => !told.has(nameOf(copy, page)));
  if (anew.length === 0) return;
  const owners = ownersOf(anew, copies.find((each) => each !== copy) ?? copy);
  for (const page of anew) {
    told.add(nameOf(copy, page));
    say({ type: "rot", copy, page, owner: owners.get(page) ?? null });
  }
}

function nameOf(copy: string, page: number): string {
  return `${page} ${copy}`;
}

function say(finding: Finding): void {
  process.stdout.write(`${JSON.stringify(finding)}\n`);
}

function ownersOf(pages: readonly number[], copy: string): ReadonlyMap<number, string> {
  try {
    return purposesOf(copy, new Set(pages));
  } catch {
    return new Map();
  }
}
