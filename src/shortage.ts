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

// --- internal ---

const SHORTAGES: ReadonlySet<unknown> = new Set([
  ...["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"],
  ...["ERR_WORKER_INIT_FAILED", "ERR_WORKER_OUT_OF_MEMORY"],
]);

/** SQLite does not say why it cannot open a file: then it is tried whether another can be opened. */
function isOutOfDescriptors(): boolean {
  try {
    fs.closeSync(fs.openSync(import.meta.filename, "r"));
    return false;
  } catch (error) {
    return SHORTAGES.has((error as { code?: unknown }).code);
  }
}
