/**
 * Objects on NATS, in the format of the servers' own tools (`nats object`), which is: a stream whose
 * messages under `$O.<bucket>.C.<id>` are the pieces of one object, in order, and the one under
 * `$O.<bucket>.M.<base64url of its name>` is JSON with its id, size, number of pieces and SHA-256. That one
 * is written last: with it the object is whole, without it there is none.
 *
 * The client's own package for it gives up at the first piece that is not acknowledged in time, as when
 * the servers elect a leader. Here a piece is sent again: it has an id, by which the servers know it for
 * two minutes, and at the end the pieces are counted.
 */
import { createHash, randomBytes } from "node:crypto";
import type { StreamInfo } from "@nats-io/jetstream";
import { codes, LockstepError } from "../errors.ts";
import { inPieces } from "./in-pieces.ts";
import { failure, noAnswer, outcomeOf, refusal } from "./nats-errors.ts";
import { bucketName, bucketStream, DUPLICATE_WINDOW, MESSAGE_MAX } from "./nats-layout.ts";
import { ATTEMPT_MS, type NatsLink, pause } from "./nats-link.ts";
import { infoOf } from "./nats-stream.ts";

/** An object's last message. */
interface Meta {
  readonly name: string;
  readonly bucket: string;
  readonly nuid: string;
  readonly size: number;
  readonly chunks: number;
  readonly digest: string;
  readonly mtime: string;
  readonly options: { readonly max_chunk_size: number };
  readonly deleted?: boolean;
}

export class NatsObjects {
  readonly #link: NatsLink;
  readonly #bucket: string;
  readonly #stream: string;

  constructor(link: NatsLink, database: string) {
    this.#link = link;
    this.#bucket = bucketName(database);
    this.#stream = bucketStream(database);
  }

  /** @see StreamLog.put */
  async put(name: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    if (await this.#meta(name, signal)) throw this.#exists(name);
    const id = randomBytes(12).toString("hex");
    const subject = this.#pieces(id);
    const hash = createHash("sha256");
    let [size, pieces, named] = [0, 0, false];
    try {
      for await (const piece of inPieces(chunks, MESSAGE_MAX)) {
        hash.update(piece);
        size += piece.length;
        await this.#publish(subject, piece, { msgID: `${id}.${++pieces}` }, signal);
      }
      if ((await this.#count(subject, signal)) !== pieces) {
        throw failure(codes.REPLICA_IO, this.#link.shown, `The pieces of ${name} do not add up`);
      }
      const digest = `SHA-256=${padded(hash.digest("base64url"))}`;
      const meta: Meta = {
        ...{ name, bucket: this.#bucket, nuid: id, size, chunks: pieces, digest },
        ...{ mtime: new Date().toISOString(), options: { max_chunk_size: MESSAGE_MAX } },
      };
      const expect = { lastSubjectSequence: 0 }; // names are written once
      named = true;
      const bytes = Buffer.from(JSON.stringify(meta));
      await this.#publish(this.#named(name), bytes, { msgID: id, expect }, signal);
    } catch (error) {
      // Once its name was sent it may become whole at any moment: then its pieces stay, for `sweep`.
      if (!named) await this.#purge(subject, AbortSignal.timeout(ATTEMPT_MS)).catch(() => {});
      else if (await this.#isWhole(name, id)) return;
      throw refusal(error, this.#link.shown);
    }
  }

  /** @see StreamLog.get */
  async *get(name: string, timeout: number): AsyncGenerator<Uint8Array, void, undefined> {
    const meta = await this.#meta(name, AbortSignal.timeout(timeout));
    if (!meta) throw failure(codes.REPLICA_GONE, this.#link.shown, `There is no object ${name}`);
    const hash = createHash("sha256");
    let [size, sequence] = [0, 0];
    for (let piece = 1; piece <= meta.chunks; piece++) {
      const found = await this.#next(this.#pieces(meta.nuid), sequence + 1, timeout);
      if (!found) throw this.#damaged(name, `piece ${piece} of ${meta.chunks} is missing`);
      sequence = found.seq;
      size += found.data.length;
      hash.update(found.data);
      yield found.data;
    }
    if (size !== meta.size) throw this.#damaged(name, `it has ${size} bytes, not ${meta.size}`);
    if (`SHA-256=${padded(hash.digest("base64url"))}` !== meta.digest) {
      throw this.#damaged(name, "its SHA-256 is another");
    }
  }

  /** @see StreamLog.objects */
  async names(signal: AbortSignal): Promise<string[]> {
    const prefix = `$O.${this.#bucket}.M.`;
    const names: string[] = [];
    for (const subject of await this.#subjects(`${prefix}>`, signal)) {
      const name = Buffer.from(subject.slice(prefix.length), "base64url").toString("utf8");
      if (await this.#meta(name, signal)) names.push(name);
    }
    return names.sort();
  }

  /** @see StreamLog.remove */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    const meta = await this.#meta(name, signal);
    await this.#purge(this.#named(name), signal); // in this order: it is whole, or not there
    if (meta) await this.#purge(this.#pieces(meta.nuid), signal);
  }

  /** Removes pieces that belong to no object. @see StreamLog.sweep */
  async sweep(before: Date, signal: AbortSignal): Promise<number> {
    const prefix = `$O.${this.#bucket}.C.`;
    const all = await this.#subjects(`${prefix}>`, signal);
    const whole = new Set<string>();
    for (const name of await this.names(signal)) {
      const meta = await this.#meta(name, signal);
      if (meta) whole.add(this.#pieces(meta.nuid));
    }
    let swept = 0;
    for (const subject of all.filter((each) => !whole.has(each))) {
      const last = await this.#last(subject, signal);
      if (!last || last.time >= before) continue;
      await this.#purge(subject, signal);
      swept++;
    }
    return swept;
  }

  #pieces(id: string): string {
    return `$O.${this.#bucket}.C.${id}`;
  }

  #named(name: string): string {
    return `$O.${this.#bucket}.M.${padded(Buffer.from(name).toString("base64url"))}`;
  }

  /** Null if there is no whole object of this name. */
  async #meta(name: string, signal: AbortSignal): Promise<Meta | null> {
    const found = await this.#last(this.#named(name), signal);
    const meta = found ? (JSON.parse(Buffer.from(found.data).toString()) as Meta) : null;
    return meta?.deleted ? null : meta;
  }

  async #last(subject: string, signal: AbortSignal) {
    const { jsm } = this.#link;
    const asked = () => jsm.streams.getMessage(this.#stream, { last_by_subj: subject });
    return await this.#link.ask("An object was looked for", asked, signal);
  }

  /** The next message of a subject, with any server; if it has none, with the one that leads. */
  async #next(subject: string, seq: number, timeout: number) {
    const { jsm } = this.#link;
    const asked = { seq, next_by_subj: subject };
    const question = async () =>
      (await jsm.direct.getMessage(this.#stream, asked)) ??
      (await jsm.streams.getMessage(this.#stream, asked));
    return await this.#link.ask("An object was to be read", question, AbortSignal.timeout(timeout));
  }

  async #subjects(filter: string, signal: AbortSignal): Promise<string[]> {
    return Object.keys((await this.#info(filter, signal)).state.subjects ?? {});
  }

  async #count(subject: string, signal: AbortSignal): Promise<number> {
    return (await this.#info(subject, signal)).state.subjects?.[subject] ?? 0;
  }

  async #info(filter: string, signal: AbortSignal): Promise<StreamInfo> {
    return await infoOf(this.#link, this.#stream, signal, filter);
  }

  async #purge(filter: string, signal: AbortSignal): Promise<void> {
    const purge = () => this.#link.jsm.streams.purge(this.#stream, { filter });
    await this.#link.ask("An object was to be removed", purge, signal);
  }

  /** Until it is acknowledged: the servers know by the id what they have already. */
  async #publish(
    subject: string,
    bytes: Uint8Array,
    options: { msgID: string; expect?: { lastSubjectSequence: number } },
    signal: AbortSignal,
  ): Promise<void> {
    const link = this.#link;
    const knownUntil = performance.now() + DUPLICATE_WINDOW / 2;
    let last: unknown;
    while (!signal.aborted && !link.lost && performance.now() < knownUntil) {
      await link.up(signal);
      try {
        const { expect, msgID } = options;
        const all = { msgID, expect: { ...expect, streamName: this.#stream }, timeout: ATTEMPT_MS };
        await link.once(() => link.js.publish(subject, bytes, all), signal);
        link.heard(true);
        return;
      } catch (error) {
        const outcome = outcomeOf(error, link.shown);
        link.heard(outcome.kind !== "unknown");
        if (outcome.kind === "refused") throw outcome.error;
        if (outcome.kind === "taken") throw this.#exists(subject);
        last = error;
      }
      await pause(signal);
    }
    throw link.lost ?? noAnswer(link.shown, "An object was to be written", last);
  }
  async #isWhole(name: string, id: string): Promise<boolean> {
    const meta = await this.#meta(name, AbortSignal.timeout(ATTEMPT_MS)).catch(() => null);
    return meta?.nuid === id;
  }

  #exists(name: string): LockstepError {
    const what = `There is an object ${name} already, and names are written once`;
    return failure(codes.REPLICA_CHANGED, this.#link.shown, what);
  }

  #damaged(name: string, what: string): LockstepError {
    return new LockstepError(codes.VERIFY, {
      copy: this.#link.shown,
      what: `The object ${name} is damaged: ${what}`,
      state: "What was read of it is of no use",
      next: "Use another one; lockstep verify says whether the primary is sound",
    });
  }
}

// --- internal ---

/** As the servers' tools write it. */
function padded(base64url: string): string {
  return base64url.padEnd(Math.ceil(base64url.length / 4) * 4, "=");
}
