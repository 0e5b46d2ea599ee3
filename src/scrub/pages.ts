/**
 * What a page is for: the table or index that it belongs to, or what else SQLite keeps in it.
 */
import fs from "node:fs";
import { ownersOf } from "../verify/owners.ts";
import { Snapshot } from "../verify/snapshot.ts";
import { lockPage } from "../wal/image.ts";
import { readFully } from "../wal/scan.ts";

export const FREE_LIST = "(free list)";
export const POINTER_MAP = "(pointer map)";

/**
 * Names the owners of pages of a copy that nobody uses, as far as they can be told: the page of a tree
 * that is damaged above it has none. Reads every page of the database.
 */
export function purposesOf(copy: string, pages: ReadonlySet<number>): Map<number, string> {
  const snapshot = new Snapshot(copy);
  try {
    snapshot.take();
    const owners = snapshot.query((db) => ownersOf(db, pages));
    const others = new Set([...pages].filter((page) => !owners.has(page)));
    if (others.size > 0) nameOthers(copy, others, owners);
    return owners;
  } finally {
    snapshot.close();
  }
}

// --- internal ---

const HEADER_SIZE = 100;

/** Pages of no tree. */
function nameOthers(copy: string, pages: ReadonlySet<number>, names: Map<number, string>): void {
  const fd = fs.openSync(copy, "r");
  try {
    const head = Buffer.alloc(HEADER_SIZE);
    readFully(fd, head, 0, HEADER_SIZE, 0);
    const pageSize = head.readUInt16BE(16) === 1 ? 65536 : head.readUInt16BE(16);
    for (const page of freePages(fd, pageSize, head.readUInt32BE(32))) {
      if (pages.has(page)) names.set(page, FREE_LIST);
    }
    if (head.readUInt32BE(52) === 0) return; // no auto_vacuum
    const perMap = Math.floor((pageSize - (head[20] as number)) / 5) + 1;
    const lock = lockPage(pageSize);
    for (const page of pages) {
      // The map of the pages behind the lock page stands one further, if it would be that page.
      const isMap = page >= 2 && (page - 2) % perMap === 0;
      const isMoved = page === lock + 1 && (lock - 2) % perMap === 0;
      if ((isMap && page !== lock) || isMoved) names.set(page, POINTER_MAP);
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** The free list: a chain of trunk pages, each with the numbers of free pages. */
function* freePages(fd: number, pageSize: number, first: number): Generator<number> {
  const trunk = Buffer.alloc(pageSize);
  const seen = new Set<number>();
  for (let page = first; page !== 0 && !seen.has(page); page = trunk.readUInt32BE(0)) {
    seen.add(page);
    if (readFully(fd, trunk, 0, pageSize, (page - 1) * pageSize) < pageSize) return;
    yield page;
    const leaves = Math.min(trunk.readUInt32BE(4), pageSize / 4 - 2);
    for (let i = 0; i < leaves; i++) yield trunk.readUInt32BE(8 + 4 * i);
  }
}
