/**
 * Shortening a stream: what is older than is to be kept is removed, always up to a place where reading can begin.
 *
 * Invariants:
 *   - the newest image and the one before it stay, with all messages since the older one;
 *   - to each moment within `keep` the stream can be restored: the last image before that time stays as well;
 *   - nothing is removed before the newest image was read back whole.
 *
 * Two may do it at one time, as an old primary and the one that took its place: both keep the last two images and what comes
 * after them, and an object whose message is still to come was begun after those. One of the two may find that
 * what it wanted to read has been removed, and is refused (REPLICA_GONE) before it removes anything.
 *
 * What was left half written by somebody who died goes as well, after a day.
 */

import { backwards } from "./find.ts";
import type { Keys } from "./keys.ts";
import type { StreamLog } from "./log.ts";
import { readSnapshotNote } from "./notes.ts";
import { unwrap } from "./seal.ts";
import { kinds, type SnapshotNote } from "./segment.ts";
import { beganAfter, readSnapshot } from "./snapshots.ts";

/**
 * @param keep in milliseconds
 * @throws the signal's reason, before anything is removed
 */
export async function shorten(
  log: StreamLog,
  keys: Keys | null,
  keep: number,
  { signal, now = Date.now() }: { readonly signal: AbortSignal; readonly now?: number },
): Promise<void> {
  await removeOld(log, keys, { keep, now, signal });
  await log.sweep(new Date(now - LEFT_MS));
}

/** `7d`, `12h` or `30m` in milliseconds; null if it is none of these. */
export function parseKeep(text: string): number | null {
  const [, number, unit] = /^(\d{1,6})([dhm])$/.exec(text) ?? [];
  return number && unit ? Number(number) * (UNITS[unit] as number) : null;
}

// --- internal ---

const UNITS: Record<string, number> = { d: 86_400_000, h: 3_600_000, m: 60_000 };

/** How long nothing was added to what nobody is taken to be writing any more. */
const LEFT_MS = 86_400_000;

async function removeOld(
  log: StreamLog,
  keys: Keys | null,
  {
    keep,
    now,
    signal,
  }: { readonly keep: number; readonly now: number; readonly signal: AbortSignal },
): Promise<void> {
  const ends = await log.ends();
  const there = await log.objects();
  const kept: { readonly note: SnapshotNote; readonly from: number }[] = [];
  let usable = 0;
  for await (const { sequence, time, header, wrapped, where } of backwards(log, ends)) {
    signal.throwIfAborted();
    if (header.kind !== kinds.SNAPSHOT) continue;
    const note = readSnapshotNote(unwrap(header, wrapped, keys, where), where);
    if (!there.includes(note.object)) continue;
    kept.push({ note, from: note.logFrom ?? sequence });
    // One whose log was to follow may have been cut off: it stays, and does not count.
    if (note.logFrom !== null || note.install === 0) usable++;
    if (usable >= 2 && time.getTime() <= now - keep) break;
  }
  if (usable < 2) return;
  const before = Math.min(...kept.map(({ from }) => from));
  if (before <= ends.first) return;
  const newest = kept[0] as (typeof kept)[number];
  // durable: nothing is removed before the newest image was read back
  for await (const _ of readSnapshot(log, newest.note, keys)) signal.throwIfAborted();
  await log.purge(before);
  const names = kept.map(({ note }) => note.object);
  for (const object of there) {
    const after = beganAfter(object);
    if (after !== null && after < before && !names.includes(object)) await log.remove(object);
  }
}
