/**
 * How far the primary's streams have come, put on record beside the primary now and then: a stream that ends before that
 * has lost what it had acknowledged.
 */
import { codes, LockstepError } from "../errors.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** Notes it, for the next time the record is written anyway. */
export function noteStreams(primary: Primary, mirrors: readonly Mirror[]): void {
  for (const { isStream, path, last } of mirrors) {
    if (isStream) primary.streams = { ...primary.streams, [path]: last };
  }
}

/** At the end of a start: puts it on record. */
export function recordStreams(primary: Primary, mirrors: readonly Mirror[]): void {
  if (!mirrors.some(({ isStream }) => isStream)) return;
  noteStreams(primary, mirrors);
  primary.sidecar.update({ streams: primary.streams });
}

/**
 * Streams that are empty, and were not: somebody has made them anew. What is on record of them is forgotten, before
 * anything is written to them.
 */
export function forgetEmptied(primary: Primary, mirrors: readonly Mirror[]): void {
  const anew = mirrors.filter(({ path, last }) => last === 0 && (primary.streams[path] ?? 0) > 0);
  if (anew.length === 0) return;
  noteStreams(primary, anew);
  primary.sidecar.update({ streams: primary.streams });
}

/**
 * An empty stream is taken: somebody has made it anew, and it begins with a whole image.
 * @throws LockstepError REWOUND if a stream ends before what is on record of it
 */
export function assertNotRewound(primary: Primary, mirrors: readonly Mirror[]): void {
  for (const { path, last } of mirrors) {
    const known = primary.streams[path] ?? 0;
    // durable: nothing is written behind a stream's end that was put back
    if (last === 0 || last >= known) continue;
    throw new LockstepError(codes.REWOUND, {
      copy: path,
      what: `It ends at message ${last}, and had acknowledged message ${known}`,
      state: "Nothing was written to it; the primary holds all that was acknowledged",
      next: "See what happened to its servers or its disk, and bring back what it held; else begin a new one: lockstep init",
    });
  }
}
