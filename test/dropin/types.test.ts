/**
 * The types of the drop-ins: what is declared here compiles, which `npm run typecheck` shows. A
 * program written with the originals' types takes ours, and the other way round where it can.
 */
import assert from "node:assert/strict";
import type * as sqlite from "node:sqlite";
import { test } from "node:test";
import type Original from "better-sqlite3";
import Database, {
  type OpenReplica as BetterReplica,
  type OpenStandby as BetterStandby,
  openReplica as openBetter,
  openStandby as openBetterStandby,
  type ReplicationHandle,
  SqliteError,
} from "../../src/better-sqlite3.ts";
import {
  backup,
  type Code,
  codes,
  constants,
  DatabaseSync,
  type DatabaseSyncOptions,
  LockstepError,
  type OpenReplica,
  type OpenStandby,
  openReplica,
  openStandby,
  type Progress,
  type ReachOptions,
  type ReplicationOptions,
  Session,
  StatementSync,
} from "../../src/index.ts";

/** Fails to compile unless `From` can be used as a `To`. */
type Assignable<From extends To, To> = From;

export type BetterSqlite3 = [
  Assignable<Database.Database, Original.Database>,
  Assignable<Database.Statement, Original.Statement>,
  Assignable<Database.Statement<[number], { x: 1 }>, Original.Statement<[number], { x: 1 }>>,
  Assignable<Database.Statement<{ a: 1 }>, Original.Statement<{ a: 1 }>>,
  Assignable<Database.RunResult, Original.RunResult>,
  Assignable<Original.RunResult, Database.RunResult>,
  Assignable<Original.Options, Database.Options>,
  Assignable<Database.ColumnDefinition, Original.ColumnDefinition>,
  Assignable<Original.ColumnDefinition, Database.ColumnDefinition>,
  Assignable<Original.PragmaOptions, Database.PragmaOptions>,
  Assignable<Original.RegistrationOptions, Database.RegistrationOptions>,
  Assignable<Original.BackupOptions, Database.BackupOptions>,
  Assignable<Database.BackupMetadata, Original.BackupMetadata>,
  Assignable<Database.Transaction<(a: 1) => 2>, Original.Transaction<(a: 1) => 2>>,
  Assignable<Original.Transaction<(a: 1) => 2>, Database.Transaction<(a: 1) => 2>>,
  // Every name of the original's is there.
  Assignable<keyof Original.Database, keyof Database.Database>,
  Assignable<keyof Original.Statement, keyof Database.Statement>,
];

export type NodeSqlite = [
  Assignable<DatabaseSync, sqlite.DatabaseSync>,
  Assignable<sqlite.DatabaseSyncOptions, DatabaseSyncOptions>,
  Assignable<StatementSync, sqlite.StatementSync>,
  Assignable<Session, sqlite.Session>,
  Assignable<typeof backup, typeof sqlite.backup>,
  Assignable<typeof constants, typeof sqlite.constants>,
  Assignable<OpenReplica, DatabaseSync>,
  Assignable<BetterReplica, Database.Database>,
  Assignable<Parameters<OpenReplica["reach"]>[1], ReachOptions | undefined>,
  Assignable<ReplicationOptions["onProgress"], ((progress: Progress) => void) | undefined>,
];

export function betterProgram(location: string): number | undefined {
  const db: Database.Database = new Database(location, { replicas: ["/b"], timeout: 5 });
  const insert = db.prepare<[number, string]>("INSERT INTO t VALUES (?, ?)");
  const find = db.prepare<{ id: number }, { x: number }>("SELECT x FROM t WHERE id = @id");
  const both = db.transaction((id: number, name: string) => insert.run(id, name).changes);
  const changes: number = both.immediate(1, "a") + both(2, "b");
  // @ts-expect-error: a number is missing
  both(1);
  // @ts-expect-error: parameters are typed
  insert.run("a", 1);
  // @ts-expect-error: options are checked
  new Database(location, { replicas: "/b" });
  const replication: ReplicationHandle | null = db.replication;
  replication?.on("failed", (error) => error.code satisfies Code);
  return find.get({ id: changes })?.x;
}

export class App extends DatabaseSync {
  constructor(location: string) {
    super(location, { replicas: [{ path: "/b" }], durability: "commit", open: false });
  }
  count(): unknown {
    const statement: StatementSync = this.prepare("SELECT count(*) AS n FROM t");
    return statement.get()?.["n"];
  }
  lag(): number[] {
    return this.replication?.status.replicas.map(({ lag }) => lag) ?? [];
  }
}

export async function readers(file: string, position: string): Promise<(string | null)[]> {
  const node: OpenReplica = openReplica(file, { timeout: 5, readBigInts: true });
  const better: BetterReplica = openBetter(file, { timeout: 5, verbose: console.log });
  const rows = better.prepare<[number], { x: number }>("SELECT x FROM t WHERE x > ?").all(1);
  // @ts-expect-error: a replica is read-only
  openReplica(file, { readOnly: false });
  // @ts-expect-error: and has no replicas
  openBetter(file, { replicas: ["/b"] });
  const reached = await node.reach(position, { timeout: rows[0]?.x ?? 1 });
  return [reached, node.position, better.close().position];
}

export async function standbys(stream: string, file: string): Promise<number> {
  const node: OpenStandby = await openStandby(stream, file, { keys: "env:K", readBigInts: true });
  const better: BetterStandby = await openBetterStandby(stream, file, {
    keys: async () => "1:…",
    onFailure: ({ message }) => console.log(message),
    verbose: console.log,
  });
  await Promise.all([node.stopped, better.stopped]);
  better.prepare<[], { x: number }>("SELECT x FROM t").get()?.x.toFixed();
  return node.status.lagMs + (better.status.behind ?? 0) + (node.failure ? 1 : 0);
}

test("what the types name is there", () => {
  for (const value of [
    ...[Database, DatabaseSync, StatementSync, Session, SqliteError, backup],
    ...[openReplica, openBetter, openStandby, openBetterStandby],
  ]) {
    assert.equal(typeof value, "function");
  }
  assert.equal(typeof constants, "object");
  assert.equal(codes.OWNED, "ERR_LOCKSTEP_OWNED");
  assert.ok(LockstepError.prototype instanceof Error);
  assert.equal(new App("/a").isOpen, false);
});
