/**
 * `openStandby` for better-sqlite3.
 */

import { locateReplica, openOrExplain } from "../replica/replica.ts";
import type { FollowStatus } from "../standby/follow.ts";
import type { Follower, FollowerOptions, StandbyMethods } from "../standby/follower.ts";
import { BetterReplica, type Replica, type ReplicaOptions } from "./better-replica.ts";
import { startStandby } from "./standby.ts";

/** A replica that is kept up from a stream as long as it is open. */
export interface Standby extends Replica, StandbyMethods {}

/** The driver's, and how to follow. */
export type StandbyOptions = ReplicaOptions & FollowerOptions;

/**
 * A warm standby: makes a copy of what `stream` holds at `path`, or goes on with the one that is there, brings it on in a process of
 * its own, and opens it for reading. Resolves when the copy has come to what was the stream's end at the call. Closing it stops the process; it
 * stops as well when this process ends, however that comes.
 * @param stream `nats://…` or `archive:…`
 * @throws LockstepError BAD_OPTION; LOCKED if somebody follows with that copy already; REPLICA_UNKNOWN, DIVERGED or REPLICA_GONE if what
 *   stands at `path` cannot go on; what `openReplica` throws; the signal's reason
 */
export async function openStandby(
  stream: string,
  path: string,
  options: StandbyOptions = {},
): Promise<Standby> {
  return startStandby(stream, path, options, (own, follower) => {
    const file = locateReplica("better-sqlite3", path);
    return openOrExplain(file, () => new BetterStandby(file, own, follower));
  });
}

// --- internal ---

class BetterStandby extends BetterReplica implements Standby {
  readonly #follower: Follower;

  constructor(file: string, options: ReplicaOptions, follower: Follower) {
    super(file, options, follower);
    this.#follower = follower;
  }

  get status(): FollowStatus {
    return this.#follower.status;
  }

  get failure(): Error | null {
    return this.#follower.failure;
  }

  get stopped(): Promise<void> {
    return this.#follower.stopped;
  }
}
