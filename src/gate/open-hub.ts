/**
 * Opens a hub, or shares one: connections of a thread to the same primary have one. What the
 * application never closed is closed at exit.
 */
import fs from "node:fs";
import { isAsynchronous, isStream, streamName, waitedFor } from "../address.ts";
import type { DriverName } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import { realPath } from "../lineage/describe.ts";
import { type Progress, type Replication, readOptions } from "../options.ts";
import type { Foreign, HubOptions } from "./foreign-start.ts";
import { Hub } from "./hub.ts";
import { mayBeAbsent } from "./roster.ts";

const hubs = new Map<string, Hub>();

/**
 * Locks the copies, proves their lineage and brings them together; before the application's own
 * connection is opened. A second call for the same primary shares the first one's hub.
 * @throws LockstepError, any code of the start
 */
export function openHub(driver: DriverName, path: string, options: HubOptions): Hub {
  const key = realPath(path);
  const shared = hubs.get(key);
  if (shared) {
    shared.share(driver, options);
    return shared;
  }
  return keep(key, startHub(key, driver, options, new Map()));
}

/**
 * The same for a primary that other programs write. Nobody else in this thread may have it open.
 * @param later replicas that are brought in after the start, and why: commits do not wait for them before
 */
export function openForeign(
  path: string,
  options: Replication & { readonly foreign: Foreign },
  later: ReadonlyMap<string, LockstepError>,
): Hub {
  const key = realPath(path);
  const shared = hubs.get(key);
  if (shared) throw inUseHere(key);
  return keep(key, startHub(key, "node:sqlite", options, new Map(later)));
}

function keep(key: string, hub: Hub): Hub {
  hubs.set(key, hub);
  exitHook();
  return hub;
}

/**
 * Brings copies together as an opening with the default options would, and lets go of them. All are waited for.
 * @returns where all stand then: `timeline/generation/frame/checksum`
 * @throws LockstepError, any code of the start
 */
export function openOnce(
  primary: string,
  replicas: readonly string[],
  onProgress: (progress: Progress) => void,
): string {
  const given = { replicas: replicas.map(waitedFor), onProgress };
  const options = readOptions(given, {}) as Replication; // there are replicas
  const hub = openHub("node:sqlite", primary, options);
  const { position } = hub.replication.status.primary;
  hub.disconnect(null, () => {});
  return position;
}

/** With `onReplicaFailure: "degrade"` without replicas that are not at hand, if enough others are. */
function startHub(
  key: string,
  driver: DriverName,
  options: HubOptions,
  absent: Map<string, LockstepError>,
): Hub {
  const isWaitedFor = (replica: string): boolean => !isAsynchronous(replica);
  for (;;) {
    try {
      return new Hub(key, driver, options, { absent, onClose: () => hubs.delete(key) });
    } catch (error) {
      const { code, copy } = error as LockstepError;
      const others = options.replicas.filter((path) => !absent.has(path));
      const replica =
        others.find((path) => path === copy) ?? others.find((path) => nameOf(path) === copy);
      const left = 1 + options.replicas.filter(isWaitedFor).length - (absent.size + 1);
      const isTolerable =
        error instanceof LockstepError && mayBeAbsent(code) && left >= options.minCopies;
      // A primary that is missing is restored from the copy that has all: none may be absent.
      const file = fs.statSync(key, { throwIfNoEntry: false });
      if (!isTolerable || !replica || !file?.size) throw error;
      absent.set(replica, error);
    }
  }
}

function nameOf(replica: string): string {
  return isStream(replica) ? streamName(replica) : realPath(replica);
}

let exitHooked = false;

/** A database that was never closed is closed at exit, or the driver would do it behind our back. */
function exitHook(): void {
  if (exitHooked) return;
  exitHooked = true;
  process.on("exit", () => {
    for (const hub of [...hubs.values()]) {
      try {
        hub.closeAll();
      } catch (error) {
        // Nobody is left to catch it; the next start finds the copies as after a crash.
        process.exitCode ||= 1;
        console.error(error);
      }
    }
  });
}

function inUseHere(copy: string): LockstepError {
  return new LockstepError(codes.LOCKED, {
    copy,
    what: "This thread has it open with its replicas already",
    state: "Nothing was changed",
    next: "Replicate it there: what other programs write is carried along with each commit",
  });
}
