#!/usr/bin/env node
/**
 * The `lockstep` command: picks a command, runs it, turns what it throws into an exit status.
 */
import { createRequire } from "node:module";
import { codes, LockstepError } from "../errors.ts";
import { errorJson, Io, UsageError } from "./io.ts";

/** What each file in commands/ exports. */
export interface Command {
  /** Its `--help`: synopsis, arguments, the shape of `--json`, exit status. */
  readonly usage: string;
  /** @returns the exit status: 0 done, 1 the copies differ */
  run(args: string[], io: Io): Promise<0 | 1>;
}

/** Loaded when asked for, so that `--help` opens no database library. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  replicate: () => import("./commands/replicate.ts"),
  sync: () => import("./commands/sync.ts"),
  status: () => import("./commands/status.ts"),
  verify: () => import("./commands/verify.ts"),
  scrub: () => import("./commands/scrub.ts"),
  restore: () => import("./commands/restore.ts"),
  bench: () => import("./commands/bench.ts"),
};

const usage = `Usage: lockstep COMMAND [OPTIONS] ARGUMENTS

  replicate PRIMARY REPLICA… follow a database that other programs write, until stopped
  sync PRIMARY REPLICA       make the replica, or bring it to what the primary holds
  status PRIMARY REPLICA…    where each copy stands; reads only, live databases too
  verify A B                 compare two copies page by page, and check both
  scrub PRIMARY REPLICA…     find pages that rotted on a disk, and heal them from another copy
  restore REPLICA DEST       make a replica the database again
  bench                      what replication costs on these disks

Options of every command:
  --json       the result as one JSON document on stdout, errors as {"error": {…}}
  --help, -h   the arguments, options and results of a command

  lockstep --version

Exit status: 0 done, 1 failed or the copies differ, 2 wrong usage.`;

/** @returns the exit status */
export async function main(args: string[], io = new Io()): Promise<0 | 1 | 2> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-v") {
    io.print((createRequire(import.meta.url)("../../package.json") as { version: string }).version);
    return 0;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    io.print(usage);
    return 0;
  }
  const load = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    io.note(name === undefined ? usage : `There is no command "${name}".\n\n${usage}`);
    return 2;
  }
  const command = await load();
  if (rest.includes("--help") || rest.includes("-h")) {
    io.print(command.usage);
    return 0;
  }
  try {
    return await command.run(rest, io);
  } catch (error) {
    if (isMisuse(error)) {
      io.note(`${(error as Error).message}\n\n${command.usage}`);
      return 2;
    }
    if (rest.includes("--json")) io.json(errorJson(error));
    else io.error(error);
    return error instanceof LockstepError && IS_USAGE.has(error.code) ? 2 : 1;
  }
}

// --- internal ---

const IS_USAGE: ReadonlySet<string> = new Set([codes.BAD_DSN, codes.BAD_OPTION]);

function isMisuse(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return (
    error instanceof UsageError || (typeof code === "string" && code.startsWith("ERR_PARSE_ARGS"))
  );
}

/** Node.js before 25.7 or so calls node:sqlite experimental, once a process; that one is dropped. */
function withoutSqliteWarning(): void {
  const emit = process.emitWarning.bind(process) as (...rest: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (/SQLite is an experimental feature/.test(String(warning))) return;
    emit(warning, ...rest);
  };
}

withoutSqliteWarning();
// A reader that went away (`| head`) is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await main(process.argv.slice(2));
