/**
 * Where a copy stands that others write: the position that a read beginning now sees, and whether what
 * it sees contains another position. Takes no lock, and says only what is proven:
 *
 *   - while the log has frames, its wal-index names their generation, their number and their checksum;
 *     that is what SQLite's readers go by. The record beside the copy must know that generation, and
 *     the file beneath;
 *   - an index without frames leaves all to the file: what that holds is on record, with the file's
 *     fingerprint;
 *   - a position in the present generation is contained if the log has its checksum at its frame. In
 *     an earlier one it is contained if the record has a later position of that generation, on the same
 *     timeline. Timelines part where a replica was promoted, within a generation too.
 *
 * The connection through which is read must have read once, and stays open: SQLite's index lives as
 * long as somebody has it open.
 */
import fs from "node:fs";
import type { Driver } from "../driver.ts";
import { walPath } from "../lineage/describe.ts";
import { readFingerprint, sameFingerprint } from "../lineage/fingerprint.ts";
import type { Position } from "../lineage/position.ts";
import type { SidecarSnapshot } from "../lineage/unlocked.ts";
import {
  decodeFrameHeader,
  decodeWalHeader,
  frameOffset,
  type Salts,
  type Sums,
  sameSalts,
  sameSums,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { readFully } from "../wal/scan.ts";
import { SharedIndex } from "../wal/shared-index.ts";
import { RecordReader } from "./record.ts";
import { openShared } from "./shared-descriptors.ts";

/** "apart": it is on a branch that this copy's content has left, or never took. */
export type Containment = "contained" | "not yet" | "apart";

/** What a look found. */
export interface Seen {
  readonly position: Position;
  /** Is it the log's last commit? Else what the file holds. */
  readonly isLog: boolean;
  /** Positions that its content has passed through, on the timelines of then. */
  readonly passed: readonly Position[];
}

const TRIES = 3;

export class Standing {
  readonly path: string;
  readonly #index: SharedIndex;
  readonly #record: RecordReader;
  readonly #shmInode: number;
  readonly #inode: string;
  /** Begins a read through SQLite and ends it: an index that is not valid is rebuilt by that. */
  readonly #read: () => void;

  constructor(driver: Driver, path: string, read: () => void) {
    this.path = path;
    this.#read = read;
    const shm = openShared(`${path}-shm`);
    this.#index = new SharedIndex(shm);
    this.#shmInode = fs.fstatSync(shm).ino;
    this.#inode = readFingerprint(path)?.inode ?? "";
    this.#record = new RecordReader(driver, path);
  }

  /** Are the file and its index still those that the connection has open? */
  get isInPlace(): boolean {
    const shm = fs.statSync(`${this.path}-shm`, { throwIfNoEntry: false });
    return shm?.ino === this.#shmInode && readFingerprint(this.path)?.inode === this.#inode;
  }

  /** Null if it cannot be proven just now. */
  look(): Seen | null {
    const index = this.#index;
    for (let tries = 0; tries < TRIES; tries++) {
      if (!index.read()) {
        this.#read();
        if (!index.read()) return null;
      }
      const { salt1, salt2, frames: frame, sum1, sum2 } = index;
      const shown = { salt1, salt2, frame, sum1, sum2 };
      const record = this.#record.read();
      if (!record) return null;
      const seen = frame > 0 ? this.#inLog(shown, record) : this.#inFile(record);
      // The log may have begun anew meanwhile; if it has only grown, more is there than is said.
      if (index.read() && sameSalts(index, shown) && index.frames > 0 === frame > 0) return seen;
    }
    return null;
  }

  /** Does what a read sees contain `target`? */
  contains(target: Position, { position, isLog, passed }: Seen): Containment {
    if (isLog && sameSalts(position, target)) {
      if (target.frame > position.frame) return "not yet";
      const sums = target.frame === position.frame ? position : this.#sumsAt(target);
      if (!sums) return "not yet"; // a new log was begun over it just now
      return sameSums(sums, target) ? "contained" : "apart";
    }
    const generation = passed.filter((p) => sameSalts(p, target));
    const there = generation.filter((p) => p.frame === target.frame);
    if (there.some((p) => sameSums(p, target))) return "contained";
    if (there.length > 0) return "apart";
    const isLater = (p: Position): boolean =>
      p.frame > target.frame && p.timeline === target.timeline;
    return generation.some(isLater) ? "contained" : "not yet";
  }

  /** The log says what it is, if it stands on what is on record. */
  #inLog(shown: Salts & Sums & { frame: number }, record: SidecarSnapshot): Seen | null {
    const { generation, folded, resync, timeline } = record.state;
    if (resync && sameSalts(resync, shown)) return inFile(resync.to, record);
    const known = [generation, folded?.position].some((p) => p && sameSalts(p, shown));
    if (!known || (folded && folded.file.inode !== this.#inode)) return null;
    const below = [folded?.position, generation?.base].filter((p) => p != null);
    const passed = [...record.history, ...below];
    return { position: { timeline, ...shown }, isLog: true, passed };
  }

  #inFile(record: SidecarSnapshot): Seen | null {
    const { folded } = record.state;
    const file = readFingerprint(this.path);
    if (!folded || !file || !sameFingerprint(folded.file, file)) return null;
    return inFile(folded.position, record);
  }

  /** The checksum that the log carries at the target's frame, if that is of its generation. */
  #sumsAt(target: Position): Sums | null {
    const log = walPath(this.path);
    if (!fs.existsSync(log)) return null;
    const fd = fs.openSync(log, "r"); // nobody locks a log
    try {
      const head = new Uint8Array(WAL_HEADER_SIZE);
      const at = target.frame === 0 ? 0 : frameOffset(target.frame, this.#index.pageSize);
      if (readFully(fd, head, 0, head.length, at) < head.length) return null;
      const found = target.frame === 0 ? decodeWalHeader(head) : decodeFrameHeader(head, 0);
      return found && sameSalts(found, target) ? found : null;
    } finally {
      fs.closeSync(fd);
    }
  }
}

/** What the file holds is on record. */
function inFile(position: Position, { state, history }: SidecarSnapshot): Seen {
  const { timeline } = state;
  return { position: { ...position, timeline }, isLog: false, passed: [...history, position] };
}
