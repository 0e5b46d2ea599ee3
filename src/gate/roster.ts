/**
 * Which replicas a commit waits for. With `onReplicaFailure: "stop"` all of them: what one fails with is
 * thrown, and fences. With `"degrade"` commits go on without it, while enough copies are left:
 *
 *     mirroring ── fails ──▶ detached ── is brought up to date (rejoin.ts) ──▶ joined ── has all ──▶ mirroring
 *
 * Invariants:
 *   - nothing is acknowledged without a replica before that stands on the primary's record, together
 *     with every position that the replica may have been left at: that proves it later to be older;
 *   - `minCopies` hold all that is acknowledged. One that has joined is waited for, but not counted
 *     before it has all;
 *   - the record names a replica as detached until it has all.
 *
 * An asynchronous stream is never waited for, nor counted, nor on that record.
 */
import { type Code, codes, type LockstepError } from "../errors.ts";
import { dropLeft, keepLeft } from "../lineage/left-at.ts";
import type { Position } from "../lineage/position.ts";
import type { Detached } from "../lineage/sidecar.ts";
import { commitsAfter, lastCommits } from "./live-log.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

export interface Member {
  readonly path: string;
  /** Its number among the replicas, and so its cells. */
  readonly index: number;
  /** What mirrors to it and is waited for; null: commits go on without it. */
  readonly mirror: Mirror | null;
  /** Of one that has joined and may lack some yet: what it held then. */
  readonly joinedAt: Position | null;
  /** It has all once it has confirmed the ring up to there. */
  readonly hasAllAt: number;
  /** What is on record while it lacks acknowledged commits. */
  readonly mark: Detached | null;
  readonly lastError: LockstepError | null;
  /** Of a stream that no commit waits for; null: commits do, or did. */
  readonly asynchronous: Asynchronous | null;
}

export interface Asynchronous {
  /** What takes along what is committed; null: it is on its way (rejoin.ts). */
  readonly trail: Trailing | null;
  /** On its way: what it was last known to hold, and since when it lacks something. */
  readonly held: Position | null;
  readonly since: number;
}

/** See trail.ts. */
export interface Trailing {
  readonly mirror: Mirror;
  readonly held: Position;
  readonly since: number;
  /** Is all that is durable posted to it? */
  readonly isSent: boolean;
}

/** More than there may be in the ring, and in the log and not yet in the ring. */
const ON_THE_WAY_BYTES = 5 << 20;

/** What the world may do to a replica before a start, which then goes on without it. No refusal is. */
const ABSENT: readonly Code[] = [
  codes.REPLICA_TIMEOUT,
  codes.IN_DOUBT,
  codes.REPLICA_FULL,
  codes.REPLICA_GONE,
  codes.REPLICA_IO,
  codes.BUSY,
  codes.WORKER_DIED,
];

/** And what else it may do to one that commits then go on without. */
const LOSABLE: readonly Code[] = [...ABSENT, codes.REPLICA_CHANGED, codes.SIDECAR];

export class Roster {
  readonly #primary: Primary;
  readonly #minCopies: number;
  #members: readonly Member[];
  #attached: readonly Mirror[] = [];
  /** Before that it is the start that fails. */
  #begun = false;
  /** Commits go on without it from now on. */
  onDetached: (member: Member, mirror: Mirror | null) => void = () => {};
  /** It has all. */
  onRejoined: (member: Member) => void = () => {};

  /** @param replicas a replica without a mirror is absent, for this reason; or, without one, asynchronous */
  constructor(
    primary: Primary,
    minCopies: number,
    replicas: readonly (readonly [string, Mirror | null, LockstepError | null])[],
  ) {
    this.#primary = primary;
    this.#minCopies = minCopies;
    this.#members = replicas.map(([path, mirror, lastError], index) => {
      const isWaitedFor = mirror !== null || lastError !== null;
      const away = { trail: null, held: null, since: performance.now() };
      return {
        ...{ path, index, mirror, joinedAt: null, hasAllAt: 0, mark: null, lastError },
        asynchronous: isWaitedFor ? null : away,
      };
    });
    primary.later.areAny ||= this.#members.some(({ asynchronous }) => asynchronous);
    this.#recount();
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  /** Those that a commit waits for. */
  get attached(): readonly Mirror[] {
    return this.#attached;
  }

  /** These, and those that take along what is committed although nobody waits. */
  get connected(): readonly Mirror[] {
    const trails = this.#members.flatMap(({ asynchronous }) => asynchronous?.trail?.mirror ?? []);
    return [...this.#attached, ...trails];
  }

  /** Of streams: what cannot keep all that they acknowledge, and was accepted by name. */
  get accepted(): readonly (readonly [stream: string, what: string])[] {
    return this.connected.flatMap(({ path, accepted }) =>
      accepted.map((what) => [path, what] as const),
    );
  }

  /** Do all that are waited for hold all that is acknowledged? */
  get isWhole(): boolean {
    return this.#members.every((member) => member.asynchronous || isWhole(member));
  }

  /** Those at hand have been brought together; puts on record which are not at hand. */
  begin(): void {
    this.#begun = true;
    const { detached: before } = this.#primary.sidecar.state;
    const since = new Date().toISOString();
    for (const { path, index, mirror, lastError, asynchronous } of this.#members) {
      if (mirror || asynchronous) continue;
      const known = before.find((each) => each.path === path);
      const mark = known ?? { path, position: null, since, code: String(lastError?.code) };
      this.#change(index, { mark });
    }
    const away = this.#members.filter(({ mirror }) => !mirror);
    const absent = away.filter(({ asynchronous }) => !asynchronous);
    if (absent.length > 0 || before.length > 0) {
      // What was on its way when the last process ended may have reached them, or some of it.
      const history = absent.length > 0 ? lastCommits(this.#primary, ON_THE_WAY_BYTES) : [];
      // durable: which replicas are absent is on record
      this.#record(absent, history);
      this.#tell(this.#primary.sidecar.history); // those that were away have not heard of the others
    }
    for (const member of away) this.onDetached(member, null);
  }

  /**
   * A mirror has failed: from now on commits go on without it, if the policy allows that.
   * @param durable what every attached replica holds
   * @throws LockstepError the failure, if it does not
   */
  lose(mirror: Mirror, failure: LockstepError, durable: Position): void {
    const member = this.#members.find((each) => each.mirror === mirror);
    if (!member) return; // it was lost before
    const left = this.#members.filter((each) => each !== member && isWhole(each)).length;
    const mayLose = this.#begun && LOSABLE.includes(failure.code);
    if (!mayLose || 1 + left < this.#minCopies) throw failure;
    mirror.dismiss(`failed: ${failure.code}`);
    const { path, index } = member;
    const since = new Date().toISOString();
    const mark = member.mark ?? { path, position: durable, since, code: failure.code };
    const lost = this.#change(index, { mirror: null, joinedAt: null, mark, lastError: failure });
    const from = member.joinedAt ?? durable;
    // durable: no acknowledgement without a replica before that is on record
    this.#record([lost], [from, ...commitsAfter(this.#primary, from)]);
    this.#recount();
    this.onDetached(lost, mirror);
  }

  /** A replica that holds this is waited for again. What it lacks is about to be sent. */
  join(index: number, mirror: Mirror, joinedAt: Position): void {
    // What others were left at while it was away.
    mirror.post({ type: "passed", history: this.#primary.sidecar.history });
    this.#change(index, { mirror, joinedAt, hasAllAt: Number.POSITIVE_INFINITY });
    this.#recount();
  }

  /** What it lacked was sent: it has all once it has confirmed the ring up to there. */
  sent(mirror: Mirror, hasAllAt: number): void {
    const member = this.#members.find((each) => each.mirror === mirror);
    if (member) this.#change(member.index, { hasAllAt }); // else it was lost meanwhile
  }

  /** A replica that is on its way back is about to be brought here, and may be left here. */
  passing(position: Position): void {
    const history = this.#primary.sidecar.lacking([position]);
    // durable: a replica is left at no position that is not on record
    if (history.length > 0) this.#primary.sidecar.update({}, { history });
    this.#tell(history);
  }

  /**
   * It is known where an asynchronous stream stands, and nobody else writes there.
   * @param isLast were all of them seen since the start?
   */
  found(stream: string, at: Position, isLast: boolean): void {
    const { path, sidecar } = this.#primary;
    this.left(stream, [at]);
    const isOurs = (name: string): boolean => this.#members.some((each) => each.path === name);
    const isAll = isLast && Object.keys(this.#primary.later.at).every(isOurs);
    // It is in the log or the history: the record names it so that a start without it keeps what proves it.
    sidecar.update({ leftAt: this.#primary.later.at });
    // durable: what was kept stays until all were found
    if (!isAll) {
      this.#tellLeft([]);
      return;
    }
    dropLeft(path);
    this.#tellLeft(null);
  }

  /** Where an asynchronous stream may be when the log begins anew: on record with what the file holds then. */
  left(stream: string, at: readonly Position[]): void {
    this.#primary.later.at = { ...this.#primary.later.at, [stream]: at };
  }

  /** The same of one that was not looked at since the start: at any commit of the log. */
  leftAnywhere(): void {
    const primary = this.#primary;
    if (primary.later.isKept) return;
    const commits = lastCommits(primary, Number.POSITIVE_INFINITY);
    keepLeft(primary.path, commits); // durable: all commits of the log are kept
    this.#tellLeft(commits);
    primary.later.isKept = true;
  }

  /** Is all that is durable on its way to a stream? */
  hasAllSent(mirror: Mirror): boolean {
    const later = this.#members.find(({ asynchronous }) => asynchronous?.trail?.mirror === mirror);
    return later?.asynchronous?.trail?.isSent ?? true;
  }

  /** It has not come back yet, for this reason. */
  note(index: number, lastError: LockstepError): void {
    const { asynchronous: before, lastError: known } = this.#members[index] as Member;
    if (!before) {
      this.#change(index, { lastError });
      return;
    }
    const { trail } = before;
    const since = trail ? trail.since || performance.now() : before.since;
    const asynchronous = { trail: null, held: trail?.held ?? before.held, since };
    const member = this.#change(index, { lastError, asynchronous });
    if (!known) this.onDetached(member, null);
  }

  /** An asynchronous stream has nearly all, and takes along what is committed from now on. */
  goesAlong(index: number, trail: Trailing): void {
    const { asynchronous, lastError } = this.#members[index] as Member;
    if (!asynchronous || asynchronous.trail === trail) return;
    const change = { lastError: null, asynchronous: { ...asynchronous, trail } };
    const member = this.#change(index, change);
    if (lastError) queueMicrotask(() => this.onRejoined(member));
  }

  /** Takes those that have all by now off the record. */
  complete(hasConfirmed: (index: number, head: number) => boolean): void {
    for (const { index, joinedAt, hasAllAt } of this.#members) {
      if (!joinedAt || !hasConfirmed(index, hasAllAt)) continue;
      const whole = this.#change(index, { joinedAt: null, mark: null, lastError: null });
      // durable: a replica is on record as detached until it has all
      this.#record([whole]);
      queueMicrotask(() => this.onRejoined(whole)); // a listener may commit, which leads here again
    }
  }

  #change(index: number, change: Partial<Member>): Member {
    this.#members = this.#members.map((each) =>
      each.index === index ? { ...each, ...change } : each,
    );
    return this.#members[index] as Member;
  }

  #recount(): void {
    this.#attached = this.#members.flatMap(({ mirror }) => mirror ?? []);
  }

  #record(news: readonly Member[], leftAt: readonly Position[] = []): void {
    const history = this.#primary.sidecar.lacking(leftAt);
    const detached = this.#members.flatMap(({ mark }) => mark ?? []);
    const what = news.map(({ path, mark }) =>
      mark ? `without ${path}: ${mark.code}` : `${path} has rejoined`,
    );
    const event: [string, string] = [detached.length > 0 ? "degraded" : "whole", what.join("; ")];
    this.#primary.sidecar.update({ detached }, { history, event });
    this.#tell(history);
  }

  #tellLeft(keep: readonly Position[] | null): void {
    const at = this.#primary.later.at;
    // One that lacks commits must not take them for its past.
    const whole = this.#members.filter(isWhole);
    for (const { mirror } of whole) mirror?.post({ type: "left", at, keep });
  }

  /** If the primary is lost one day, the others have to prove that a replica is older than they. */
  #tell(history: readonly Position[]): void {
    if (history.length === 0) return;
    for (const { mirror } of this.#members) mirror?.post({ type: "passed", history });
  }
}

/** May a start go on without the copy that this failure is about? */
export function mayBeAbsent(code: Code): boolean {
  return ABSENT.includes(code);
}

/** Does it hold all that is acknowledged? */
function isWhole({ mirror, joinedAt }: Member): boolean {
  return mirror !== null && joinedAt === null;
}
