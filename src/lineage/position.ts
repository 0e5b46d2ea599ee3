/**
 * A position: which content a copy holds, provable in O(1).
 *
 * It names the generation of the log (its salts), the last committed frame in it and the log's
 * cumulative checksum there. Two copies on one lineage with equal positions hold equal content.
 * Frame 0 is the start of a lineage: content that was proven equal page by page, before any log.
 */
import { type Salts, type Sums, sameSalts, sameSums } from "../wal/format.ts";

export interface Position extends Salts, Sums {
  /** Raised by each promotion of a replica. Not part of the content's identity. */
  readonly timeline: number;
  /** Frames committed in this generation. */
  readonly frame: number;
}

/** By asynchronous stream: the commits at one of which it may stand. */
export type LeftAt = Readonly<Record<string, readonly Position[]>>;

/** A position of its own, for content that no log leads to. */
export function originPosition(timeline: number): Position {
  const [salt1 = 0, salt2 = 0] = crypto.getRandomValues(new Uint32Array(2));
  return { timeline, salt1, salt2, frame: 0, sum1: 0, sum2: 0 };
}

/** Do the two name the same content? */
export function samePosition(a: Position, b: Position): boolean {
  return sameSalts(a, b) && a.frame === b.frame && sameSums(a, b);
}

const hex = (word: number): string => word.toString(16).padStart(8, "0");

/** `timeline/generation/frame/checksum`, the form of messages and `--json`. */
export function formatPosition(p: Position): string {
  return `${p.timeline}/${hex(p.salt1)}${hex(p.salt2)}/${p.frame}/${hex(p.sum1)}${hex(p.sum2)}`;
}

/** The position that `formatPosition` wrote; null if the text is none. */
export function parsePosition(text: string): Position | null {
  const match = /^(\d+)\/([\da-f]{8})([\da-f]{8})\/(\d+)\/([\da-f]{8})([\da-f]{8})$/.exec(text);
  if (!match) return null;
  const [, timeline, salt1, salt2, frame, sum1, sum2] = match as unknown as string[];
  return {
    timeline: Number(timeline),
    salt1: Number.parseInt(salt1 as string, 16),
    salt2: Number.parseInt(salt2 as string, 16),
    frame: Number(frame),
    sum1: Number.parseInt(sum1 as string, 16),
    sum2: Number.parseInt(sum2 as string, 16),
  };
}
