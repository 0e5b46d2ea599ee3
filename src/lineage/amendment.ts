/**
 * `<file>-lockstep-amended`: what has changed in a copy's record (sidecar.ts) since that was written last.
 *
 * A transaction of SQLite's takes four syncs, and commits wait for the records that a checkpoint needs. So
 * these are written here, which takes one sync: two slots of 4096 bytes, in turns. A slot, with integers
 * big-endian:
 *
 *   0  CRC-32 of all that follows of the slot
 *   4  the length of the text, in bytes
 *   8  the text, JSON: an `Amendment`; then whatever stood there before
 *
 * Of two that are whole the one with the higher number counts; and that only if it is of the record that it
 * lies beside: the same copy, and the same version, for each transaction of the record raises that and
 * holds all that stood here. A slot that was torn by a power cut was not synced yet; then the other is
 * as it was.
 *
 * It is made when something is to be written for the first time, by whoever has the record's lock, and
 * removed when that is given up.
 */
import fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import { syncDirectory } from "../targets/directory.ts";
import { readFully, writeFully } from "../wal/scan.ts";
import { type Amendment, isAmendment } from "./record.ts";

export function amendmentPath(copy: string): string {
  return `${copy}-lockstep-amended`;
}

/** The newest amendment of those bytes, as it claims to be; null if there is none. */
export function decodeAmendment(bytes: Uint8Array): Amendment | null {
  const slots = [0, SLOT_SIZE].map((at) => decodeSlot(bytes.subarray(at, at + SLOT_SIZE)));
  const whole = slots.filter((slot) => slot !== null);
  return whole.sort((a, b) => b.number - a.number)[0] ?? null;
}

/** What lies beside a copy; null if there is none. To be read before the record. */
export function readAmendment(copy: string): Amendment | null {
  let fd: number;
  try {
    fd = fs.openSync(amendmentPath(copy), "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(2 * SLOT_SIZE);
    return decodeAmendment(bytes.subarray(0, readFully(fd, bytes, 0, bytes.length, 0)));
  } finally {
    fs.closeSync(fd);
  }
}

/** The file of a copy whose record is locked here. */
export class AmendmentFile {
  readonly #path: string;
  readonly #mode: number;
  #fd = -1;
  #number = 0;

  /** @param mode as the record's: whoever may read that may read this */
  constructor(copy: string, mode: number) {
    this.#path = amendmentPath(copy);
    this.#mode = mode;
  }

  /**
   * Durable when it returns.
   * @returns false if it does not fit; then nothing was written
   */
  write(amendment: Amendment): boolean {
    const slot = encodeSlot({ ...amendment, number: this.#number + 1 });
    if (slot.length > SLOT_SIZE) return false;
    if (this.#fd >= 0 && fs.fstatSync(this.#fd).nlink > 0) {
      writeFully(this.#fd, slot, 0, slot.length, (this.#number % 2) * SLOT_SIZE);
      fs.fdatasyncSync(this.#fd); // durable: an amendment
    } else this.#make(slot);
    this.#number++;
    return true;
  }

  /** What it says counts no more. */
  remove(): void {
    this.close();
    fs.rmSync(this.#path, { force: true });
  }

  close(): void {
    if (this.#fd >= 0) fs.closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Makes it anew; one that is there amends a version that is past. */
  #make(slot: Uint8Array): void {
    this.remove();
    this.#fd = fs.openSync(this.#path, "wx", this.#mode | 0o600);
    try {
      const bytes = Buffer.alloc(2 * SLOT_SIZE);
      bytes.set(slot, (this.#number % 2) * SLOT_SIZE);
      writeFully(this.#fd, bytes, 0, bytes.length, 0);
      fs.fsyncSync(this.#fd); // durable: the first amendment
      syncDirectory(path.dirname(this.#path)); // durable: the name of amendments
    } catch (error) {
      this.close(); // the next one is the first again
      throw error;
    }
  }
}

// --- internal ---

const SLOT_SIZE = 4096;
const SLOT_HEADER_SIZE = 8;

type Numbered = Amendment & { readonly number: number };

function encodeSlot(amendment: Numbered): Buffer {
  const text = Buffer.from(JSON.stringify(amendment));
  const slot = Buffer.concat([Buffer.alloc(SLOT_HEADER_SIZE), text]);
  slot.writeUInt32BE(text.length, 4);
  slot.writeUInt32BE(crc32(slot.subarray(4)), 0);
  return slot;
}

function decodeSlot(slot: Uint8Array): Numbered | null {
  if (slot.length < SLOT_HEADER_SIZE) return null;
  const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
  const end = SLOT_HEADER_SIZE + view.getUint32(4);
  if (end > slot.length || view.getUint32(0) !== crc32(slot.subarray(4, end))) return null;
  const found: unknown = JSON.parse(new TextDecoder().decode(slot.subarray(SLOT_HEADER_SIZE, end)));
  return isAmendment(found) && isNumbered(found) ? found : null;
}

function isNumbered(amendment: Amendment): amendment is Numbered {
  return "number" in amendment && Number.isSafeInteger(amendment.number);
}
