/**
 * Nothing left to do something with: a limit of this process's, or the system's, and no copy's failure. It may be over in a moment;
 * whatever can wait is put off.
 */
import fs from "node:fs";
import { isCannotOpen } from "./driver.ts";

/** Does it mean that there is no descriptor, thread or memory to be had just now? */
export function isShortage(error: unknown): boolean {
  if (SHORTAGES.has((error as { code?: unknown }).code)) return true;
  return isCannotOpen(error) && isOutOfDescriptors();
}

/**
 * What `open` opens, or null if there is nothing left to do it with. A shortage may be over when it is looked whether there
 * is one: what SQLite cannot open is tried again before it is believed that something else is the matter.
 */
export function unlessShort<T>(open: () => T): T | null {
  for (let tries = 1; ; tries++) {
    try {
      return open();
    } catch (error) {
      if (isShortage(error)) return null;
      if (!isCannotOpen(error) || tries === TRIES) throw error;
    }
  }
}

// --- internal ---

const TRIES = 10;

const SHORTAGES: ReadonlySet<unknown> = new Set([
  ...["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"],
  ...["ERR_WORKER_INIT_FAILED", "ERR_WORKER_OUT_OF_MEMORY"],
]);

/** A connection's: the file, its log, its index, and one to spare. */
const DESCRIPTORS = 4;

/** SQLite does not say why it cannot open a file: then it is tried whether as many as it takes can be opened. */
function isOutOfDescriptors(): boolean {
  const opened: number[] = [];
  try {
    while (opened.length < DESCRIPTORS) opened.push(fs.openSync(import.meta.filename, "r"));
    return false;
  } catch (error) {
    return SHORTAGES.has((error as { code?: unknown }).code);
  } finally {
    for (const descriptor of opened) fs.closeSync(descriptor);
  }
}
