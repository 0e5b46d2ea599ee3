#!/usr/bin/env node
/**
 * The `lockstep` command: picks a command, runs it, turns what it throws into an exit status.
 */
import { createRequire } from "node:module";
import { codes, LockstepError } from "../errors.ts";
import { errorJson, Io, UsageError } from "./io.ts";
import { suggest } from "./suggest.ts";
import { optionsIn, takeFlags, unknownOption } from "./usage.ts";

/** What each file in commands/ exports. */
export interface Command {
  /** Its `--help`: synopsis, arguments, the shape of `--json`, examples, exit status. */
  readonly usage: string;
  /** @returns the exit status: 0 done, 1 the copies differ */
  run(args: string[], io: Io, commands: Commands): Promise<0 | 1>;
}

export type Commands = Readonly<Record<string, () => Promise<Command>>>;

/** Loaded when asked for, so that `--help` opens no database library. */
const commands: Commands = {
  replicate: () => import("./commands/replicate.ts"),
  sync: () => import("./commands/sync.ts"),
  status: () => import("./commands/status.ts"),
  verify: () => import("./commands/verify.ts"),
  drill: () => import("./commands/drill.ts"),
  scrub: () => import("./commands/scrub.ts"),
  restore: () => import("./commands/restore.ts"),
  init: () => import("./commands/init.ts"),
  follow: () => import("./commands/follow.ts"),
  promote: () => import("./commands/promote.ts"),
  bench: () => import("./commands/bench.ts"),
  completion: () => import("./commands/completion.ts"),
};

const usage = `Usage: lockstep COMMAND [OPTIONS] ARGUMENTS

  replicate PRIMARY REPLICA… follow a database that other programs write, until stopped
  sync PRIMARY REPLICA       make the replica, or bring it to what the primary holds
  status PRIMARY REPLICA…    where each copy stands; reads only, live databases too
  verify A B                 compare two copies page by page, and check both
  drill PRIMARY REPLICA…     prove that each replica restores; they may be in use
  scrub PRIMARY REPLICA…     find pages that rotted on a disk, and heal them from another copy
  restore REPLICA DEST       make a replica the database again; or STREAM DEST, to any commit
  init STREAM                make a stream for a database, on NATS servers or in a directory
  follow STREAM DEST         a warm standby: a copy that follows a stream, until stopped
  promote DEST               make a standby the primary; the old one can no longer commit
  bench                      what replication costs on these disks
  completion SHELL           a script that completes commands and options in bash, zsh or fish

Options of every command:
  --json       the result as one JSON document on stdout, errors as {"error": {…}}
  --quiet, -q  nothing but errors and the exit status; with --json the document alone
  --help, -h   the arguments, options and results of a command, and examples

  lockstep --version

Exit status: 0 done, 1 failed or the copies differ, 2 wrong usage.`;

/** @returns the exit status */
export async function main(args: string[], io = new Io()): Promise<0 | 1 | 2> {
  const [name, ...all] = args;
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
    io.complain(name === undefined ? usage : `${noCommand(name)}\n\n${usage}`);
    return 2;
  }
  const command = await load();
  const [help] = takeFlags(all, "--help", "-h");
  if (help) {
    io.print(command.usage);
    return 0;
  }
  const [quiet, rest] = takeFlags(all, "--quiet", "-q");
  io.quiet = quiet;
  try {
    return await command.run(rest, io, commands);
  } catch (error) {
    if (isMisuse(error)) {
      io.complain(`${(error as Error).message}${hint(rest, command)}\n\n${command.usage}`);
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

function noCommand(name: string): string {
  const near = suggest(name, Object.keys(commands));
  return `There is no command "${name}".${near === null ? "" : ` Did you mean "${near}"?`}`;
}

/** What an option that the command does not have may have been meant to be. */
function hint(args: readonly string[], { usage: known }: Command): string {
  const unknown = unknownOption(args, known);
  const near = unknown === null ? null : suggest(unknown, optionsIn(known));
  return near === null ? "" : `\nDid you mean ${near}?`;
}

/** Node.js before 25.7 or so calls node:sqlite experimental, once a process; that one is dropped. */
function withoutSqliteWarning(): void {
  const emit = process.emitWarning.bind(process) as (...rest: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (/SQLite is an experimental feature/.test(String(warning))) return;
    emit(warning, ...rest);
  };
}

/** Said once: a program that reads the results must not take them for whole. */
function unwritten({ code, message }: NodeJS.ErrnoException): void {
  process.stdout.on("error", () => {});
  if (code === "EPIPE") return; // a reader that went away (`| head`) is no failure of ours
  process.exitCode = 1;
  process.stderr.write(`Not all of the result could be written: ${message}\n`);
}

withoutSqliteWarning();
// What a command does goes on where it cannot be told: whoever mirrors a database is not ended by a full disk under its log.
process.stderr.on("error", () => {});
process.stdout.once("error", unwritten);
const status = await main(process.argv.slice(2));
process.exitCode ||= status;
