/**
 * When each replica was last proven to restore: whoever proves it leaves a file beside it. It is read in
 * the background, in turn with all that looks at disks (watch/in-turn.ts), for a replica's disk may hang.
 */
import fs from "node:fs/promises";
import { parseProof, proofPath } from "../lineage/proof.ts";
import type { ReplicaStatus } from "../observe.ts";
import { inTurn, withdraw } from "../watch/in-turn.ts";

type Replica = Pick<ReplicaStatus, "path" | "copyId">;

export class Proofs {
  readonly #replicas: () => readonly Replica[];
  readonly #proven = new Map<string, string>();

  constructor(replicas: () => readonly Replica[]) {
    this.#replicas = replicas;
    this.refresh();
  }

  /** ISO 8601, or null. */
  of(replica: string): string | null {
    return this.#proven.get(replica) ?? null;
  }

  /** Looks again, in its turn. */
  refresh(): void {
    inTurn(this.#read);
  }

  close(): void {
    withdraw(this.#read);
  }

  readonly #read = async (): Promise<void> => {
    for (const { path, copyId } of this.#replicas()) {
      if (copyId === null) continue; // away: what was known of it stays
      const at = await read(path, copyId);
      if (at) this.#proven.set(path, at);
      else this.#proven.delete(path);
    }
  };
}

/** When this copy last did restore; null if never, or if that cannot be read just now. */
async function read(path: string, copyId: string): Promise<string | null> {
  try {
    const proof = parseProof(await fs.readFile(proofPath(path), "utf8"), copyId);
    const time = Date.parse(proof?.provenAt ?? "");
    return Number.isNaN(time) ? null : new Date(time).toISOString();
  } catch {
    return null; // no proof is what is to be said then, too
  }
}
