/** Copies as describeCopy() might find them, for tests of what is decided about them. */
import type { Copy } from "../../src/lineage/describe.ts";
import type { Position } from "../../src/lineage/position.ts";
import type { SidecarState } from "../../src/lineage/sidecar.ts";
import type { Commit } from "../../src/wal/chain.ts";

/**
 * The position of content: generation `g`, commit frame `frame`, on the branch `branch` of history
 * (two logs that parted have other sums at one frame).
 */
export function at(g: number, frame: number, branch = 0): Position {
  return { timeline: 1, salt1: 1000 + g, salt2: g, ...commit(frame, branch) };
}

export const STATE: SidecarState = {
  format: 1,
  databaseId: "database",
  copyId: "copy",
  role: "primary",
  timeline: 1,
  generation: null,
  folded: null,
  folding: false,
  apart: [],
  detached: [],
  resync: null,
};

export interface Looks {
  /** The log, by its generation and the frames of its commits; `branch` as in `at`. */
  readonly log?: {
    readonly g: number;
    readonly frames: readonly number[];
    readonly branch?: number;
  };
  readonly position?: Position | null;
  readonly base?: Position | null;
  readonly history?: readonly Position[];
  readonly state?: Partial<SidecarState> | null;
}

/** A copy; where a log is given and no position, its last commit is the position. */
export function copy(path: string, looks: Looks = {}): Copy {
  const { log, base = null, history = [], state = {} } = looks;
  const last = log ? at(log.g, log.frames.at(-1) as number, log.branch) : null;
  return {
    path,
    file: "present",
    bytes: 4096,
    device: "1",
    log: log
      ? {
          header: {
            ...{ bigEndian: false, pageSize: 4096, checkpoint: 0, sum1: 0, sum2: 0 },
            ...{ salt1: 1000 + log.g, salt2: log.g },
          },
          commits: log.frames.map((frame) => ({ pages: 1, ...commit(frame, log.branch ?? 0) })),
        }
      : null,
    state: state === null ? null : { ...STATE, ...state },
    history,
    position: looks.position === undefined ? last : looks.position,
    base,
    because: "so it was said",
  };
}

export function missing(path: string, state: Partial<SidecarState> | null = null): Copy {
  return { ...copy(path, { state }), file: "missing", bytes: 0 };
}

function commit(frame: number, branch: number): Omit<Commit, "pages"> {
  return { frame, sum1: frame * 10 + branch, sum2: 7 };
}
