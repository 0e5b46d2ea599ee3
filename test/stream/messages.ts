/** Messages of tests: each different, each of which says which it is. */
import { randomBytes } from "node:crypto";
import type { Entry, StreamLog } from "../../src/stream/log.ts";

/** As a writer's, no two are equal. */
export function message(text: string, size = 0): Uint8Array {
  const head = Buffer.from(`${text} ${randomBytes(8).toString("hex")} `);
  return Buffer.concat([head, randomBytes(Math.max(0, size - head.length))]);
}

export function textOf(entry: Entry | null): string | null {
  return entry === null ? null : (Buffer.from(entry.bytes).toString("latin1").split(" ")[0] ?? "");
}

/** Appends messages one after the other from the end on. @returns what was appended, by place */
export async function fill(
  log: StreamLog,
  count: number,
  size = 0,
): Promise<Map<number, Uint8Array>> {
  const filled = new Map<number, Uint8Array>();
  let { last } = await log.ends();
  for (let i = 0; i < count; i++) {
    const bytes = message(`m${last + 1}`, size);
    const there = await log.append(bytes, last, soon());
    if (there !== null) throw new Error(`place ${last + 1} was taken`);
    filled.set(++last, bytes);
  }
  return filled;
}

export async function all(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

/** A deadline that a test is not meant to see. */
export const soon = (): AbortSignal => AbortSignal.timeout(40_000);
