/** Either drop-in, as little of it as the tests need. Only the one that is asked for is loaded. */
import type { DriverName } from "../../src/driver.ts";
import type { ReplicationOptions } from "../../src/options.ts";
import { betterSqlite3, nodeSqlite } from "../support/installed.ts";

export interface Database {
  exec(sql: string): unknown;
  all(sql: string): unknown[];
  durable(): Promise<unknown>;
  /** Of every replica. */
  states(): unknown;
  /** Of the primary. */
  position(): unknown;
  close(): void;
}

export type Open = (path: string, options: ReplicationOptions) => Database;

export async function dropIn(driver: DriverName): Promise<Open> {
  if (driver === "node:sqlite") {
    const { DatabaseSync } = await nodeSqlite();
    return (path, options) => {
      const db = new DatabaseSync(path, options);
      return {
        exec: (sql) => db.exec(sql),
        all: (sql) => db.prepare(sql).all(),
        durable: async () => db.replication?.durable(),
        states: () => db.replication?.status.replicas.map(({ state }) => state),
        position: () => db.replication?.status.primary.position,
        close: () => db.close(),
      };
    };
  }
  const { default: Better } = await betterSqlite3();
  return (path, options) => {
    const db = new Better(path, options);
    return {
      exec: (sql) => db.exec(sql),
      all: (sql) => db.prepare(sql).all(),
      durable: async () => db.replication?.durable(),
      states: () => db.replication?.status.replicas.map(({ state }) => state),
      position: () => db.replication?.status.primary.position,
      close: () => void db.close(),
    };
  };
}
