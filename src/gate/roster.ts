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
 */
import { type Code, codes, type LockstepError } from "../errors.ts";
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

  /** @param replicas a replica without a mirror is absent, for this reason */
  constructor(
    primary: Primary,
    minCopies: number,
    replicas: readonly (readonly [string, Mirror | null, LockstepError | null])[],
  ) {
    this.#primary = primary;
    this.#minCopies = minCopies;
    this.#members = replicas.map(([path, mirror, lastError], index) => {
      return { path, index, mirror, joinedAt: null, hasAllAt: 0, mark: null, lastError };
    });
    this.#recount();
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  /** Those that a commit waits for. */
  get attached(): readonly Mirror[] {
    return this.#attached;
  }

  /** Of streams: what cannot keep all that they acknowledge, and was accepted by name. */
  get accepted(): readonly (readonly [stream: string, what: string])[] {
    return this.#attached.flatMap(({ path, accepted }) =>
      accepted.map((what) => [path, what] as const),
    );
  }

  /** Do all hold all that is acknowledged? */
  get isWhole(): boolean {
    return this.#members.every(isWhole);
  }

  /** Those at hand have been brought together; puts on record which are not at hand. */
  begin(): void {
    this.#begun = true;
    const { detached: before } = this.#primary.sidecar.state;
    const since = new Date().toISOString();
    for (const { path, index, mirror, lastError } of this.#members) {
      if (mirror) continue;
      const known = before.find((each) => each.path === path);
      const mark = known ?? { path, position: null, since, code: String(lastError?.code) };
      this.#change(index, { mark });
    }
    const absent = this.#members.filter(({ mirror }) => !mirror);
    if (absent.length === 0 && before.length === 0) return;
    // What was on its way when the last process ended may have reached them, or some of it.
    const history = absent.length > 0 ? lastCommits(this.#primary, ON_THE_WAY_BYTES) : [];
    // durable: which replicas are absent is on record
    this.#record(absent, history);
    this.#tell(this.#primary.sidecar.history); // those that were away have not heard of the others
    for (const member of absent) this.onDetached(member, null);
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

  /** It has not come back yet, for this reason. */
  note(index: number, lastError: LockstepError): void {
    this.#change(index, { lastError });
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
