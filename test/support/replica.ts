/** Replicas opened for reading, with either driver, for tests. */

import fs from "node:fs";
import type { TestContext } from "node:test";
import { openReplica as openBetter } from "../../src/better-sqlite3.ts";
import type { DriverName } from "../../src/driver.ts";
import { type OpenReplica, openReplica as openNode } from "../../src/index.ts";
import { formatPosition } from "../../src/lineage/position.ts";
import { SharedIndex } from "../../src/wal/shared-index.ts";

/** What both drivers' replicas have; node:sqlite's stands for both. */
export type Reader = Pick<OpenReplica, "position" | "reach" | "exec" | "prepare" | "close">;

/** Closed at the end of the test, if it is not before. */
export function openFor(t: TestContext, driver: DriverName, file: string): Reader {
  const open = driver === "node:sqlite" ? openNode : openBetter;
  const reader = open(file) as unknown as Reader;
  t.after(() => {
    try {
      reader.close();
    } catch {} // it is closed
  });
  return reader;
}

/** How many rows it sees. */
export function count(reader: Reader): number {
  const row = reader.prepare("SELECT count(*) AS n FROM t").get() as { n: number };
  return row.n;
}

/**
 * Where a copy's log stands by its index, on timeline 1. The descriptor is left open: closing it would
 * drop SQLite's locks.
 */
export function indexPosition(copy: string): string {
  const index = new SharedIndex(fs.openSync(`${copy}-shm`, "r"));
  if (!index.read()) throw new Error("the index is not valid");
  const { salt1, salt2, frames: frame, sum1, sum2 } = index;
  return formatPosition({ timeline: 1, salt1, salt2, frame, sum1, sum2 });
}
