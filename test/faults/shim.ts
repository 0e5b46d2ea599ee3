/**
 * This side of shim.c: builds it, sets the rules, reads the record.
 */
import fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildLibrary, skipWithout } from "../support/preload.ts";

/** The library, or why there is none. */
export const shim = buildLibrary(join(import.meta.dirname, "shim.c"));

/** For `test(name, { skip }, …)`. */
export const skip = skipWithout(shim);

/** Several calls of the C library's share a kind, see shim.c. */
export type Kind =
  | "read"
  | "write"
  | "open"
  | "truncate"
  | "rename"
  | "unlink"
  | "sync"
  | "utimens"
  | "lock"
  | "unlock"
  | "statfs";

/** A call that was made, or was made to fail. */
export interface Call {
  /** In nanoseconds. One call came before another if and only if it ended before that began. */
  readonly begin: number;
  readonly end: number;
  readonly pid: number;
  readonly tid: number;
  readonly kind: Kind;
  /** Below the root; of a rename the new name. */
  readonly path: string;
  /** The old name, the offset and length, the flags, the kind of lock. */
  readonly detail: string;
  readonly result: number;
  /** "" or the name of the error. */
  readonly error: string;
}

export type Errno =
  | "EINVAL"
  | "EIO"
  | "ENOSPC"
  | "EDQUOT"
  | "ESTALE"
  | "EROFS"
  | "EACCES"
  | "ENODEV"
  | "ENOENT";

export interface Rule {
  readonly on: Kind | "*";
  /** How the path ends, a pattern of the shell's; with a slash at its end that directory and all below. */
  readonly path: string;
  /**
   * From the n-th matching call on, counted from when the rules were set; default 1. "then": from
   * when the first rule has acted.
   */
  readonly nth?: number | "then";
  /** How many times; default forever. */
  readonly times?: number;
  readonly does:
    | { readonly error: Errno }
    | { readonly short: number }
    | { readonly delay: number }
    | "flip"
    | "vanish"
    | "hang"
    | "kill"
    | "killgroup";
}

const FOREVER = 1e9;
const COUNTERS_BYTES = 64 * 8;

/** The faults of the processes that are started with `env`, for paths below `root`. */
export class Faults {
  readonly root: string;
  readonly env: Record<string, string>;
  readonly #log: string;
  readonly #control: string;
  readonly #counters: string;

  constructor(root: string, scratch: string) {
    if ("reason" in shim) throw new Error(shim.reason);
    this.root = fs.realpathSync(root);
    this.#log = join(scratch, "calls");
    this.#control = join(scratch, "rules");
    this.#counters = join(scratch, "counters");
    this.env = {
      LD_PRELOAD: shim.path,
      FAULTS_ROOT: `${this.root}/`,
      FAULTS_LOG: this.#log,
      FAULTS_CONTROL: this.#control,
      FAULTS_COUNTERS: this.#counters,
    };
    this.set();
  }

  /** From now on these rules and no others. */
  set(...rules: readonly Rule[]): void {
    const lines = rules.map(({ on, path, nth = 1, times = FOREVER, does }) => {
      const [action, argument] = typeof does === "string" ? [does, ""] : Object.entries(does)[0]!;
      return `${on} ${path} ${nth === "then" ? 0 : nth} ${times} ${action} ${argument}\n`;
    });
    // No call may see new rules with old counters, or half of the rules.
    fs.writeFileSync(`${this.#control}-new`, "");
    fs.renameSync(`${this.#control}-new`, this.#control);
    fs.writeFileSync(this.#counters, Buffer.alloc(COUNTERS_BYTES), {
      flag: fs.existsSync(this.#counters) ? "r+" : "w",
    });
    fs.writeFileSync(`${this.#control}-new`, lines.join(""));
    fs.renameSync(`${this.#control}-new`, this.#control);
  }

  /** Resolves when a call hangs. */
  async hanging(): Promise<void> {
    while (!this.record().some(({ detail }) => detail === "hangs")) await sleep(5);
  }

  /** How many calls matched rule `i` since the rules were set. */
  matched(i: number): number {
    return Number(fs.readFileSync(this.#counters).readBigUInt64LE(i * 8));
  }

  /** Everything that was recorded, in the order in which the calls ended. */
  record(): Call[] {
    if (!fs.existsSync(this.#log)) return [];
    const calls = fs.readFileSync(this.#log, "utf8").split("\n").slice(0, -1).map(parse);
    return calls.map((call) => ({ ...call, path: this.#below(call.path) }));
  }

  /** Forgets what was recorded. */
  clear(): void {
    fs.writeFileSync(this.#log, ""); // the same file: processes have it open
  }

  #below(path: string): string {
    return path.startsWith(`${this.root}/`) ? path.slice(this.root.length + 1) : path;
  }
}

function parse(line: string): Call {
  const [begin, end, pid, tid, kind, path, detail, result, error] = line.split("\t");
  return {
    begin: Number(begin),
    end: Number(end),
    pid: Number(pid),
    tid: Number(tid),
    kind: kind as Kind,
    path: path as string,
    detail: detail as string,
    result: Number(result),
    error: error as string,
  };
}
