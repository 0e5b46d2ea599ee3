/** What the watcher looks at, of a database in use. */
import type { Watched } from "../watch/watcher.ts";
import type { Checkpointer } from "./checkpoint.ts";
import type { HubClient } from "./client.ts";
import type { Primary } from "./primary.ts";
import type { Roster } from "./roster.ts";
import type { Scrubber } from "./scrubber.ts";

/** @param copies the primary's path first */
export function watchedOf(
  copies: Watched["copies"],
  primary: Primary,
  { roster, checkpointer, clients, scrubber }: Parts,
): Watched {
  return {
    copies,
    index: primary.index,
    log: () => checkpointer.size,
    noScrub: () => scrubber?.missing ?? null,
    accepted: () => roster.accepted,
    transactions: () => [...clients].flatMap((each) => each.transaction?.() ?? []),
  };
}

export interface Parts {
  readonly roster: Roster;
  readonly checkpointer: Checkpointer;
  readonly clients: ReadonlySet<HubClient>;
  readonly scrubber: Scrubber | null;
}
