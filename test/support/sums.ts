/**
 * An oracle for the sums beside a copy: reads them as bytes, and makes every checksum anew from the file,
 * by another way than the one that is tested.
 */
import fs from "node:fs";
import { loadDriver } from "../../src/driver.ts";
import type { SidecarState } from "../../src/lineage/sidecar.ts";
import { Total } from "../../src/lineage/sums.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** CRC-32, a byte at a time. */
export function crc(bytes: Uint8Array, seed: number): number {
  let c = ~seed;
  for (const byte of bytes) c = (c >>> 8) ^ (TABLE[(c ^ byte) & 0xff] as number);
  return ~c >>> 0 || 1;
}

/** What the record beside a copy says of what its file holds. */
export function foldedOf(copy: string): SidecarState["folded"] {
  return readSidecar(loadDriver("node:sqlite"), copy)?.state.folded ?? null;
}

/** Are there sums that the record beside a closed copy vouches for? */
export function hasSums(copy: string): boolean {
  return Boolean(foldedOf(copy)?.sums) && fs.existsSync(`${copy}-lockstep-sums`);
}

/** What the checksum of each page is, the first one's first. */
export function crcsOf(file: Uint8Array, pageSize: number): Uint32Array {
  return Uint32Array.from({ length: file.length / pageSize }, (_, i) =>
    crc(file.subarray(i * pageSize, (i + 1) * pageSize), i + 1),
  );
}

/**
 * What is wrong with the sums beside a closed copy without a log, if the record vouches for any.
 * @param crcs makes checksums
 */
export function wrongSums(copy: string, crcs = crcsOf): string[] {
  const sums = foldedOf(copy)?.sums;
  if (!sums) return [];
  const bytes = fs.readFileSync(`${copy}-lockstep-sums`);
  const file = fs.readFileSync(copy);
  const pageSize = bytes.readUInt32BE(12);
  const wrong: string[] = [];
  const total = new Total();
  const all = crcs(file, pageSize);
  for (let page = 1; page <= file.length / pageSize; page++) {
    const at = 16 + (page - 1) * 4;
    const entry = at + 4 <= bytes.length ? bytes.readUInt32BE(at) : 0;
    total.add(page, entry);
    const is = all[page - 1];
    if (entry !== 0 && entry !== is) wrong.push(`page ${page}: ${entry}, not ${is}`);
  }
  const { pages } = sums;
  if (pages !== file.length / pageSize) wrong.push(`${pages} pages, not ${file.length / pageSize}`);
  if (bytes.length > 16 + 4 * pages) wrong.push("entries of pages that are gone");
  if (sums.total !== null && sums.total !== String(total)) wrong.push("the total");
  return wrong;
}
