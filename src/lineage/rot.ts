/**
 * `<file>-lockstep-rot`: the pages that had rotted in a copy, as they were read before they were
 * replaced. One JSON object a line: {"at", "page", "checksum", "expected", "bytes"}, the page in base64.
 * It is appended to and never read here: it is for whoever wants to know what happened to the disk. A line that
 * is no such object was cut off, by a crash.
 */
import fs from "node:fs";
import path from "node:path";
import { syncDirectory } from "../targets/directory.ts";
import { readFully, writeFully } from "../wal/scan.ts";

export function rotPath(copy: string): string {
  return `${copy}-lockstep-rot`;
}

export class RotLog {
  readonly #copy: string;
  readonly #most: number;
  #fd: number | null = null;
  /** How long it was found, and is now. */
  #before = 0;
  #length = 0;
  #isFinished = false;

  /** @param most how large the file may become, in bytes */
  constructor(copy: string, most = Number.POSITIVE_INFINITY) {
    this.#copy = copy;
    this.#most = most;
  }

  /** @throws what the system says; an Error if the file would become too large */
  add(page: number, bytes: Uint8Array, checksum: number, expected: number): void {
    const at = new Date().toISOString();
    const base64 = Buffer.from(bytes).toString("base64");
    const line = `${JSON.stringify({ at, page, checksum, expected, bytes: base64 })}\n`;
    const fd = (this.#fd ??= this.#open());
    const text = Buffer.from(this.#endsLine(fd) ? line : `\n${line}`);
    if (this.#length + text.length > this.#most) throw new Error("enough was kept aside");
    writeFully(fd, text, 0, text.length, this.#length);
    this.#length += text.length;
  }

  /** All of it is on stable storage, and stays. */
  finish(): void {
    if (this.#fd === null) return;
    fs.fsyncSync(this.#fd); // durable: rotten pages are kept before they are replaced
    syncDirectory(path.dirname(this.#copy)); // durable: the name of the rotten pages
    this.#isFinished = true;
  }

  /** What was added and not finished is taken back. */
  close(): void {
    if (this.#fd === null) return;
    try {
      if (!this.#isFinished) fs.ftruncateSync(this.#fd, this.#before);
    } catch {
      // It does no harm.
    }
    fs.closeSync(this.#fd);
  }

  #open(): number {
    const fd = fs.openSync(rotPath(this.#copy), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
    this.#before = this.#length = fs.fstatSync(fd).size;
    return fd;
  }

  /** Does what is there end with the end of a line? Else it was cut off. */
  #endsLine(fd: number): boolean {
    const last = Buffer.from("\n");
    if (this.#length > 0) readFully(fd, last, 0, 1, this.#length - 1);
    return last.toString() === "\n";
  }
}
