/**
 * The process that lives under faults. It obeys commands, one JSON object a line on its input, and
 * answers each with a line. What is acknowledged is written to a file of its own at once, so that
 * the record shows when.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { createInterface } from "node:readline";
import threads, { type Worker } from "node:worker_threads";
import type { DriverName } from "../../src/driver.ts";
import type { LockstepError } from "../../src/errors.ts";
import type { ReplicationOptions } from "../../src/options.ts";
import { openBelow } from "../support/descriptors.ts";
import type * as Warm from "../support/warm.ts";
import type { Database } from "./open.ts";

export interface Job {
  readonly driver: DriverName;
  readonly primary: string;
  /** Gets a line with the number of every acknowledged insert. */
  readonly acknowledged: string;
}

export type Command =
  | { readonly do: "open"; readonly options: ReplicationOptions }
  /** Commits row `n` with so many bytes of data. */
  | { readonly do: "insert"; readonly n: number; readonly bytes?: number }
  | { readonly do: "exec"; readonly sql: string }
  | { readonly do: "all"; readonly sql: string }
  | { readonly do: "states" }
  /** Of the primary. */
  | { readonly do: "position" }
  | { readonly do: "close" }
  /** `lockstep restore`, as the command calls it. */
  | { readonly do: "restore"; readonly replica: string; readonly dest: string }
  /** Which drops every lock that this process holds on the file. */
  | { readonly do: "open and close"; readonly file: string }
  /** The files below a directory that this process has open. */
  | { readonly do: "descriptors"; readonly under: string }
  /** Ends the mirror threads, as an exhausted memory would. */
  | { readonly do: "kill workers" }
  /** From now on threads and processes that have done the same before serve again (warm.ts); or not. */
  | { readonly do: "warm"; readonly warm: boolean }
  /** Waits until every thread that served again has done its work; so many milliseconds at most. */
  | { readonly do: "settle"; readonly milliseconds: number }
  /** Gives the event loop a turn of so many milliseconds. */
  | { readonly do: "turn"; readonly milliseconds: number }
  | { readonly do: "exit"; readonly code: number };

export interface Reply {
  readonly value?: unknown;
  readonly error?: {
    readonly code: string;
    readonly copy: string | null;
    readonly message: string;
    /** Is it the very error that was thrown last? */
    readonly same: boolean;
  };
  readonly milliseconds: number;
}

const workers: Worker[] = [];
const job = JSON.parse(process.argv[2] as string) as Job;
const acknowledged = fs.openSync(job.acknowledged, "a");
let db: Database | null = null;
let barrier = false;
let lastError: unknown = null;

captureWorkers();
const { dropIn } = await import("./open.ts");
const open = await dropIn(job.driver);

for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now();
  const reply: { value?: unknown; error?: unknown } = {};
  try {
    reply.value = await obey(JSON.parse(line) as Command);
  } catch (error) {
    const { code, copy = null, message } = error as LockstepError;
    reply.error = { code: code ?? null, copy, message, same: error === lastError };
    lastError = error;
  }
  const milliseconds = performance.now() - began;
  fs.writeSync(1, `${JSON.stringify({ ...reply, milliseconds })}\n`);
}

function obey(command: Command): unknown {
  switch (command.do) {
    case "open":
      barrier = command.options.durability === "barrier";
      db = open(job.primary, command.options);
      return;
    case "insert": {
      const { n, bytes = 100 } = command;
      db?.exec(`INSERT INTO t VALUES (${n}, zeroblob(${bytes}))`);
      // With durability `commit` it is acknowledged when the statement returns, not a turn later.
      const later = barrier ? db?.durable() : null;
      if (later) return later.then(() => acknowledge(n));
      return acknowledge(n);
    }
    case "exec":
      return db?.exec(command.sql);
    case "all":
      return db?.all(command.sql);
    case "states":
      return db?.states();
    case "position":
      return db?.position();
    case "close": {
      const closing = db;
      db = null;
      return closing?.close();
    }
    case "restore":
      return import("../../src/restore.ts").then(({ restore }) =>
        restore(command.replica, command.dest, { force: true }),
      );
    case "open and close":
      return fs.closeSync(fs.openSync(command.file, "r"));
    case "descriptors":
      return openBelow(command.under);
    case "kill workers":
      return Promise.all(workers.splice(0).map((worker) => worker.terminate()));
    case "warm":
      return warm().then(({ useWarm }) => useWarm(command.warm));
    case "settle":
      return warm().then(({ settled }) => settled(command.milliseconds));
    case "turn":
      return new Promise((resolve) => setTimeout(resolve, command.milliseconds));
    case "exit":
      process.exit(command.code);
  }
}

/** Loaded once `Worker` is the one that is looked over the shoulder of: so those threads are known, too. */
function warm(): Promise<typeof Warm> {
  return import("../support/warm.ts");
}

function acknowledge(n: number): void {
  fs.writeSync(acknowledged, `${n}\n`);
}

/** Nobody but the hub knows its workers: look over its shoulder. */
function captureWorkers(): void {
  const Original = threads.Worker;
  threads.Worker = class extends Original {
    constructor(...parameters: ConstructorParameters<typeof Original>) {
      super(...parameters);
      workers.push(this);
    }
  };
  syncBuiltinESMExports();
}
