/** A primary and a replica written through a drop-in, and what each of them holds meanwhile. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import * as nodeSqlite from "node:sqlite";
import type { TestContext } from "node:test";
import BetterDatabase from "../../src/better-sqlite3.ts";
import type { DriverName } from "../../src/driver.ts";
import { DatabaseSync } from "../../src/index.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";

// biome-ignore lint/suspicious/noExplicitAny: the tests call both drivers' databases the same way
export type Any = any;

export const originals: Record<DriverName, Any> = {
  "node:sqlite": nodeSqlite.DatabaseSync,
  "better-sqlite3": createRequire(import.meta.url)("better-sqlite3"),
};
export const dropIns: Record<DriverName, Any> = {
  "node:sqlite": DatabaseSync,
  "better-sqlite3": BetterDatabase,
};
export const drivers = Object.keys(originals) as DriverName[];

export class Pair {
  readonly driver: DriverName;
  readonly primary: string;
  readonly replica: string;
  readonly #open = new Set<Any>();

  /** At the end of the test or suite what is open is closed, and the copies are compared. */
  constructor(t: { after: unknown }, driver: DriverName) {
    this.driver = driver;
    (t as TestContext).after(() => {
      for (const db of this.#open) if (isOpen(db)) db.close();
      if (fs.existsSync(this.primary)) assertAtRest(this.primary, [this.replica]);
    }); // before scratch() removes the directory
    const directory = fs.realpathSync(scratch(t as TestContext));
    for (const name of ["main", "copy"]) fs.mkdirSync(path.join(directory, name));
    this.primary = path.join(directory, "main", "app.db");
    this.replica = path.join(directory, "copy", "app.db");
  }

  open(options: object = {}): Any {
    const Database = dropIns[this.driver];
    const db = new Database(this.primary, { replicas: [this.replica], ...options });
    this.#open.add(db);
    return db;
  }

  /** The last commit in a copy's log, as one string; "" if there is none. */
  committed(copy: "primary" | "replica"): string {
    const scan = scanLog(`${this[copy]}-wal`);
    const last = scan?.commits.at(-1);
    return scan && last
      ? [scan.header.salt1, scan.header.salt2, ...Object.values(last)].join()
      : "";
  }

  assertInStep(): void {
    assert.equal(this.committed("replica"), this.committed("primary"), "the copies are in step");
  }
}

export function isOpen(db: Any): boolean {
  return db.isOpen ?? db.open;
}
