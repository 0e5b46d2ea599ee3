/** A primary and two replicas, each on a disk of its own that can be pulled out and put back. */
import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { DriverName } from "../../src/driver.ts";
import type { Durability, ReplicationOptions } from "../../src/options.ts";
import { type Any, dropIns, isOpen } from "../dropin/pair.ts";
import { scratch } from "../scratch.ts";
import { assertAtRest } from "../support/files.ts";

export type Disk = "main" | "one" | "two";

export class Trio {
  readonly driver: DriverName;
  readonly durability: Durability;
  readonly primary: string;
  readonly replicas: readonly [one: string, two: string];
  readonly #root: string;
  readonly #open = new Set<Any>();
  #rows = 0;

  constructor(t: TestContext, driver: DriverName, durability: Durability = "commit") {
    this.driver = driver;
    this.durability = durability;
    t.after(() => {
      for (const db of this.#open) if (isOpen(db)) db.close();
    }); // before scratch() removes the directory
    this.#root = fs.realpathSync(scratch(t));
    for (const disk of ["main", "one", "two"]) fs.mkdirSync(path.join(this.#root, disk));
    this.primary = path.join(this.#root, "main", "app.db");
    this.replicas = [
      path.join(this.#root, "one", "app.db"),
      path.join(this.#root, "two", "app.db"),
    ];
  }

  /** By default with both replicas, going on without one, and checkpoints far apart. */
  open(options: ReplicationOptions = {}): Any {
    const { replicas, durability } = this;
    const defaults = {
      replicas,
      durability,
      onReplicaFailure: "degrade",
      checkpointBytes: 1 << 30,
    };
    const db = new dropIns[this.driver](this.primary, { ...defaults, ...options });
    this.#open.add(db);
    db.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)");
    return db;
  }

  /** Commits so many rows, each of about a page, one by one, and has each acknowledged. */
  async put(db: Any, rows: number): Promise<void> {
    for (let i = 0; i < rows; i++) {
      db.exec(`INSERT INTO t VALUES (${this.#rows + 1}, zeroblob(3000))`);
      await db.replication.durable();
      this.#rows++;
    }
  }

  pullOut(disk: Disk): void {
    fs.renameSync(path.join(this.#root, disk), path.join(this.#root, `${disk}-out`));
  }

  putBack(disk: Disk): void {
    fs.renameSync(path.join(this.#root, `${disk}-out`), path.join(this.#root, disk));
  }

  putIn(disk: Disk): void {
    fs.mkdirSync(path.join(this.#root, disk));
  }

  takeOut(disk: Disk): void {
    fs.rmdirSync(path.join(this.#root, disk));
  }

  states(db: Any): string[] {
    return db.replication.status.replicas.map(({ state }: Any) => state);
  }

  /** Commits go on meanwhile. */
  async untilRejoined(db: Any, replica: string): Promise<void> {
    const { replicas } = this;
    let rejoined = false;
    db.replication.on("rejoined", (path: string) => {
      rejoined ||= path === replica;
    });
    while (!rejoined) {
      await this.put(db, 3);
      await delay(1); // a turn of the event loop, as a program has them
    }
    assert.equal(this.states(db)[replicas.indexOf(replica)], "mirroring");
  }

  /** Closes it; all three are then equal and hold every row that was acknowledged. */
  closeAndCompare(db: Any): void {
    db.close();
    assertAtRest(this.primary, this.replicas);
    this.holdsAll(this.primary);
  }

  /** Of a closed copy, its log included. */
  holdsAll(copy: string): void {
    const alone = path.join(fs.mkdtempSync(path.join(this.#root, "alone-")), "app.db");
    for (const suffix of ["", "-wal"]) {
      if (fs.existsSync(copy + suffix)) fs.copyFileSync(copy + suffix, alone + suffix);
    }
    const db = new DatabaseSync(alone);
    const count = db.prepare("SELECT count(*) AS n FROM t").get()?.["n"];
    db.close();
    assert.equal(count, this.#rows, `${copy} holds every acknowledged row`);
  }
}

/** What the event brings. */
export async function event(db: Any, name: string): Promise<Any[]> {
  return once(db.replication, name);
}
