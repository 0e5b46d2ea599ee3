/**
 * Heals rot while the copies are in use. The process that looks for rot (scrub/scrubber.ts) proposes what a
 * page was, from a copy whose page is as its checksum says; here that is committed: appended to the primary's
 * log as one transaction, which then passes the gate as any commit does. So every reader of every copy has the
 * right page from the next read on, a stream carries it, and the next checkpoint writes it over what
 * has rotted. A transaction that reads meanwhile keeps what it began with.
 *
 * SQLite has no statement that writes a page as it is, so the frames are written here, as SQLite writes its
 * own, and under its write lock: nobody else appends to the log, or restarts it. This is why they change nothing
 * but what has rotted:
 *
 *   - the checksum that the page must have was kept when the copies' files held `folded`. That is still the last
 *     position on record, so the log has all that was committed since, and the page is not in it:
 *     the page is what it was then
 *   - what is written has that checksum
 *   - the log is in use: it has frames that are not in the file, so readers look into it and it goes on. One
 *     that is folded whole begins anew first, with a commit that changes nothing
 *
 * Cut off before the index shows them, the frames are a transaction for whoever rebuilds the index, or are written over by
 * the next; either is right.
 *
 * The connection is opened for this and closed afterwards: it must not go on with pages it read before. All
 * others see by the index that somebody has committed, and drop theirs. One that has begun to read could not
 * write any more (SQLITE_BUSY_SNAPSHOT), so nothing is done while a connection of the application's, which may expect to
 * be the only one that writes, is in a transaction or has an iterator open. Where other programs write as they
 * like (`Primary.foreign`) nobody could tell, and rot is named only.
 */
import { type Connection, isBusy, isClosed, isDamaged, isIdle } from "../driver.ts";
import type { LockstepError } from "../errors.ts";
import { type Position, samePosition } from "../lineage/position.ts";
import { checksumOf, SumsFile } from "../lineage/sums.ts";
import {
  decodeWalHeader,
  encodeFrameHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  frameSize,
  type Sums,
  sameSalts,
  WAL_HEADER_SIZE,
} from "../wal/format.ts";
import { lockPage } from "../wal/image.ts";
import { IndexWriter } from "../wal/index-writer.ts";
import { readFully, writeFully } from "../wal/scan.ts";
import type { Barrier } from "./barrier.ts";
import type { HubClient } from "./client.ts";
import type { Gate } from "./gate.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";

/** Pages of one copy that have rotted, and what they were. */
export interface Proposal {
  /** The copy. */
  readonly copy: string;
  /** What its file held, by its record, and those of the copies with the right pages. */
  readonly folded: Position;
  readonly pages: readonly Remedy[];
}

export interface Remedy {
  readonly page: number;
  /** The checksum that it must have. */
  readonly entry: number;
  /** The page, in base64, and the copy that has it. */
  readonly bytes: string;
  readonly from: string;
}

export interface HealContext {
  readonly primary: Primary;
  readonly roster: Roster;
  readonly gate: Gate;
  readonly barrier: Barrier | null;
  readonly clients: ReadonlySet<HubClient>;
  readonly failure: () => LockstepError | null;
  /** Fences the connections; returns the failure that did. */
  readonly fence: (error: unknown) => LockstepError;
}

export class Healer {
  readonly #context: HealContext;

  constructor(context: HealContext) {
    this.#context = context;
  }

  /**
   * Commits what of a proposal still holds, if that can be done at once; it has not passed the gate then.
   * @returns what was committed; null if it may be tried again: somebody is writing, or reading
   * @throws LockstepError what fenced the connections; what the system says of the log
   */
  heal(proposal: Proposal): readonly Remedy[] | null {
    const { primary, roster, clients } = this.#context;
    const { copy } = proposal;
    if (copy !== primary.path && !roster.attached.some(({ path }) => path === copy)) return [];
    // durable: the application's transactions go on
    if (![...clients].every(isAtRest)) return null;
    this.#see();
    const first = this.#underLock(proposal);
    if (first !== "begun") return first;
    this.#see();
    const second = this.#underLock(proposal);
    const begun = proposal.pages.filter(({ page }) => page === 1); // of a replica: that commit has it
    if (second === null || second === "begun") return begun.length > 0 ? begun : null;
    return [...begun, ...second];
  }

  /** On the record beside the primary, when that is written next: it is no reason to write it. */
  record(copy: string, pages: readonly Remedy[]): void {
    const named = pages.map(({ page }) => page).join(" ");
    const [from] = new Set(pages.map((each) => each.from));
    this.#context.primary.sidecar.note("healed", `rotten pages ${named} of ${copy}, from ${from}`);
  }

  /** What was committed by now passes the gate, and the copy is the one that is opened by its name. */
  #see(): void {
    const { primary, gate, barrier, failure, fence } = this.#context;
    const failed = failure();
    if (failed) throw failed;
    try {
      if (barrier) gate.handOver();
      else gate.pass();
      primary.assertLogHasName();
      // durable: nothing is done to a file that was put in the primary's place
      if (!primary.hasItsName()) throw new Error("its file was removed or replaced");
    } catch (error) {
      throw fence(error);
    }
  }

  #underLock(proposal: Proposal): readonly Remedy[] | "begun" | null {
    const { primary } = this.#context;
    let connection: Connection | null = null;
    try {
      connection = primary.mayWrite(0);
      connection.exec("BEGIN IMMEDIATE"); // durable: nobody writes to the log while a page is healed
      if (primary.hasNews()) return null; // another connection's: it passes the gate first
      const { folded } = primary.sidecar.state;
      // durable: a page is as the checksum says only if it was not folded since
      if (!folded || !samePosition(folded.position, proposal.folded)) return [];
      const { frames, backfilled } = primary.index;
      if (backfilled >= frames) return begin(primary, connection) ? "begun" : null;
      return append(primary, proposal.pages);
    } catch (error) {
      // Others write just now; or SQLite itself stumbles over what has rotted: page 1, or the schema.
      if (isBusy(error) || isDamaged(error)) return null;
      throw error;
    } finally {
      connection?.close(); // which ends its transaction: nothing of it was written by SQLite
    }
  }
}

// --- internal ---

/** Asks first who knows by other means: the question to SQLite costs a transaction something. */
function isAtRest(client: HubClient): boolean {
  try {
    return !client.transaction?.() && isIdle((sql) => client.exec(sql));
  } catch (error) {
    if (isClosed(error)) return true; // closed, past the drop-in
    throw error;
  }
}

/**
 * All of the log is in the file: commits once, so that it begins anew. That writes page 1 as it is read, so it
 * must be known to be right; else the application's next commit has to do.
 */
function begin(primary: Primary, connection: Connection): boolean {
  const sums = primary.foldedHere() ? SumsFile.open(primary.path, "r") : null;
  if (!sums) return false;
  const page = Buffer.alloc(sums.pageSize);
  const [entry] = sums.read(1, 1);
  sums.close();
  readFully(primary.file, page, 0, page.length, 0);
  // durable: a rotten page 1 is not committed
  if (checksumOf(1, page) !== entry) return false;
  const [row] = connection.all("PRAGMA user_version");
  connection.exec(`PRAGMA user_version=${row?.["user_version"]}; COMMIT`);
  return true;
}

/** Nobody else writes to the log. */
function append(primary: Primary, remedies: readonly Remedy[]): readonly Remedy[] {
  const { index } = primary;
  const { frames, pages, pageSize, sum1, sum2 } = index;
  const logged = new Set(index.framePages());
  const isOpen = ({ page, entry, content }: Remedy & { readonly content: Buffer }): boolean => {
    // durable: what was committed since is not undone
    if (logged.has(page)) return false;
    if (page > pages || page === lockPage(pageSize) || content.length !== pageSize) return false;
    // durable: what heals is as its checksum says
    if (checksumOf(page, content) !== entry) return false;
    return true;
  };
  const contents = remedies.map((each) => ({
    ...each,
    content: Buffer.from(each.bytes, "base64"),
  }));
  const healed = contents.filter(isOpen);
  if (healed.length === 0) return [];

  const head = Buffer.alloc(WAL_HEADER_SIZE);
  readFully(primary.log, head, 0, head.length, 0);
  const header = decodeWalHeader(head);
  if (!header || !sameSalts(header, index)) return [];
  const size = frameSize(pageSize);
  const bytes = new Uint8Array(healed.length * size);
  let sums: Sums = { sum1, sum2 };
  healed.forEach((remedy, i) => {
    bytes.set(remedy.content, i * size + FRAME_HEADER_SIZE);
    const commit = i === healed.length - 1 ? pages : 0;
    sums = encodeFrameHeader(bytes, i * size, { page: remedy.page, commit }, sums, header);
  });
  writeFully(primary.log, bytes, 0, bytes.length, frameOffset(frames + 1, pageSize));
  const before = { frame: frames, sum1, sum2 };
  const end = { frame: frames + healed.length, pages, ...sums };
  const numbers = healed.map(({ page }) => page);
  return new IndexWriter(primary.shm).append(header, before, numbers, end) ? healed : [];
}
