/**
 * When each replica was last proven to restore: whoever proves it leaves a file beside it. It is read in
 * the background, one file at a time and none while one hangs, for a replica's disk may.
 */
import fs from "node:fs/promises";
import { proofPath } from "../lineage/proof.ts";

export class Proofs {
  readonly #replicas: readonly string[];
  readonly #proven = new Map<string, string>();
  #reading: Promise<void> | null = null;

  constructor(replicas: readonly string[]) {
    this.#replicas = replicas;
    this.refresh();
  }

  /** ISO 8601, or null. */
  of(replica: string): string | null {
    return this.#proven.get(replica) ?? null;
  }

  /** Looks again, unless it is looking; resolves when that is done. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    for (const replica of this.#replicas) {
      const at = await read(proofPath(replica));
      if (at) this.#proven.set(replica, at);
      else this.#proven.delete(replica);
    }
  }
}

/** The property `provenAt` of the JSON in it; null if there is none, or it cannot be read just now. */
async function read(file: string): Promise<string | null> {
  try {
    const proof = JSON.parse(await fs.readFile(file, "utf8")) as { provenAt?: unknown };
    const time = typeof proof.provenAt === "string" ? Date.parse(proof.provenAt) : Number.NaN;
    return Number.isNaN(time) ? null : new Date(time).toISOString();
  } catch {
    return null; // no proof is what is to be said then, too
  }
}
