/**
 * One trial of commit.ts: commit-trial.ts WAY DIRECTORY COMMITS. Prints the latencies' percentiles
 * in microseconds. Every way commits the same transaction with better-sqlite3, in WAL mode, to
 * stable storage, and checkpoints whenever 8 MiB of log have come together.
 */
import { join } from "node:path";
import Plain from "better-sqlite3";
import Replicated from "../src/better-sqlite3.ts";
import { percentile } from "./figures.ts";

const [way, directory, commits] = process.argv.slice(2) as [string, string, string];
const checkpointBytes = 8 * 2 ** 20;
const warmUp = 1000;

const databases = open();
const transactions = databases.map((db) => {
  db.exec("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)");
  db.exec("CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER, cents INTEGER, note TEXT)");
  const account = db.prepare("INSERT INTO account VALUES (?, 0)");
  db.transaction(() => {
    for (let id = 0; id < 10_000; id++) account.run(id);
  })();
  const update = db.prepare("UPDATE account SET balance = balance + ? WHERE id = ?");
  const insert = db.prepare("INSERT INTO entry (account, cents, note) VALUES (?, ?, ?)");
  return db.transaction((id: number, cents: number) => {
    update.run(cents, id);
    insert.run(id, cents, "a line of about forty characters or so");
  });
});

const micros: number[] = [];
const began = process.hrtime.bigint();
for (let i = 0; i < warmUp + Number(commits); i++) {
  const before = process.hrtime.bigint();
  for (const transaction of transactions) transaction((i * 7919) % 10_000, i % 100);
  if (i >= warmUp) micros.push(Number(process.hrtime.bigint() - before) / 1000);
}
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
for (const db of databases) db.close();

micros.sort((a, b) => a - b);
const [p50, p99, max] = [50, 99, 100].map((percent) => percentile(micros, percent));
console.log(JSON.stringify({ p50, p99, max, perSecond: (warmUp + Number(commits)) / seconds }));

function open(): Plain.Database[] {
  const path = (name: string) => join(directory, name);
  switch (way) {
    case "replica":
      return [new Replicated(path("a.db"), { replicas: [path("b.db")], checkpointBytes })];
    case "two":
      return [plain(path("a.db")), plain(path("b.db"))];
    case "one":
      return [plain(path("a.db"))];
    default:
      throw new Error(`No such way: ${way}`);
  }
}

function plain(path: string): Plain.Database {
  const db = new Plain(path);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma(`wal_autocheckpoint = ${checkpointBytes / 4096}`);
  return db;
}
