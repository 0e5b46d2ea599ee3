/**
 * What is remembered of a transaction while it is open: when it began, with which statement, and where the
 * application was then. A transaction that somebody forgot to end is found by this.
 *
 * A statement that is its own transaction leaves nothing behind, and is not remembered: it pays a comparison.
 * To remember where costs microseconds; so that is done only if it was last done so long before that it can
 * take no more than a hundredth of the time, whatever the load. The text is made of it when somebody asks.
 */
import path from "node:path";
import type { OpenTransaction } from "../warning.ts";

/** So much time passes between two stacks, in milliseconds. */
const APART_MS = 0.5;
/** How deep it looks; the upper few are Lockstep's own. */
const FRAMES = 16;
const STATEMENT_CHARS = 200;
/** Where Lockstep's own modules lie. */
const OURS = path.dirname(import.meta.dirname);

let lastAt = Number.NEGATIVE_INFINITY;

export class Begun implements OpenTransaction {
  readonly begunAt = performance.now();
  readonly #statement: unknown;
  readonly #place: { stack?: string } | null;

  /** @param statement the SQL, or the driver's object that has it; null: it was not seen to begin */
  constructor(statement: unknown) {
    this.#statement = statement;
    const isSeen = statement !== null && this.begunAt - lastAt >= APART_MS;
    this.#place = isSeen ? here() : null;
    if (isSeen) lastAt = this.begunAt;
  }

  get statement(): string | null {
    const { sourceSQL, source } = Object(this.#statement);
    const template = Array.isArray(this.#statement) ? this.#statement.join("?") : null;
    const text = [this.#statement, sourceSQL, source, template].find(isString);
    if (text === undefined) return null;
    const line = text.trim().replaceAll(/\s+/g, " ");
    return line.length > STATEMENT_CHARS ? `${line.slice(0, STATEMENT_CHARS)}…` : line;
  }

  /** Without Lockstep's own frames and without the first line, which is no error's. */
  get stack(): string | null {
    const frames = this.#place?.stack?.split("\n").slice(1) ?? [];
    const theirs = frames.filter((frame) => !frame.includes(OURS)).map((frame) => frame.trim());
    return theirs.length > 0 ? theirs.join("\n") : null;
  }
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

/** V8 keeps the frames, and makes a text of them when it is asked for. */
function here(): { stack?: string } | null {
  const { stackTraceLimit } = Error;
  const place = {};
  try {
    Error.stackTraceLimit = FRAMES;
    Error.captureStackTrace(place);
    Error.stackTraceLimit = stackTraceLimit;
    return place;
  } catch {
    return null; // intrinsics are frozen
  }
}
