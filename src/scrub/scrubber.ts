/**
 * The scrubber: a process that reads the copies of a database in use, at its pace, over and over, and says
 * which pages are not as their checksums say. It takes no lock, keeps nobody waiting and changes no copy;
 * a process of its own, because closing a descriptor of a database file drops the locks of whoever closes
 * it (lineage/bulk.ts).
 *
 *   node scrubber.js '{"copies": [PATH, …], "bytesPerSecond": N, "heals": true, "named": [[N, …], …]}'
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
import type { Finding, ScrubberJob } from "../gate/scrubber.ts";
import { walPath } from "../lineage/describe.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { RotLog } from "../lineage/rot.ts";
import type { SidecarState } from "../lineage/sidecar.ts";
import { checksumOf, SumsFile } from "../lineage/sums.ts";
import { readSidecar } from "../lineage/unlocked.ts";
import { lockPage } from "../wal/image.ts";
import { readFully, scanLog } from "../wal/scan.ts";
import { purposesOf } from "./pages.ts";

const CHUNK_BYTES = 256 << 10;
/** The least time between the beginnings of two passes, in milliseconds. */
const BETWEEN_PASSES_MS = 60_000;
/** Of a copy that is written all the time, how often a moment of rest is looked for. */
const TRIES = 100;
const BETWEEN_TRIES_MS = 20;

/** How large the file may become in which a copy's pages are kept aside, in bytes; then they are named only. */
const KEPT_BYTES = 64 << 20;
/** How often a page is kept aside that is read differently each time. */
const KEPT_TIMES = 3;
/** How often the healing of pages is tried, if it came to nothing because something had changed meanwhile. */
const PROPOSALS = 20;

const driver = loadDriver("node:sqlite");
const { copies, bytesPerSecond, heals, named } = JSON.parse(
  process.argv[2] as string,
) as ScrubberJob;
/** The pages of each copy that were named and not seen to be as they should since. */
const told = new Map(copies.map((copy, i) => [copy, new Set(named[i])]));
/** Those that were kept aside, by `nameOf`, and what they were then. */
const kept = new Map<string, Set<number>>();
/** Is it worth while to propose something in this pass? */
let proposes = heals;
const input = createInterface({ input: process.stdin });
input.on("close", () => process.kill(process.pid, "SIGKILL")); // not exit: see stream/image-child.ts

for (;;) {
  const began = performance.now();
  proposes = heals;
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
  if (!folded) return;
  const sums = folded.sums ? SumsFile.open(copy, "r") : null;
  if (!sums) return forget(copy, 0);
  if (folded.file.size !== String((folded.sums?.pages ?? 0) * sums.pageSize)) return sums.close();
  const fd = fs.openSync(copy, "r");
  try {
    const size = sums.pageSize;
    const perChunk = Math.max(1, CHUNK_BYTES / size);
    const bytes = Buffer.alloc(perChunk * size);
    for (let first = 1; first <= sums.length; first += perChunk) {
      const began = performance.now();
      const count = readPages(fd, bytes, first, perChunk, size);
      const suspects: number[] = [];
      for (const [i, entry] of sums.read(first, count).entries()) {
        const page = first + i;
        if (!isAs(entry, page, bytes.subarray(i * size, (i + 1) * size))) suspects.push(page);
        else if (told.get(copy)?.delete(page)) {
          say({ type: entry === 0 ? "gone" : "sound", copy, page });
        }
      }
      const rotten = await look(copy, fd, sums, suspects);
      name(copy, rotten);
      await heal(copy, fd, sums, rotten);
      await delay(
        Math.max(0, began + ((count * size) / bytesPerSecond) * 1000 - performance.now()),
      );
    }
    forget(copy, sums.length);
  } finally {
    fs.closeSync(fd);
    sums.close();
  }
}

/** What its file holds, once no fold is under way; null if there is no such moment. */
async function atRest(copy: string): Promise<Settled["folded"] | null> {
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
}

/** Looks again, at a moment when nothing of them changes: those pages that have rotted. */
async function look(
  copy: string,
  fd: number,
  sums: SumsFile,
  pages: readonly number[],
): Promise<readonly Rotten[]> {
  for (let tries = 0; pages.length > 0 && tries < TRIES; tries++) {
    const before = settled(copy);
    if (before?.folded.sums) {
      const { position: folded } = before.folded;
      const found = pages.map((page) => {
        const bytes = Buffer.alloc(sums.pageSize);
        readPages(fd, bytes, page, 1, bytes.length);
        const [entry = 0] = sums.read(page, 1);
        return { page, bytes, entry, folded };
      });
      const logged = loggedIn(copy);
      if (JSON.stringify(before) === JSON.stringify(settled(copy))) {
        return found.filter(
          ({ page, bytes, entry }) =>
            page !== lockPage(bytes.length) && !logged.has(page) && !isAs(entry, page, bytes),
        );
      }
    }
    await delay(BETWEEN_TRIES_MS);
  }
  return [];
}

interface Remedies {
  readonly remedies: readonly Remedy[];
  /** Did a copy's file not hold the same, or not all the time: may another moment give more? */
  readonly isMoving: boolean;
}

/** Those pages that another copy has whose file holds the same; none of which an entry says otherwise. */
function remediesOf(copy: string, folded: Position, rotten: readonly Rotten[]): Remedies {
  const remedies = new Map<number, Remedy>();
  const contested = new Set<number>();
  let isMoving = false;
  const others = copies.filter((each) => each !== copy);
  for (const from of others) {
    const state = settled(from);
    if (!state || !samePosition(state.folded.position, folded)) {
      isMoving = true;
      continue;
    }
    const sums = state.folded.sums ? SumsFile.open(from, "r") : null;
    if (!sums) continue;
    const fd = fs.openSync(from, "r");
    const logged = loggedIn(from);
    const bytes = Buffer.alloc(sums.pageSize);
    try {
      for (const { page, entry } of rotten) {
        const [other = 0] = sums.read(page, 1);
        if (other !== 0 && other !== entry) contested.add(page);
        readPages(fd, bytes, page, 1, bytes.length);
        if (remedies.has(page) || logged.has(page) || checksumOf(page, bytes) !== entry) continue;
        remedies.set(page, { page, entry, from, bytes: bytes.toString("base64") });
      }
    } finally {
      fs.closeSync(fd);
      sums.close();
    }
    if (JSON.stringify(state) !== JSON.stringify(settled(from))) isMoving = true;
  }
  const uncontested = [...remedies.values()].filter(({ page }) => !contested.has(page));
  return { remedies: uncontested, isMoving };
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

/**
 * Proposes what pages of a copy should be that have rotted, as long as that leads anywhere. Checkpoints go on
 * meanwhile, and a proposal holds until the next one only: then it is made anew. What has been kept aside
 * by then is not written again, so that it comes sooner.
 */
async function heal(
  copy: string,
  fd: number,
  sums: SumsFile,
  found: readonly Rotten[],
): Promise<void> {
  let rotten = found;
  for (let tries = 0; proposes && tries < PROPOSALS; tries++) {
    const [first] = rotten;
    if (!first) return;
    const { folded } = first;
    const { remedies, isMoving } = remediesOf(copy, folded, rotten);
    let left = rotten.map(({ page }) => page);
    if (remedies.length > 0) {
      const proposed = new Set(remedies.map(({ page }) => page));
      const replaced = rotten.filter(({ page }) => proposed.has(page));
      if (!keepAside(copy, replaced)) return;
      say({ type: "heal", copy, folded, pages: remedies });
      const [answer] = await once(input, "line");
      const healed = JSON.parse(answer) as number[] | null;
      proposes = healed !== null;
      for (const page of healed ?? []) told.get(copy)?.delete(page);
      left = left.filter((page) => !healed?.includes(page));
    } else if (!isMoving || !(await meets(copy))) return;
    rotten = proposes ? await look(copy, fd, sums, left) : [];
  }
}

/** Waits for a moment at which another copy's file holds what this one's does; false if there is none. */
async function meets(copy: string): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) {
    await delay(BETWEEN_TRIES_MS);
    const here = settled(copy);
    const isHere = (each: string): boolean => {
      const there = each === copy ? null : settled(each);
      return Boolean(here && there && samePosition(here.folded.position, there.folded.position));
    };
    if (copies.some(isHere)) return true;
  }
  return false;
}

/** @returns false if the disk does not take them, or so much was kept that it should not */
function keepAside(copy: string, rotten: readonly Rotten[]): boolean {
  const log = new RotLog(copy, KEPT_BYTES);
  try {
    for (const { page, bytes, entry } of rotten) {
      const is = checksumOf(page, bytes);
      const before = kept.get(nameOf(copy, page)) ?? new Set();
      if (before.has(is) || before.size >= KEPT_TIMES) continue;
      log.add(page, bytes, is, entry); // durable: a rotten page is kept aside before it is healed
    }
    log.finish(); // durable: and synced, before it is healed
  } catch {
    return false; // it is named, and stays as it is
  } finally {
    log.close();
  }
  for (const { page, bytes } of rotten) {
    const before = kept.get(nameOf(copy, page)) ?? new Set();
    if (before.size < KEPT_TIMES) kept.set(nameOf(copy, page), before.add(checksumOf(page, bytes)));
  }
  return true;
}

interface Settled extends Pick<SidecarState, "generation"> {
  readonly folded: NonNullable<SidecarState["folded"]>;
}

/** What the record says of the file, if it says something and no fold is under way. */
function settled(copy: string): Settled | null {
  try {
    const state = readSidecar(driver, copy)?.state;
    if (!state?.folded || state.folding) return null;
    return { folded: state.folded, generation: state.generation };
  } catch {
    return null; // read while it was written
  }
}

/** The pages that its log holds. */
function loggedIn(copy: string): ReadonlySet<number> {
  const logged = new Set<number>();
  scanLog(walPath(copy), (_, pages) => {
    for (const page of pages.keys()) logged.add(page);
  });
  return logged;
}

/** Names those that were not named yet. */
function name(copy: string, rotten: readonly Rotten[]): void {
  const named = told.get(copy);
  const anew = rotten.map(({ page }) => page).filter((page) => !named?.has(page));
  if (anew.length === 0) return;
  const owners = ownersOf(anew, copies.find((each) => each !== copy) ?? copy);
  for (const page of anew) {
    named?.add(page);
    say({ type: "rot", copy, page, owner: owners.get(page) ?? null });
  }
}

/** A copy has no page beyond `pages` of which it is known what it should be. */
function forget(copy: string, pages: number): void {
  for (const page of told.get(copy) ?? []) {
    if (page <= pages) continue;
    told.get(copy)?.delete(page);
    say({ type: "gone", copy, page });
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
