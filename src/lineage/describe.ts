/**
 * Look at one copy: what is there, which position it holds, and how we know.
 *
 * Reads the file's stat, its `-wal` and its sidecar; opens no database, takes no lock, changes
 * nothing, so it may look at a copy that is in use.
 */
import fs from "node:fs";
import path from "node:path";
import type { Commit } from "../wal/chain.ts";
import { type Salts, sameSalts, type WalHeader } from "../wal/format.ts";
import { scanLog } from "../wal/scan.ts";
import { type Fingerprint, readFingerprint, sameFingerprint } from "./fingerprint.ts";
import { type Position, samePosition } from "./position.ts";
import type { SidecarState } from "./sidecar.ts";

export interface Copy {
  readonly path: string;
  /** "missing": no file or an empty one. */
  readonly file: "missing" | "present";
  readonly bytes: number;
  /** The file system that its directory is on; null if there is no directory. */
  readonly device: string | null;
  /** The log, if it holds a committed transaction. */
  readonly log: { readonly header: WalHeader; readonly commits: readonly Commit[] } | null;
  readonly state: SidecarState | null;
  readonly history: readonly Position[];
  /** What the copy holds, if that is proven; else null. */
  readonly position: Position | null;
  /** The content under the first frame of `log`, if proven. */
  readonly base: Position | null;
  /** How the position is known, or why it is not: a clause for messages. */
  readonly because: string;
}

/** Of a sidecar, what proves. */
type Known = { readonly state: SidecarState; readonly history: readonly Position[] };

export function describeCopy(name: string, sidecar: Known | null): Copy {
  const file = readFingerprint(name);
  const present = file !== null && file.size !== "0";
  const scan = present ? scanLog(walPath(name)) : null;
  const log = scan && scan.commits.length > 0 ? scan : null;
  const state = sidecar?.state ?? null;
  const proof: Proof =
    present && sidecar ? prove(sidecar, file, log) : unproven("it has no record of its lineage");
  return {
    path: name,
    file: present ? "present" : "missing",
    device: deviceOf(path.dirname(name)),
    bytes: present ? Number(file.size) : 0,
    log,
    state,
    history: sidecar?.history ?? [],
    ...proof,
  };
}

export function walPath(copy: string): string {
  return `${copy}-wal`;
}

/** How many committed frames the copy's log has. */
export function logFrames(copy: Copy): number {
  return copy.log?.commits.at(-1)?.frame ?? 0;
}

/** The commit that ends at `frame` of the copy's log, if there is one. */
export function commitAt(copy: Copy, frame: number): Commit | null {
  return copy.log?.commits.find((commit) => commit.frame === frame) ?? null;
}

/** Is there a file that is not empty? */
export function isThere(file: string): boolean {
  return (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Follows symbolic links, to a missing file as well, so that one file has one name. */
export function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    if (fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()) {
      return realPath(path.resolve(path.dirname(file), fs.readlinkSync(file)));
    }
    const parent = path.dirname(path.resolve(file));
    if (!fs.existsSync(parent)) return path.resolve(file);
    return path.join(fs.realpathSync(parent), path.basename(file));
  }
}

/** The file system that a directory is on; null if there is none. */
export function deviceOf(directory: string): string | null {
  const stat = fs.statSync(directory, { bigint: true, throwIfNoEntry: false });
  return stat ? String(stat.dev) : null;
}

// --- internal ---

interface Proof {
  readonly position: Position | null;
  readonly base: Position | null;
  readonly because: string;
}

function unproven(because: string): Proof {
  return { position: null, base: null, because };
}

/**
 * What a copy holds, in order:
 * (1) no log, and a file unchanged since it was folded: what was folded then;
 * (2) the log of a re-synchronisation that was begun: what it leads to;
 * (3) a log of the generation on record: its last commit. The file beneath may have changed only
 *     by a checkpoint of ours; else a log was left beside a file that was replaced;
 * (4) a log that is folded whole, beside a file unchanged since: what was folded then (the next
 *     generation was put on record, its header was not written);
 * (5) beside a primary a log begun after the file was folded, the file unchanged since: everything
 *     since then stands in that log. One of a generation that is closed was not begun, but put back
 *     there. Beside a replica every log is on record before its first byte (mirror/delivery.ts):
 *     one that is not was begun by another program.
 */
function prove({ state, history }: Known, file: Fingerprint, log: Copy["log"]): Proof {
  const { generation, folded } = state;
  const unchanged = folded !== null && sameFingerprint(folded.file, file);
  if (!log) {
    if (!folded) return unproven("its record names no position");
    if (!unchanged) return unproven("its file was written since Lockstep last closed it");
    return { position: folded.position, base: null, because: "unchanged since it was closed" };
  }
  const last = log.commits[log.commits.length - 1] as Commit;
  const position: Position = {
    timeline: state.timeline,
    salt1: log.header.salt1,
    salt2: log.header.salt2,
    frame: last.frame,
    sum1: last.sum1,
    sum2: last.sum2,
  };
  if (state.resync && sameSalts(state.resync, log.header)) {
    return { position: state.resync.to, base: null, because: "its re-synchronisation is complete" };
  }
  if (generation && sameSalts(generation, log.header)) {
    if (!unchanged && !state.folding) {
      return unproven("its file was written by another program beneath the log");
    }
    if (folded && lost(folded.position, position, log)) {
      return unproven("its log has lost frames that its file already holds");
    }
    return { position, base: generation.base, because: "its log" };
  }
  if (unchanged && samePosition(folded.position, position)) {
    return { position, base: null, because: "its log, folded whole" };
  }
  const closed = [...history, folded?.position].some((p) => p && sameSalts(p, log.header));
  const foreign = unproven("its log was begun by another program");
  // durable: no foreign log is rolled forward
  if (state.role !== "primary" || closed) return foreign;
  if (!unchanged || !follows(folded.position, log.header, generation)) return foreign;
  return { position, base: folded.position, because: "its log, begun since the last checkpoint" };
}

/** Does the file hold frames of this generation that the log no longer shows? */
function lost(folded: Position, position: Position, log: NonNullable<Copy["log"]>): boolean {
  if (!sameSalts(folded, position)) return false;
  const there = log.commits.find((commit) => commit.frame === folded.frame);
  return !there || !samePosition(folded, { ...folded, sum1: there.sum1, sum2: there.sum2 });
}

/**
 * Could this log be the next one after the folded position? SQLite counts restarts of a log file in
 * its header and raises the first salt by one; a file made anew starts at 0 with fresh salts.
 */
function follows(folded: Position, header: WalHeader, generation: Salts | null): boolean {
  if (header.checkpoint === 0) return true;
  const before = generation ?? folded;
  return header.salt1 === ((before.salt1 + 1) & 0xffffffff) >>> 0;
}
