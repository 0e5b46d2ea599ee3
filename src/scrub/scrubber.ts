/**
 * The scrubber: a process that reads the copies of a database in use, at its pace, over and over, and says
 * which pages are not as their checksums say. It takes no lock, keeps nobody waiting and changes nothing;
 * a process of its own, because closing a descriptor of a database file drops the locks of whoever closes
 * it (lineage/bulk.ts).
 *
 *   node scrubber.js '{"copies": [PATH, …], "bytesPerSecond": N}'
 *
 * Commits and checkpoints go on meanwhile, so a page that seems to have rotted is looked at once more. It
 * has, if between two looks at the record beside the copy, which both say the same and that no fold is
 * under way, the page is not as its entry says, and is not in the log. What cannot be settled so is left to
 * the next pass.
 *
 * It prints one JSON object a line, a `LivePage`, and ends with its input.
 */
import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { loadDriver } from "../driver.ts";
import { walPath } from "../lineage/describe.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import { checksumOf, SumsFile } from "../lineage/sums.ts";
import { readSidecar } from "../lineage/unlocked.ts";
import type { LivePage } from "../observe.ts";
import { lockPage } from "../wal/image.ts";
import { readFully, scanLog } from "../wal/scan.ts";
import { purposesOf } from "./pages.ts";

export interface ScrubberJob {
  readonly copies: readonly string[];
  readonly bytesPerSecond: number;
}

const CHUNK_BYTES = 256 << 10;
/** The least time between the beginnings of two passes, in milliseconds. */
const BETWEEN_PASSES_MS = 60_000;
/** Of a copy that is written all the time, how often a moment of rest is looked for. */
const TRIES = 100;
const BETWEEN_TRIES_MS = 20;

const driver = loadDriver("node:sqlite");
const { copies, bytesPerSecond } = JSON.parse(process.argv[2] as string) as ScrubberJob;
const told = new Set<string>();
process.stdin.resume().on("end", () => process.kill(process.pid, "SIGKILL")); // not exit: see stream/image-child.ts

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
      const length = readFully(fd, bytes, 0, bytes.length, (first - 1) * size);
      const count = Math.floor(length / size);
      for (const [i, entry] of sums.read(first, count).entries()) {
        const page = first + i;
        if (isAs(entry, page, bytes.subarray(i * size, (i + 1) * size))) continue;
        if (page === lockPage(size) || told.has(`${page} ${copy}`)) continue;
        if (await hasRotted(copy, fd, sums, page)) tell(copy, page);
      }
      await delay(Math.max(0, began + (length / bytesPerSecond) * 1000 - performance.now()));
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

/** Looks again, at a moment when nothing of it changes. */
async function hasRotted(copy: string, fd: number, sums: SumsFile, page: number): Promise<boolean> {
  const bytes = Buffer.alloc(sums.pageSize);
  for (let tries = 0; tries < TRIES; tries++) {
    const before = settled(copy);
    readFully(fd, bytes, 0, bytes.length, (page - 1) * bytes.length);
    const [entry = 0] = sums.read(page, 1);
    const isLogged = isInLog(copy, page);
    const after = settled(copy);
    if (before && after && JSON.stringify(before) === JSON.stringify(after)) {
      return !isLogged && !isAs(entry, page, bytes);
    }
    await delay(BETWEEN_TRIES_MS);
  }
  return false;
}

/** What the record says of the file, if it says something and no fold is under way. */
function settled(copy: string): Pick<SidecarState, "folded" | "generation"> | null {
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

function tell(copy: string, page: number): void {
  told.add(`${page} ${copy}`);
  const others = copies.filter((each) => each !== copy);
  const rotten: LivePage = { copy, page, owner: ownerOf(page, others[0] ?? copy) };
  process.stdout.write(`${JSON.stringify(rotten)}\n`);
}

function ownerOf(page: number, copy: string): string | null {
  try {
    return purposesOf(copy, new Set([page])).get(page) ?? null;
  } catch {
    return null;
  }
}
