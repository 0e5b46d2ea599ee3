/**
 * `<file>-lockstep-rot`: the pages that had rotted in a copy, as they were read before they were
 * replaced. One JSON object a line: {"at", "page", "checksum", "expected", "bytes"}, the page in base64.
 * It is appended to and never read here: it is for whoever wants to know what happened to the disk.
 */
import fs from "node:fs";
import path from "node:path";
import { syncDirectory } from "../targets/directory.ts";

export function rotPath(copy: string): string {
  return `${copy}-lockstep-rot`;
}

export class RotLog {
  readonly #copy: string;
  #fd: number | null = null;

  constructor(copy: string) {
    this.#copy = copy;
  }

  add(page: number, bytes: Uint8Array, checksum: number, expected: number): void {
    this.#fd ??= fs.openSync(rotPath(this.#copy), "a", 0o600);
    const at = new Date().toISOString();
    const base64 = Buffer.from(bytes).toString("base64");
    fs.appendFileSync(
      this.#fd,
      `${JSON.stringify({ at, page, checksum, expected, bytes: base64 })}\n`,
    );
  }

  /** All of it is on stable storage. */
  finish(): void {
    if (this.#fd === null) return;
    fs.fsyncSync(this.#fd); // durable: rotten pages are kept before they are replaced
    syncDirectory(path.dirname(this.#copy)); // durable: the name of the rotten pages
  }

  close(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
  }
}
