/**
 * What a command says, and to whom: its result to stdout, as text or one JSON document; progress
 * and errors to stderr, as a live bar on a terminal and as plain lines now and then elsewhere.
 */
import { styleText } from "node:util";
import { LockstepError } from "../errors.ts";
import type { Canvas } from "./chart.ts";

/** A terminal, a pipe or a file; `isTTY`, `columns`, `rows` and `hasColors` as Node.js gives them. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  /** Says no if the environment does: `NO_COLOR`, `TERM=dumb`. */
  hasColors?(): boolean;
  write(text: string): unknown;
}

/** Wrong use of the command line: exit status 2. */
export class UsageError extends Error {}

/** Bytes of a piece of work: what is done of how much, and how fast in bytes a second. */
export interface Work {
  readonly what: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
}

/** A piece of work in steps that take about the same time. */
export interface Steps {
  readonly what: string;
  /** The one that is being done. */
  readonly step: string;
  readonly stepsDone: number;
  readonly stepsTotal: number;
}

export class Io {
  /** Says nothing but errors, and the documents of `--json`. */
  quiet = false;
  readonly #out: Output;
  readonly #err: Output;
  /** The work whose bar stands on the terminal, or whose lines were last printed. */
  #what = "";
  #printedAt = Number.NEGATIVE_INFINITY;
  #live = false;
  /** How many lines of the last block stand on the terminal. */
  #blockLines = 0;

  constructor(out: Output = process.stdout, err: Output = process.stderr) {
    this.#out = out;
    this.#err = err;
  }

  /** A line of the result. */
  print(line: string): void {
    if (this.quiet) return;
    this.#endBar();
    this.#out.write(`${line}\n`);
  }

  /** The whole result, for programs. */
  json(value: unknown): void {
    this.#endBar();
    this.#out.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** One of many results, for programs: an object a line. */
  line(value: unknown): void {
    this.#endBar();
    this.#out.write(`${JSON.stringify(value)}\n`);
  }

  /**
   * A block of lines of the result, one of many. On a terminal it takes the place of the one before,
   * each line cut to its width, as many as it shows; elsewhere they follow one another.
   */
  block(lines: readonly string[]): void {
    if (this.quiet) return;
    this.#endBar();
    if (!this.#out.isTTY) {
      this.#out.write(`${lines.join("\n")}\n\n`);
      return;
    }
    const { columns = 80, rows = 24 } = this.#out;
    const shown = lines.slice(0, rows - 1).map((line) => line.slice(0, columns - 1));
    const back = this.#blockLines > 0 ? `\x1b[${this.#blockLines}F` : "";
    this.#out.write(`${back}\x1b[J${shown.join("\n")}\n`);
    this.#blockLines = shown.length;
  }

  /** How things stand: on a terminal it takes the place of what was said before. */
  status(line: string): void {
    if (this.quiet) return;
    if (!this.#err.isTTY) {
      this.note(line);
      return;
    }
    if (this.#what !== "status") this.#endBar();
    this.#err.write(`\r\x1b[2K${line.slice(0, (this.#err.columns ?? 80) - 1)}`);
    this.#what = "status";
    this.#live = true;
  }

  /** Is what is said for people read on a terminal? */
  get isTerminal(): boolean {
    return this.#err.isTTY === true;
  }

  /** What a drawing among the result's lines is drawn on. */
  get canvas(): Canvas {
    const terminal = this.#out.isTTY === true;
    const color = terminal && (this.#out.hasColors?.() ?? false);
    const columns = terminal ? this.#out.columns : Number(process.env["COLUMNS"]);
    return { terminal, color, columns: columns || 80 };
  }

  /** A line for people that is not the result. */
  note(line: string): void {
    if (!this.quiet) this.complain(line);
  }

  /** A line about wrong use. */
  complain(line: string): void {
    this.#endBar();
    this.#err.write(`${line}\n`);
  }

  /** The state of long work; call it as often as you like. */
  progress(work: Work | Steps): void {
    if (this.quiet) return;
    const [workDone, total] = amounts(work);
    const done = workDone >= total;
    const isNew = work.what !== this.#what;
    if (this.#err.isTTY) {
      if (isNew) this.#endBar();
      if (!isNew && !done && performance.now() - this.#printedAt < REDRAW_MS) return;
      this.#err.write(`\r\x1b[2K${bar(work, (this.#err.columns ?? 80) - 1)}`);
      this.#live = true;
    } else {
      if (!done && !isNew && performance.now() - this.#printedAt < PLAIN_MS) return;
      if (isNew && !done) this.#err.write(`${work.what} …\n`);
      else this.#err.write(`${work.what} ${amount(work)}\n`);
    }
    this.#what = done ? "" : work.what;
    this.#printedAt = performance.now();
    if (done) this.#endBar();
  }

  /** An error: its code, what happened, what state the data is in, what to do next. */
  error(error: unknown): void {
    this.#endBar();
    const color = this.#err.isTTY === true && (this.#err.hasColors?.() ?? false);
    const loud = (text: string): string =>
      color ? styleText(["bold", "red"], text, { validateStream: false }) : text;
    if (error instanceof LockstepError) {
      const copy = error.copy === null ? "" : ` ${error.copy}`;
      this.#err.write(`${loud(error.code)}${copy}\n`);
      this.#err.write(`  what   ${error.what}.\n`);
      this.#err.write(`  state  ${error.state}.\n`);
      this.#err.write(`  next   ${error.next}.\n`);
    } else {
      const { stack, message, code } = error as NodeJS.ErrnoException;
      // What the system or SQLite says is clear enough; a defect of ours needs its stack.
      this.#err.write(`${loud("error")} ${code === undefined ? (stack ?? message) : message}\n`);
    }
  }

  #endBar(): void {
    if (this.#live) this.#err.write("\n");
    this.#live = false;
    this.#what = "";
  }
}

/** The shape of an error in `--json`: `{"error": {code, copy, what, state, next}}`. */
export function errorJson(error: unknown): { error: Record<string, string | null> } {
  if (error instanceof LockstepError) {
    const { code, copy, what, state, next } = error;
    return { error: { code, copy, what, state, next } };
  }
  const { code, message } = error as NodeJS.ErrnoException;
  return { error: { code: code ?? null, copy: null, what: message, state: null, next: null } };
}

/** `12.3 MB`: powers of ten, as disks are sold. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

// --- internal ---

const REDRAW_MS = 100;
const PLAIN_MS = 2000;
const BAR_MAX = 30;

/** `copy /mnt/usb/app.db [#####-----]  50 % 5.0 MB of 10.0 MB, 5.0 MB/s`, cut to the terminal. */
function bar(work: Work | Steps, columns: number): string {
  const [done, total] = amounts(work);
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const text = `${work.what} `;
  const numbers = ` ${String(Math.floor(share * 100)).padStart(3)} % ${amount(work)}`;
  const width = Math.min(BAR_MAX, columns - text.length - numbers.length - 2);
  if (width < 5) return (text + numbers.trimStart()).slice(0, columns);
  const filled = Math.round(share * width);
  return `${text}[${"#".repeat(filled)}${"-".repeat(width - filled)}]${numbers}`;
}

/** What is done, of how much. */
function amounts(work: Work | Steps): [number, number] {
  return "step" in work ? [work.stepsDone, work.stepsTotal] : [work.bytesDone, work.bytesTotal];
}

function amount(work: Work | Steps): string {
  if ("step" in work) return `${work.stepsDone} of ${work.stepsTotal}: ${work.step}`;
  const { bytesDone, bytesTotal, bytesPerSecond } = work;
  const speed = bytesPerSecond > 0 ? `, ${bytes(bytesPerSecond)}/s` : "";
  return `${bytes(bytesDone)} of ${bytes(bytesTotal)}${speed}`;
}
