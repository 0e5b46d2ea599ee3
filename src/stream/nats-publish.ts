/**
 * How a message gets into a stream on NATS, once.
 *
 * 1. One is on its way at a time. It expects the stream to end where the caller says, all of the stream:
 *    an expectation of one subject, or of a message's id, is none on older servers, or halts newer ones.
 * 2. An acknowledgement of the next place: it is there. Of any other place: this is not our stream.
 * 3. No answer: it may be there, or come. The same bytes go out again, with the same expectation. A place can be
 *    taken once, so they get in once, however late the first ones arrive.
 * 4. "Wrong last sequence": the place is read. Our bytes: they are there. Others: ours are not, and never
 *    will be. Nothing: that proves nothing, so it goes on, unless the stream was made anew.
 * 5. What is refused for another reason is absent only if no attempt before went unanswered.
 *
 * What `force` sends expects nothing, so 3 does not hold for it. There the servers are told an id, made
 * of the bytes, by which they know a message again for two minutes; within the first of these it is sent again, and each
 * time the stream is read from where it ended before, in search of the bytes.
 */
import { createHash } from "node:crypto";
import type { JetStreamPublishOptions } from "@nats-io/jetstream";
import type { LockstepError } from "../errors.ts";
import type { Entry } from "./log.ts";
import { inDoubt, noAnswer, noStream, type Outcome, outcomeOf, rewound } from "./nats-errors.ts";
import { DUPLICATE_WINDOW } from "./nats-layout.ts";
import { ATTEMPT_MS, pause } from "./nats-link.ts";
import { readMessages } from "./nats-read.ts";
import { GONE_MS, type NatsStream, REWOUND_MS } from "./nats-stream.ts";

/** What became of one attempt. */
type Attempt =
  | { readonly kind: "acknowledged"; readonly sequence: number; readonly duplicate: boolean }
  | Outcome;

/** @see StreamLog.append */
export async function append(
  stream: NatsStream,
  bytes: Uint8Array,
  after: number,
  signal: AbortSignal,
): Promise<Entry | null> {
  // The client keeps what it is given until it is sent, perhaps after we have returned.
  const message = Uint8Array.from(bytes);
  const place = after + 1;
  const expect = { streamName: stream.name, lastSequence: after };
  const doubt = new Doubt(stream);
  let sent = false;
  let unanswered = false;
  for (;;) {
    const attempt = await publish(stream, message, { expect }, signal);
    if (attempt === null) break;
    sent = true;
    if (attempt.kind === "acknowledged") {
      if (attempt.sequence !== place) throw otherPlace(stream, place, attempt.sequence);
      return acknowledged(stream, place);
    }
    if (attempt.kind === "refused" && !unanswered) throw attempt.error;
    if (attempt.kind === "unknown") unanswered = true; // durable: what was not answered may be there
    const isOurs = await doubt.isOurs(attempt, after, signal);
    if (isOurs && attempt.kind !== "unknown") {
      const there = await stream.find(place, signal).catch(() => null);
      if (there) return equal(there.bytes, message) ? acknowledged(stream, place) : there;
    }
    stream.link.heard(false); // also a place that is taken by nothing: who says so may lead no more
    await pause(signal);
  }
  const { shown, link } = stream;
  if (!sent) throw noAnswer(shown, "A message was to be sent", link.lost ?? undefined);
  throw inDoubt(shown, link.lost ?? undefined);
}

/** @see StreamLog.force */
export async function force(
  stream: NatsStream,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<number> {
  const message = Uint8Array.from(bytes);
  const msgID = createHash("sha256").update(message).digest("hex").slice(0, 32);
  const options = { expect: { streamName: stream.name }, msgID };
  let searched = (await stream.ends(stream.acknowledged, signal)).last;
  const knownUntil = performance.now() + DUPLICATE_WINDOW / 2;
  let unanswered = false;
  while (!signal.aborted && !stream.link.lost) {
    if (performance.now() < knownUntil) {
      const attempt = await publish(stream, message, options, signal);
      if (attempt === null) break;
      if (attempt.kind === "acknowledged") {
        if (!attempt.duplicate) return acknowledgedAt(stream, attempt.sequence);
        const there = await stream.find(attempt.sequence, signal).catch(() => null);
        if (there && equal(there.bytes, message)) return acknowledgedAt(stream, attempt.sequence);
      }
      if (attempt.kind === "refused" && !unanswered) throw attempt.error;
      unanswered = true;
    }
    const { last } = await stream.ends(searched, signal).catch(() => ({ last: searched }));
    if (last > searched) {
      for await (const entry of readMessages(stream, searched + 1, { to: last }, signal)) {
        if (equal(entry.bytes, message)) return acknowledgedAt(stream, entry.sequence);
        searched = entry.sequence;
      }
    }
    stream.link.heard(false);
    await pause(signal);
  }
  const { shown, link } = stream;
  if (!unanswered) throw noAnswer(shown, "A message was to be sent", link.lost ?? undefined);
  throw inDoubt(shown, link.lost ?? undefined);
}

// --- internal ---

/** What speaks against the stream while a message does not get in. It takes time to be believed. */
class Doubt {
  readonly #stream: NatsStream;
  #missingSince: number | null = null;
  #shortSince: number | null = null;

  constructor(stream: NatsStream) {
    this.#stream = stream;
  }

  /**
   * Is it still the stream that was opened, by what it says now?
   * @throws LockstepError REPLICA_GONE, REWOUND
   */
  async isOurs(attempt: Attempt, after: number, signal: AbortSignal): Promise<boolean> {
    const stream = this.#stream;
    const info = await stream.glance(signal);
    if (info === null) return false;
    const now = performance.now();
    if (info === "missing") {
      this.#missingSince ??= now;
      if (now - this.#missingSince > GONE_MS) throw noStream(stream.shown);
      return false;
    }
    this.#missingSince = null;
    if (stream.changed(info)) throw stream.madeAnew(info); // durable: a stream made anew is another
    const { last_seq: last } = info.state;
    const isShort = attempt.kind === "taken" && (attempt.last ?? 0) < after && last < after;
    this.#shortSince = isShort ? (this.#shortSince ?? now) : null;
    if (isShort && now - (this.#shortSince ?? now) > REWOUND_MS)
      throw stream.endsEarly(last, after);
    return true;
  }
}

/** One attempt, once there is a connection; null if the signal came or the connection is lost for good. */
async function publish(
  stream: NatsStream,
  message: Uint8Array,
  options: Partial<JetStreamPublishOptions>,
  signal: AbortSignal,
): Promise<Attempt | null> {
  const { link, subject, shown } = stream;
  await link.up(signal);
  if (signal.aborted || link.lost) return null;
  try {
    const sent = () => link.js.publish(subject, message, { ...options, timeout: ATTEMPT_MS });
    const { seq, duplicate } = await link.once(sent, signal);
    return { kind: "acknowledged", sequence: seq, duplicate };
  } catch (error) {
    return outcomeOf(error, shown);
  }
}

function acknowledged(stream: NatsStream, sequence: number): null {
  acknowledgedAt(stream, sequence);
  return null;
}

function acknowledgedAt(stream: NatsStream, sequence: number): number {
  stream.link.heard(true);
  stream.acknowledged = Math.max(stream.acknowledged, sequence);
  return sequence;
}

function otherPlace(stream: NatsStream, place: number, other: number): LockstepError {
  const what = `Message ${place} was acknowledged as message ${other}: this is another stream`;
  return rewound(stream.shown, what);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
