/**
 * Proves that a replica restores: makes a restored copy of it in a scratch directory, compares that
 * with the live primary page by page at one position, has SQLite check it, and runs on it what the
 * user expects. Both may be in use. Neither is written; what came of it is put beside the replica
 * (lineage/proof.ts), where `lockstep status` shows it.
 *
 * The work is done in a process of its own (drill/work.ts), so that it may be called wherever the
 * databases are open, and be ended at any time.
 */
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { secondsSince } from "./drill/expect.ts";
import { makeScratch, removeScratch } from "./drill/scratch.ts";
import type { DrillProgress, DrillTask, Worked } from "./drill/work.ts";
import { loadDriver } from "./driver.ts";
import { codes, LockstepError } from "./errors.ts";
import { runChild } from "./lineage/child.ts";
import { isThere, realPath } from "./lineage/describe.ts";
import { type Proof, proofPath, writeProof } from "./lineage/proof.ts";
import { missingCopy } from "./lineage/refusal.ts";
import { look } from "./status.ts";

export type { Expectation } from "./drill/expect.ts";
export type { DrillProgress } from "./drill/work.ts";

export interface DrillOptions {
  /** A directory for the restored copy, with room for all of it. Default: the replica's. */
  readonly scratch?: string | undefined;
  /** SQL, any number of statements each: each must return a row whose first column is true. */
  readonly expect?: readonly string[] | undefined;
  /** Ends the drill at once, the copy removed and nothing put on record. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: DrillProgress) => void;
}

export interface DrillReport extends Omit<Worked, "seconds"> {
  readonly primary: string;
  readonly replica: string;
  /** Is the restored copy the primary's, page by page, sound, and as expected? */
  readonly proven: boolean;
  /** The first thing that was wrong; null if it is proven. */
  readonly why: string | null;
  /** When it ended, in UTC. */
  readonly at: string;
  /** How long each part took, and all. */
  readonly seconds: Worked["seconds"] & { readonly total: number };
}

/**
 * Drills one replica.
 * @throws LockstepError NOT_A_DATABASE; BAD_OPTION if both are one file, an expectation cannot be run,
 *   or there is no scratch directory; NO_ROOM; BUSY if it is held exclusively or no common state was
 *   met; VERIFY (a hot journal, a foreign log); SIDECAR; REPLICA_IO if only the outcome could not be
 *   put on record. The signal's reason if it was aborted. What the system says passes through
 */
export async function drill(
  primary: string,
  replica: string,
  { scratch, expect = [], signal, onProgress = () => {} }: DrillOptions = {},
): Promise<DrillReport> {
  const began = performance.now();
  const [from, to] = [realPath(primary), realPath(replica)];
  for (const file of [from, to]) if (!isThere(file)) throw missingCopy(file);
  const { record } = await look(loadDriver("node:sqlite"), to);
  const copyId = record?.state.copyId ?? null;
  const directory = makeScratch(to, scratch);
  let worked: Worked;
  try {
    const task: DrillTask = {
      ...{ primary: from, replica: to, scratch: directory, expectations: expect },
    };
    worked = await runChild<Worked, DrillProgress>(WORK, "drill", task, {
      ...{ onProgress, signal },
      unwanted: () => (signal?.aborted ? (signal.reason as Error) : null),
    });
  } catch (error) {
    if (isOfReplica(error, to)) {
      const why = error instanceof LockstepError ? error.what : (error as Error).message;
      putOnRecord(to, copyId, { proven: false, position: null, why });
    }
    throw error;
  } finally {
    removeScratch(directory);
  }
  const why = wrongWith(worked);
  const proven = why === null;
  const at = putOnRecord(to, copyId, { proven, position: worked.position, why });
  const seconds = { ...worked.seconds, total: secondsSince(began) };
  return { primary: from, replica: to, proven, why, at, ...worked, seconds };
}

// --- internal ---

const WORK = fileURLToPath(new URL(`./drill/work${extname(import.meta.url)}`, import.meta.url));

/** The first thing that keeps the copy from being proven; null if nothing does. */
function wrongWith({
  differing,
  different,
  pages,
  integrity,
  expectations,
}: Worked): string | null {
  const [first] = different;
  if (first) {
    const owner = first.owner ?? "no table or index";
    return `${differing} of ${pages} pages differ from the primary's, page ${first.page} of ${owner}`;
  }
  if (integrity !== "ok") return `integrity_check: ${integrity.split("\n")[0]}`;
  const failed = expectations.find(({ holds }) => !holds);
  return failed ? `not as expected: ${failed.sql}${failed.error ? `: ${failed.error}` : ""}` : null;
}

/** Does the error say that the replica cannot be restored? Others leave the question open. */
function isOfReplica(error: unknown, replica: string): boolean {
  if (error instanceof LockstepError) {
    const { code, copy } = error;
    return copy === replica && (code === codes.NOT_A_DATABASE || code === codes.VERIFY);
  }
  return (error as { file?: unknown }).file === replica; // its disk cannot read it
}

/** @returns when it was, in UTC */
function putOnRecord(
  replica: string,
  copyId: string | null,
  outcome: Omit<Proof, "at" | "provenAt">,
): string {
  const at = new Date().toISOString();
  try {
    writeProof(replica, copyId, { at, ...outcome });
  } catch (cause) {
    throw new LockstepError(codes.REPLICA_IO, {
      copy: replica,
      what: `${proofPath(replica)} could not be written: ${(cause as Error).message}`,
      state: outcome.proven
        ? "The replica restores; only that it was proven is not on record"
        : `The replica was not proven to restore: ${outcome.why}`,
      next: "Set right what the system complains of, and run the command again",
      cause,
    });
  }
  return at;
}
