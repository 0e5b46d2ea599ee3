/** How copies may stand to each other when a start finds them, and how they come to it. */
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { ReplicationOptions } from "../../src/options.ts";
import { logEnd } from "../support/files.ts";
import { elsewhere } from "../support/program.ts";
import { failed, ok, type Pair } from "./pair.ts";

export interface Scenario {
  readonly prepare?: (pair: Pair) => Promise<void>;
  readonly options?: ReplicationOptions;
}

/** A database with a log, as a program leaves it that was killed. */
export function leftByAnother(file: string): void {
  const table = "CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)";
  elsewhere(file, ["PRAGMA journal_mode=WAL", table, "INSERT INTO t VALUES (1001, 'x')"], {
    killed: true,
  });
}

export const scenarios = {
  "nothing on either side": {},

  "a database that was never replicated": {
    async prepare(pair) {
      const db = new DatabaseSync(pair.primary);
      db.exec("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)");
      db.exec("INSERT INTO t VALUES (1001, zeroblob(200000))");
      db.close();
      pair.acknowledged.add(1001);
    },
  },

  "a replica that lacks frames": {
    async prepare(pair) {
      await pair.begin();
      pair.faults.set({ on: "write", path: "replica/app.db-wal", does: { error: "EIO" } });
      failed(await pair.insert(), "REPLICA_IO");
      ok(await pair.close());
    },
  },

  "a replica that lacks a generation and has not folded its own": {
    async prepare(pair) {
      await pair.begin();
      await pair.restart();
      const other = { replicas: [`${pair.replica}-other`] };
      ok(await pair.open(other)); // folds the primary, whose next commit begins a generation
      ok(await pair.insert());
      await pair.restart();
      for (const name of fs.globSync(`${pair.replica}-other*`)) fs.rmSync(name);
      void pair.subject;
    },
  },

  "a replica that lacks generations": {
    async prepare(pair) {
      await pair.begin();
      ok(await pair.close());
      const other = { replicas: [`${pair.replica}-other`] };
      for (let i = 0; i < 2; i++) {
        ok(await pair.open(other));
        for (let n = 0; n < 8; n++) ok(await pair.insert(5000));
        ok(await pair.close());
      }
      for (const suffix of ["", "-lockstep"]) fs.rmSync(`${pair.replica}-other${suffix}`);
    },
  },

  "a primary that lost its log's end": {
    async prepare(pair) {
      await pair.begin();
      const before = logEnd(pair.primary);
      pair.faults.set({ on: "sync", path: "main/app.db-wal", times: 1, does: { error: "EIO" } });
      failed(await pair.insert(), "PRIMARY_IO");
      ok(await pair.close());
      fs.truncateSync(`${pair.primary}-wal`, before);
    },
  },

  "a primary that lost its log": {
    async prepare(pair) {
      await pair.begin();
      pair.subject.kill();
      await pair.restart();
      fs.rmSync(`${pair.primary}-wal`);
      void pair.subject;
    },
  },

  "a primary that is missing": {
    options: { restoreMissing: true },
    async prepare(pair) {
      await pair.begin();
      ok(await pair.close());
      fs.rmSync(pair.primary);
    },
  },

  "a pair that was killed": {
    async prepare(pair) {
      await pair.begin();
      pair.subject.kill();
      await pair.restart();
      void pair.subject;
    },
  },
} satisfies Record<string, Scenario>;
