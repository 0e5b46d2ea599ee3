/**
 * One life of the application: opens the copies, does its steps, and ends. In this process, or in one
 * of its own that is killed: then what it had begun and done is told on descriptor 3, a line each.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { type DriverName, loadDriver } from "../../src/driver.ts";
import type { Durability } from "../../src/options.ts";
import { type OpenReplicated, replicated } from "../crash/open.ts";
import type { Connection } from "../crash/perform.ts";
import type { Step } from "./model.ts";

export interface Where {
  readonly driver: DriverName;
  readonly primary: string;
  readonly replicas: readonly string[];
  readonly durability: Durability;
  readonly checkpointBytes: number;
  readonly restoreMissing: boolean;
}

/** Where in a life a kill comes. */
export type Kill =
  /** Right after so many steps, however they were done. */
  | { readonly afterStep: number }
  /** So long after the copies were opened. */
  | { readonly afterMs: number };

/** How far a life has come, in steps. */
export interface Told {
  /** Everything up to here is on stable storage in every copy. */
  readonly durable: number;
  /** Up to here it may have been committed. */
  readonly begun: number;
}

export class Life {
  readonly #open: () => Connection;
  readonly #where: Where;
  readonly #connections: Connection[];
  #reader: Connection | null = null;
  #begun = 0;
  #durable = 0;

  /** Opens the copies. */
  constructor(open: OpenReplicated, where: Where) {
    const { primary, replicas, durability, checkpointBytes, restoreMissing } = where;
    const options = { replicas, durability, checkpointBytes, restoreMissing };
    this.#where = where;
    this.#open = () => open(primary, options);
    this.#connections = [this.#open()];
  }

  static async open(where: Where): Promise<Life> {
    return new Life(await replicated(where.driver), where);
  }

  get first(): Connection {
    return this.#connections[0] as Connection;
  }

  get told(): Told {
    return { durable: this.#durable, begun: this.#begun };
  }

  /** @param by which of the connections; the second is opened when it is first asked for */
  do({ sql, also, single }: Pick<Step, "sql" | "also" | "single">, by: number): void {
    this.#begun++;
    const db = this.#connections[by] ?? this.#another();
    if (sql !== null && single) db.prepare(sql).run();
    else if (sql !== null) db.exec(sql);
    if (also === "durable") db.replication?.durableSync();
    if (also === "reader") this.#read();
    if (this.#where.durability === "commit" || also === "durable") this.#durable = this.#begun;
  }

  /** A commit past the gate: in the primary's log, and acknowledged to nobody. */
  doPast(sql: string): void {
    this.#begun++;
    const db = loadDriver(this.#where.driver).open(this.#where.primary, { timeout: 2000 });
    try {
      db.exec(sql);
    } finally {
      db.close();
    }
  }

  close(): void {
    this.#reader?.close();
    for (const db of this.#connections.reverse()) db.close();
  }

  #another(): Connection {
    const db = this.#open();
    this.#connections.push(db);
    return db;
  }

  /** A transaction that reads and goes on reading, or the end of the one there is. */
  #read(): void {
    if (this.#reader) {
      this.#reader.close();
      this.#reader = null;
      return;
    }
    this.#reader = this.#open();
    this.#reader.exec("BEGIN");
    this.#reader.prepare("SELECT count(*) FROM t").get();
  }
}

interface Job {
  readonly where: Where;
  readonly steps: readonly (readonly [Pick<Step, "sql" | "also" | "single">, by: number])[];
  readonly kill: Kill;
}

/** Lives it in a process of its own, up to the kill. @throws what ended it before that */
export function liveAndDie(job: Job): Promise<Told> {
  return new Promise((resolve, reject) => {
    const self = fileURLToPath(import.meta.url);
    const child = spawn(process.execPath, ["--no-warnings", self], {
      stdio: ["pipe", "inherit", "pipe", "pipe"],
    });
    const lines = { all: "", errors: "" };
    let timer: NodeJS.Timeout | undefined;
    child.stderr?.on("data", (text) => (lines.errors += text));
    child.stdio[3]?.on("data", (text) => {
      if (lines.all === "" && "afterMs" in job.kill) {
        timer = setTimeout(() => child.kill("SIGKILL"), job.kill.afterMs);
      }
      lines.all += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (signal === "SIGKILL") resolve(readTold(lines.all));
      else reject(new Error(`it ended with ${signal ?? code}: ${lines.errors}`));
    });
    child.stdin?.end(JSON.stringify(job));
  });
}

/** The last whole line. */
function readTold(lines: string): Told {
  const [durable = 0, begun = 0] = (lines.split("\n").at(-2) ?? "0 0").split(" ").map(Number);
  return { durable, begun };
}

if (import.meta.main) {
  const { where, steps, kill } = JSON.parse(fs.readFileSync(0, "utf8")) as Job;
  const life = await Life.open(where);
  const tell = (durable: number, begun: number): void =>
    void fs.writeSync(3, `${durable} ${begun}\n`);
  tell(0, 0);
  for (const [i, [step, by]] of steps.entries()) {
    if ("afterStep" in kill && i === kill.afterStep) break;
    tell(life.told.durable, i + 1);
    life.do(step, by);
    tell(life.told.durable, i + 1);
  }
  // Alive to the end: threads go on folding while the kill is awaited.
  if ("afterStep" in kill) process.kill(process.pid, "SIGKILL");
  else setInterval(() => {}, 1000);
}
