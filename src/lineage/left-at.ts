/**
 * Where asynchronous streams may have been left. Nobody waits for one, so it may stand at any commit that was sent to it,
 * and a log that begins anew takes along what proves that this is the copy's own past. So before that two things
 * are on record, and neither grows with the number of checkpoints:
 *
 *   leftAt          in the record (sidecar.ts): by stream the few commits at which it may stand, where that is known
 *   <file>-lockstep-left   where it is not, for the stream was not looked at since the start: all commits of the log, a
 *                   line each as `formatPosition` writes them; put in place by a rename, removed once it is known
 *
 * Each names a commit of this copy by its checksum: one that matches is proof, too many of them do no harm.
 */
import fs from "node:fs";
import path from "node:path";
import { syncDirectory } from "../targets/directory.ts";
import type { Copy } from "./describe.ts";
import { formatPosition, type LeftAt, type Position, parsePosition } from "./position.ts";
import type { SidecarState } from "./sidecar.ts";

/** Lines at most. Those that came first stay: no stream was looked at since, and so none is further. */
const MOST = 200_000;

/** What a primary knows of its asynchronous streams. */
export class Later {
  /** Where they may be when the log begins anew. */
  at: LeftAt;
  /** Are there any, today or on record? */
  areAny: boolean;
  /** Are all commits kept of those that were not looked at since the start? */
  isKept = false;

  constructor({ leftAt = {} }: SidecarState) {
    this.at = leftAt;
    this.areAny = Object.keys(leftAt).length > 0;
  }
}

export function leftPath(copy: string): string {
  return `${copy}-lockstep-left`;
}

/** All commits of its log. */
export function commitsOf({ log, state }: Copy): Position[] {
  if (!log || !state) return [];
  const { salt1, salt2 } = log.header;
  return log.commits.map(({ frame, sum1, sum2 }) => {
    return { timeline: state.timeline, salt1, salt2, frame, sum1, sum2 };
  });
}

/** With what its past is besides: where asynchronous streams may have been left. */
export function withPast(copy: Copy): Copy {
  const left = [...Object.values(copy.state?.leftAt ?? {}).flat(), ...readLeft(copy.path)];
  return left.length === 0 ? copy : { ...copy, history: [...copy.history, ...left] };
}

/** None if there is no such file; what cannot be read proves nothing. */
export function readLeft(copy: string): Position[] {
  try {
    const lines = fs.readFileSync(leftPath(copy), "utf8").split("\n");
    return lines.flatMap((line) => parsePosition(line) ?? []);
  } catch {
    return [];
  }
}

/** Adds commits; durable when it returns. */
export function keepLeft(copy: string, commits: readonly Position[]): void {
  const known = readLeft(copy).map(formatPosition);
  const all = [...new Set([...known, ...commits.map(formatPosition)])].slice(0, MOST);
  if (all.length === known.length) return;
  const fresh = `${leftPath(copy)}-new`;
  const fd = fs.openSync(fresh, "w");
  try {
    fs.writeFileSync(fd, `${all.join("\n")}\n`);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(fresh, leftPath(copy));
  syncDirectory(path.dirname(copy)); // whoever folds the log then takes the proof along
}

/** It is known where every stream stands, and on record. */
export function dropLeft(copy: string): void {
  fs.rmSync(leftPath(copy), { force: true });
}
