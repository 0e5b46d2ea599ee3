/**
 * Whole images of the primary beside its stream. The first, and one where the stream does not hold what leads to
 * the primary, are made while the primary stands still; later ones while commits go on. Behind them the stream is shortened.
 */
import { settingsOf } from "../address.ts";
import { codes, LockstepError } from "../errors.ts";
import type { Membership } from "../gate/messages.ts";
import { invariant } from "../invariant.ts";
import { readFingerprint, sameFingerprint } from "../lineage/fingerprint.ts";
import { busy } from "../lineage/fold.ts";
import type { Position } from "../lineage/position.ts";
import { type ImageProgress, imageOf } from "../stream/image.ts";
import type { Keys } from "../stream/keys.ts";
import type { StreamLog } from "../stream/log.ts";
import { beginningOf } from "../stream/log-file.ts";
import { parseKeep, shorten } from "../stream/retention.ts";
import type { SnapshotNote } from "../stream/segment.ts";
import { beganAfter, takeSnapshot } from "../stream/snapshots.ts";
import type { Piece, StreamWriter } from "../stream/writer.ts";
import { type Salts, sameSalts } from "../wal/format.ts";

/** How long a stream can be restored to any moment, unless its address says `keep=`. */
const KEEP = "7d";

export interface ImagesContext {
  readonly address: string;
  readonly log: StreamLog;
  readonly keys: Keys | null;
  readonly writer: StreamWriter;
  readonly signal: AbortSignal;
  readonly onProgress: ImageProgress;
  /** There is a note to be sent, between two messages: `announce`. */
  readonly onReady: () => void;
}

export class StreamImages {
  readonly #context: ImagesContext;
  readonly #keep: number;
  /** Kept, and the stream does not speak of it yet: made while the primary stood still. */
  #still: Image | null = null;
  /** The same of one that was made while commits went on; or why it was not made. */
  #live: Image | Error | null = null;
  /** What is being removed. */
  #shortening: Promise<void> = Promise.resolve();
  /** The last generation whose first frame was sent here, with the number of that message. */
  #log: (Salts & { readonly sequence: number }) | null = null;

  /** @throws LockstepError BAD_OPTION */
  constructor(context: ImagesContext) {
    this.#context = context;
    this.#keep = keepOf(context.address);
  }

  /** How many messages came since the last image was begun. */
  static async messagesSince(log: StreamLog, last: number): Promise<number> {
    const begun = (await log.objects()).map((name) => beganAfter(name) ?? 0);
    return last - Math.max(0, ...begun);
  }

  /** A piece was sent, as the writer's last message. */
  sent({ first, log }: Piece): void {
    if (first !== 1) return;
    this.#log = { salt1: log.salt1, salt2: log.salt2, sequence: this.#context.writer.last };
  }

  /** Keeps the primary's file, which stands still; `begin` speaks of it. */
  async make(membership: Membership): Promise<void> {
    this.#still = await this.#make(membership, false);
  }

  /** Is there an image with which the stream is to begin anew? */
  get isNew(): boolean {
    return this.#still !== null;
  }

  /**
   * The stream begins anew with the image that was made.
   * @param install how many frames follow before it counts
   */
  async begin(
    install: number,
  ): Promise<{ readonly position: Position; readonly base: Position | null }> {
    invariant(this.#still !== null, "an image is kept before a stream begins with it");
    const { note, pageSize, of } = this.#still;
    const { position, base } = of;
    const { writer, signal } = this.#context;
    await writer.snapshot(
      { ...note, logFrom: null, install },
      { position, pageSize, base },
      signal,
    );
    this.#still = null;
    return { position, base };
  }

  /** Makes a new one while frames go on being sent. If it fails nothing depends on it. */
  makeLive(membership: Membership): void {
    const settle = (made: Image | Error): void => {
      this.#live = made;
      this.#context.onReady();
    };
    this.#make(membership, true).then(settle, settle);
  }

  /** Between two messages: speaks of the live image, and lets go of what is older than is to be kept. */
  async announce(): Promise<boolean> {
    const live = this.#live;
    this.#live = null;
    if (!live) return false;
    if (live instanceof Error) this.#warn(live);
    else await this.#announce(live);
    return true;
  }

  /** Resolves when nothing is removed any more; it ends early once the signal came. */
  async rest(): Promise<void> {
    await this.#shortening;
  }

  async #announce({ note, pageSize, logFrom, of: { position, base } }: Image): Promise<void> {
    const { log, keys, writer, signal } = this.#context;
    const said = { ...note, logFrom, install: 0 };
    await writer.snapshot(said, { position, pageSize, base }, signal);
    this.#shortening = this.#shortening
      .then(() => shorten(log, keys, this.#keep, { signal }))
      .catch((error) => this.#warn(error));
  }

  async #make(membership: Membership, isLive: boolean): Promise<Image> {
    const { primary, file, position } = membership;
    const { log, keys, writer, signal, onProgress } = this.#context;
    const known = this.#log && sameSalts(this.#log, position) ? this.#log.sequence : null;
    const logFrom = isLive ? (known ?? (await beginningOf(log, position, writer.last))) : null;
    const { pageSize, chunks } = await imageOf(primary, onProgress);
    const note = await takeSnapshot(log, chunks, {
      ...{ after: writer.last, frame: position.frame, pageSize },
      ...{ keys, compress: true, signal },
    });
    const now = file && readFingerprint(primary);
    // durable: an image of one position
    if (file && (!now || !sameFingerprint(now, file))) throw busy(primary);
    return { note, pageSize, logFrom, of: membership };
  }

  #warn(error: Error): void {
    if (this.#context.signal.aborted) return; // it is being closed
    const { log } = this.#context;
    process.emitWarning(
      `${log.name}: No new image was kept, or what is old was not removed: ${error.message}. The stream stays as long as it is, and is tried again.`,
      { type: "LockstepWarning", code: (error as Partial<LockstepError>).code ?? codes.REPLICA_IO },
    );
  }
}

// --- internal ---

interface Image {
  readonly note: Omit<SnapshotNote, "logFrom" | "install">;
  readonly pageSize: number;
  /** The message with frame 1 of its log; null: the stream begins anew with it. */
  readonly logFrom: number | null;
  readonly of: Membership;
}

function keepOf(address: string): number {
  const text = settingsOf(address).get("keep") ?? KEEP;
  const keep = parseKeep(text);
  if (keep !== null) return keep;
  throw new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `In the address of the stream \`keep\` is ${JSON.stringify(text)}`,
    state: "Nothing was opened",
    next: "Write a number of days, hours or minutes: 7d, 12h, 30m",
  });
}
