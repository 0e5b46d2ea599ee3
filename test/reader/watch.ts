/**
 * Readers in processes of their own, with three SQLites that are not the writer's (Python's, the shell's,
 * another Node.js with `openReplica`), while this process commits, checkpoints, closes and opens anew,
 * with both durabilities in turns.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { DriverName } from "../../src/driver.ts";
import { DatabaseSync, type Progress } from "../../src/index.ts";
import { Random } from "../crash/random.ts";
import { begin, LOOK, transfer, wrongWith } from "./ledger.ts";
import type { ReaderReport } from "./reader.ts";

export interface WatchOptions {
  readonly directory: string;
  readonly seed: number;
  /** At least so long, and until there were so many lives and checkpoints: machines are slow. */
  readonly seconds: number;
  readonly lives: number;
  readonly checkpoints: number;
  /** Every how many of its transactions a reader checks the whole, and holds one open. */
  readonly checkEvery: number;
  readonly holdEvery: number;
  /** How long a reader holds a transaction at most, in milliseconds. */
  readonly holdMs: number;
  /** How long the writer has the database open, in seconds. */
  readonly lifeSeconds: number;
}

export interface WatchReport {
  readonly transactions: number;
  readonly lives: number;
  readonly checkpoints: number;
  /** Events `checkpoint-postponed`, and the longest that one named, in milliseconds. */
  readonly postponed: number;
  readonly longestPostponedMs: number;
  readonly readers: Readonly<Record<string, ReaderReport>>;
  readonly shellReads: number;
  /** Whatever was not as it has to be. */
  readonly problems: readonly string[];
}

/** Why the readers cannot all run here, or false. */
export function missing(): string | false {
  for (const [command, argument] of [
    ["python3", "--version"],
    ["sqlite3", "--version"],
  ] as const) {
    if (spawnSync(command, [argument]).error) return `there is no ${command} on this machine`;
  }
  return false;
}

export async function watch(options: WatchOptions): Promise<WatchReport> {
  const { directory, seed } = options;
  const [primary, replica] = ["main", "replica"].map((name) => {
    fs.mkdirSync(path.join(directory, name), { recursive: true });
    return path.join(directory, name, "app.db");
  }) as [string, string];
  const writer = new Writer(primary, replica, new Random(seed));
  writer.open("commit");
  begin(writer.db);
  const readers = [
    new Reader("python", replica, seed + 1, options),
    new Reader("node:sqlite", replica, seed + 2, options),
    new Reader("better-sqlite3", replica, seed + 3, options),
  ];
  const shell = new Shell(replica);
  try {
    await Promise.all(readers.map((reader) => reader.begun));
    await writer.run(options, readers, shell);
    const reports: Record<string, ReaderReport> = {};
    for (const reader of readers) reports[reader.name] = await reader.end();
    await shell.end();
    writer.db.close();
    const problems = [
      ...Object.entries(reports).flatMap(([name, { wrong }]) => wrong.map((w) => `${name}: ${w}`)),
      ...shell.wrong.map((wrong) => `shell: ${wrong}`),
      ...writer.problems(primary, replica),
    ];
    return { ...writer.figures, readers: reports, shellReads: shell.reads, problems };
  } finally {
    for (const reader of readers) reader.kill();
  }
}

// --- internal ---

const CHECKPOINT_BYTES = 256 << 10;

class Writer {
  db!: DatabaseSync;
  readonly #primary: string;
  readonly #replica: string;
  readonly #random: Random;
  #step = 0;
  #lives = 0;
  #checkpoints = 0;
  #postponed = 0;
  #longest = 0;
  readonly #copied: string[] = [];

  constructor(primary: string, replica: string, random: Random) {
    this.#primary = primary;
    this.#replica = replica;
    this.#random = random;
  }

  get figures() {
    return {
      transactions: this.#step,
      lives: this.#lives,
      checkpoints: this.#checkpoints,
      postponed: this.#postponed,
      longestPostponedMs: Math.round(this.#longest),
    };
  }

  open(durability: "commit" | "barrier"): void {
    this.#lives++;
    this.db = new DatabaseSync(this.#primary, {
      ...{ replicas: [this.#replica], durability, checkpointBytes: CHECKPOINT_BYTES },
      onProgress: ({ phase }: Progress) => {
        if (this.#lives > 1) this.#copied.push(phase); // the first makes the replica
      },
    });
    this.db.replication?.on("checkpoint", () => this.#checkpoints++);
    this.db.replication?.on("checkpoint-postponed", (_, sinceMs) => {
      this.#postponed++;
      this.#longest = Math.max(this.#longest, sinceMs);
    });
  }

  /** Commits until the time is over; tells readers now and then what is durable. */
  async run(
    { seconds, lifeSeconds, lives, checkpoints }: WatchOptions,
    readers: readonly Reader[],
    shell: Shell,
  ): Promise<void> {
    const end = performance.now() + seconds * 1000;
    const isOver = (): boolean =>
      performance.now() > end && this.#lives >= lives && this.#checkpoints >= checkpoints;
    for (let life = 0; !isOver(); life++) {
      if (life > 0) {
        this.db.close();
        this.open(life % 2 === 0 ? "commit" : "barrier");
      }
      const lifeEnd = performance.now() + lifeSeconds * 1000;
      while (performance.now() < lifeEnd) {
        const batch = 1 + this.#random.below(20);
        for (let i = 0; i < batch; i++) transfer(this.db, ++this.#step, this.#random);
        const position = await this.db.replication?.durable();
        for (const reader of readers) reader.tell({ position, step: this.#step });
        shell.look(this.#step);
        await delay(this.#random.below(20));
      }
    }
  }

  /** What is left at the end: nothing was lost, nothing differs. */
  problems(primary: string, replica: string): string[] {
    const found: string[] = [];
    if (this.#copied.length > 0) found.push(`a start copied or compared: ${this.#copied}`);
    for (const copy of [primary, replica]) {
      const db = new DatabaseSync(copy, { readOnly: true });
      const look = db.prepare(LOOK).get() as never;
      const wrong = wrongWith(look);
      if (wrong) found.push(`${copy}: ${wrong}`);
      if (look["step"] !== this.#step) found.push(`${copy} ends at ${look["step"]}`);
      const check = db.prepare("PRAGMA integrity_check").get()?.["integrity_check"];
      if (check !== "ok") found.push(`${copy}: ${check}`);
      db.close();
    }
    if (!fs.readFileSync(primary).equals(fs.readFileSync(replica))) found.push("the files differ");
    return found;
  }
}

class Reader {
  readonly name: string;
  readonly begun: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #last = "";

  constructor(
    name: "python" | DriverName,
    replica: string,
    seed: number,
    { checkEvery, holdEvery, holdMs }: WatchOptions,
  ) {
    this.name = name;
    const rest = [checkEvery, holdEvery, holdMs].map(String);
    const here = import.meta.dirname;
    const [command, args] =
      name === "python"
        ? ["python3", [path.join(here, "reader.py"), replica, String(seed), LOOK, ...rest]]
        : [
            process.execPath,
            ["--no-warnings", path.join(here, "reader.ts"), replica, String(seed), name, ...rest],
          ];
    this.#child = spawn(command as string, args as string[], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdin?.on("error", () => {}); // it has ended, and says so where it is asked
    const lines = createInterface(this.#child.stdout as Readable);
    this.begun = new Promise((resolve) => lines.once("line", resolve));
    this.#closed = new Promise((resolve) => lines.once("close", resolve));
    lines.on("line", (line) => (this.#last = line));
  }

  /** The one with Python takes any input for the end. */
  tell(what: object): void {
    if (this.name !== "python") this.#child.stdin?.write(`${JSON.stringify(what)}\n`);
  }

  async end(): Promise<ReaderReport> {
    this.#child.stdin?.end();
    await this.#closed;
    return JSON.parse(this.#last);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** The `sqlite3` shell: opens the replica, looks once, and closes it; one after the other. */
class Shell {
  reads = 0;
  readonly wrong: string[] = [];
  readonly #replica: string;
  #running: Promise<void> | null = null;

  constructor(replica: string) {
    this.#replica = replica;
  }

  /** It must see this step, which is durable, or a later one. */
  look(step: number): void {
    this.#running ??= this.#look(step).finally(() => (this.#running = null));
  }

  async #look(step: number): Promise<void> {
    const args = ["-readonly", "-json", "-cmd", ".timeout 10000", this.#replica, LOOK];
    try {
      const { stdout } = await promisify(execFile)("sqlite3", args);
      const [row] = JSON.parse(stdout);
      const wrong = wrongWith(row);
      if (wrong) this.wrong.push(wrong);
      if (row.step < step) this.wrong.push(`saw ${row.step} after ${step} was durable`);
      this.reads++;
    } catch (error) {
      this.wrong.push(String(error));
    }
    await delay(200);
  }

  async end(): Promise<void> {
    await this.#running;
  }
}
