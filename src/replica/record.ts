/**
 * The record beside a copy (lineage/sidecar.ts), for whoever reads the copy while it is written: all of
 * it at one moment, without a lock, and without a trace.
 *
 * Its owner changes it in transactions of SQLite's, past which its bytes are read here, with those of
 * its journal and of what amends it. If all are the same at a second look they are one state, perhaps of a
 * transaction that is under way or was cut off: SQLite takes it back in the copy that it is given. If this process is
 * the owner, the bytes are read through the descriptor that it has: to close another would drop the
 * lock.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { amendmentPath, decodeAmendment } from "../lineage/amendment.ts";
import { descriptorHere } from "../lineage/open-here.ts";
import { sidecarPath } from "../lineage/sidecar.ts";
import { readSnapshot, type SidecarSnapshot } from "../lineage/unlocked.ts";
import { readFully } from "../wal/scan.ts";

/** A file's times are as coarse as the kernel's clock: until then they may hide a second change. */
const SETTLED_MS = 50;
const TRIES = 20;

type Bytes = [record: Buffer, journal: Buffer, amendment: Buffer];

export class RecordReader {
  readonly #driver: Driver;
  readonly #file: string;
  readonly #amendment: string;
  #snapshot: SidecarSnapshot | null = null;
  #stat = "";
  /** When the file was first seen as it is, and when it was last read; of a monotonic clock. */
  #seenAt = 0;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(driver: Driver, copy: string) {
    this.#driver = driver;
    this.#file = sidecarPath(copy);
    this.#amendment = amendmentPath(copy);
  }

  /** What the record says; null if there is none, or if it could not be read at one moment. */
  read(): SidecarSnapshot | null {
    const now = performance.now();
    const stat = `${statOf(this.#file)} ${statOf(this.#amendment)}`;
    if (stat !== this.#stat) {
      this.#stat = stat;
      this.#seenAt = now;
    } else if (this.#readAt - this.#seenAt > SETTLED_MS) {
      return this.#snapshot;
    }
    this.#readAt = now;
    this.#snapshot = this.#readNow();
    if (!this.#snapshot) this.#readAt = Number.NEGATIVE_INFINITY;
    return this.#snapshot;
  }

  #readNow(): SidecarSnapshot | null {
    for (let tries = 0; tries < TRIES; tries++) {
      const first = this.#look();
      const second = this.#look();
      if (!first || !second) return null;
      if (first.every((bytes, i) => bytes.equals(second[i] as Buffer))) return this.#parse(first);
    }
    return null;
  }

  /** All of it; null if it is not there, or was closed just now. */
  #look(): Bytes | null {
    try {
      const fd = descriptorHere(this.#file);
      const record = fd === null ? fs.readFileSync(this.#file) : readAll(fd);
      const journal = `${this.#file}-journal`; // nobody locks it
      const besides = [journal, this.#amendment].map((file) =>
        fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0),
      );
      return [record, ...(besides as [Buffer, Buffer])];
    } catch {
      return null;
    }
  }

  #parse([record, journal, amendment]: Bytes): SidecarSnapshot | null {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "lockstep-record-"));
    try {
      const file = path.join(directory, "record");
      fs.writeFileSync(file, record);
      fs.writeFileSync(`${file}-journal`, journal);
      const connection = this.#driver.open(file);
      try {
        return readSnapshot(connection, decodeAmendment(amendment));
      } finally {
        connection.close();
      }
    } catch {
      return null; // damaged: whoever opens the copy says so
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  }
}

function statOf(file: string): string {
  const stat = fs.statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs}` : "";
}

function readAll(fd: number): Buffer {
  const bytes = Buffer.alloc(fs.fstatSync(fd).size);
  return bytes.subarray(0, readFully(fd, bytes, 0, bytes.length, 0));
}
