/** Copies that rot while, or before, they are in use, and what is there to heal them with. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { loadDriver, type Row } from "../../src/driver.ts";
import type { Proposal } from "../../src/gate/heal.ts";
import { SumsFile } from "../../src/lineage/sums.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { scrub } from "../../src/scrub.ts";
import { rot } from "../support/rot.ts";
import type { Db, Scene } from "../support/scene.ts";

export const PAGE = 4096;
/** Fast enough to be there at once. */
export const scrubBytesPerSecond = 100e6;

/** A byte of a row's data, if the page is of a table of such rows. */
export const IN_A_ROW = 4000;

/** Rows of most of a page each, closed; what is in them. */
export function filled(scene: Scene, rows = 30): string[] {
  let content: string[] = [];
  scene.life((db) => {
    db.put(rows, 3000);
    content = contentOf(db);
  });
  return content;
}

export const CONTENT = "SELECT hex(data) AS data FROM t ORDER BY n";

/** Each row's data, as a digest. */
export function contentOf(db: Pick<Db, "all">): string[] {
  return digestsOf(db.all(CONTENT));
}

export function digestsOf(rows: readonly Row[]): string[] {
  return rows.map(({ data }) => createHash("md5").update(String(data)).digest("hex"));
}

/** The same, of a copy in use, as another program sees it. */
export function contentElsewhere(copy: string): string[] {
  const script = `
    const db = new (require("node:sqlite").DatabaseSync)(process.argv[1], { readOnly: true });
    process.stdout.write(JSON.stringify(db.prepare(process.argv[2]).all()));`;
  const { stdout, status, stderr } = spawnSync(
    process.execPath,
    ["--no-warnings", "-e", script, copy, CONTENT],
    { encoding: "utf8", maxBuffer: 1 << 28 },
  );
  assert.equal(status, 0, stderr);
  return digestsOf(JSON.parse(stdout));
}

export function rotten(copy: string, ...pages: readonly number[]): void {
  for (const page of pages) rot(copy, page, PAGE, IN_A_ROW);
}

/** Rot in a copy that this process has open: another process does it. Twice, and all is as it was. */
export function rottenInUse(copy: string, pages: readonly number[], at = IN_A_ROW): void {
  const rot = JSON.stringify(join(import.meta.dirname, "../support/rot.ts"));
  const script = `
    const { rot } = await import(${rot});
    for (const page of ${JSON.stringify(pages)}) rot(${JSON.stringify(copy)}, page, ${PAGE}, ${at});`;
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--no-warnings", "--input-type=module", "-e", script],
    { encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
}

/** Resolves when so many pages are healed; each with its number, copy, and the copy it was healed from. */
export function healed(db: Db, count: number): Promise<(readonly unknown[])[]> {
  const pages: (readonly unknown[])[] = [];
  return new Promise((resolve) => {
    db.hub.replication.on("healed", ({ page, copy, healedFrom }) => {
      pages.push([page, copy, healedFrom]);
      if (pages.length === count) resolve(pages);
    });
  });
}

/** What was kept aside of a copy: the pages' numbers and bytes. The file is removed. */
export function takeAside(copy: string): { page: number; bytes: Buffer }[] {
  const file = `${copy}-lockstep-rot`;
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, "utf8").split("\n").slice(0, -1);
  fs.rmSync(file);
  return lines.map((line) => {
    const { page, bytes } = JSON.parse(line);
    return { page, bytes: Buffer.from(bytes, "base64") };
  });
}

/** Pages of a copy's file. Nobody here has it open. */
export function pagesOf(copy: string, ...pages: readonly number[]): Buffer[] {
  const bytes = fs.readFileSync(copy);
  return pages.map((page) => bytes.subarray((page - 1) * PAGE, page * PAGE));
}

/** What the process that looks for rot would propose for pages of a copy. Nobody here has the copies open. */
export function proposalFor(copy: string, from: string, ...pages: readonly number[]): Proposal {
  const record = readSidecar(loadDriver("node:sqlite"), from)?.state.folded;
  const sums = SumsFile.open(from, "r");
  assert.ok(record && sums);
  const remedies = pagesOf(from, ...pages).map((bytes, i) => {
    const page = pages[i] as number;
    const [entry] = sums.read(page, 1) as [number];
    return { page, entry, from, bytes: bytes.toString("base64") };
  });
  sums.close();
  return { copy, folded: record.position, pages: remedies };
}

/** Closes: nothing but what was kept aside was left beside the copies, which are equal, and sound. */
export async function endsSound(db: Db): Promise<void> {
  const { scene } = db;
  for (const copy of scene.copies) takeAside(copy);
  db.close();
  const { sound, rotten: found } = await scrub(scene.primary, scene.replicas);
  assert.deepEqual([sound, found], [true, []]);
}
