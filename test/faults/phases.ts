/** What a process does while the system fails under it: a start, commits, a checkpoint, a restore. */
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { ReplicationOptions } from "../../src/options.ts";
import type { Reply } from "./child.ts";
import { ok, type Pair } from "./pair.ts";
import { type Scenario, scenarios } from "./scenarios.ts";

export interface Phase {
  readonly options?: ReplicationOptions;
  /** Brings the copies into the state in which the phase finds them, and closes them. */
  readonly prepare?: (pair: Pair) => Promise<void>;
  /** Opens them, before anything fails. */
  readonly begin?: (pair: Pair) => Promise<void>;
  /** Under faults; goes on after any error. */
  readonly act: (pair: Pair, see: See) => Promise<void>;
  /** Is what the phase begins with open, so that both copies hold all that was acknowledged? */
  readonly inStep: boolean;
  /** The codes that may come out, if they are others than those of an open database. */
  readonly codes?: RegExp;
  /** What must be done, when nothing fails any more, before the copies are opened. */
  readonly mend?: (pair: Pair) => Promise<void>;
}

/** Takes an answer down. @returns whether the command was done */
export type See = (reply: Reply | null) => boolean;

const TABLE = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)";

/** Before anything is renamed the command passes on what the system or SQLite said. */
const RESTORE =
  /^ERR_LOCKSTEP_(PRIMARY_IO|REPLICA_IO|SIDECAR|NOT_A_DATABASE)$|SQLITE|^E[A-Z]+$|^U(NKNOWN|nknown system error)/;

const starts = Object.entries(scenarios).map(([name, scenario]: [string, Scenario]) => {
  const { prepare, options = {} } = scenario;
  const phase: Phase = {
    options,
    ...(prepare ? { prepare } : {}),
    inStep: false,
    async act(pair, see) {
      if (!see(await pair.open())) return;
      see(await pair.exec(TABLE));
      see(await pair.insert(5000));
    },
  };
  return [`start: ${name}`, phase] as const;
});

/** Opened again, with a table and a few rows. */
async function opened(pair: Pair): Promise<void> {
  ok(await pair.open());
  ok(await pair.insert());
}

async function closed(pair: Pair): Promise<void> {
  await pair.begin();
  ok(await pair.close());
}

/** The third is large enough for the log to be made longer. */
async function commits(pair: Pair, see: See): Promise<void> {
  for (const bytes of [100, 5000, 100_000, 100]) see(await pair.insert(bytes));
}

export const phases: Readonly<Record<string, Phase>> = {
  ...Object.fromEntries(starts),

  "commits, the first of a generation": {
    prepare: closed,
    begin: async (pair) => void ok(await pair.open()),
    act: commits,
    inStep: true,
  },

  commits: { prepare: closed, begin: opened, act: commits, inStep: true },

  "commits that share a sync": {
    options: { durability: "barrier" },
    prepare: closed,
    begin: opened,
    act: commits,
    inStep: true,
  },

  "a checkpoint": {
    options: { checkpointBytes: 30_000 },
    prepare: closed,
    begin: opened,
    async act(pair, see) {
      for (const bytes of [30_000, 100, 100]) see(await pair.insert(bytes));
    },
    inStep: true,
  },

  "a checkpoint that goes ahead": {
    options: { checkpointBytes: 300_000 },
    prepare: closed,
    begin: opened,
    async act(pair, see) {
      for (const bytes of [400_000, 400_000, 100]) see(await pair.insert(bytes));
      await pair.subject.ask({ do: "turn", milliseconds: 30 });
      for (const bytes of [100, 100]) see(await pair.insert(bytes));
    },
    inStep: true,
  },

  "a close": {
    prepare: closed,
    begin: opened,
    async act(pair, see) {
      see(await pair.close());
    },
    inStep: true,
  },

  "a restore": restore({ over: false }),
  "a restore over another database": restore({ over: true }),
};

function restore({ over }: { over: boolean }): Phase {
  const command = (pair: Pair) =>
    pair.subject.ask({ do: "restore", replica: pair.replica, dest: pair.primary });
  return {
    async prepare(pair) {
      await closed(pair);
      for (const name of fs.globSync(`${pair.primary}*`)) fs.rmSync(name);
      if (!over) return;
      const db = new DatabaseSync(pair.primary);
      db.exec("CREATE TABLE other (x); INSERT INTO other VALUES ('kept')");
      db.close();
    },
    inStep: false,
    codes: RESTORE,
    async act(pair, see) {
      see(await command(pair));
    },
    async mend(pair) {
      if (over) otherIsKept(pair);
      ok(await command(pair)); // done once, it can be done again
      if (over) otherIsKept(pair);
    },
  };
}

/** What stood at the destination is there, or set aside. */
function otherIsKept(pair: Pair): void {
  const files = fs.globSync(`${pair.primary}*`).filter((name) => /db$|Z$/.test(name));
  const kept = files.some((file) => {
    let db: DatabaseSync | null = null;
    try {
      db = new DatabaseSync(file, { readOnly: true });
      return db.prepare("SELECT x FROM other").get()?.["x"] === "kept";
    } catch {
      return false; // it is the restored one, or holds the place of one
    } finally {
      db?.close();
    }
  });
  if (!kept) throw new Error(`what stood at the destination is lost: ${files}`);
}
