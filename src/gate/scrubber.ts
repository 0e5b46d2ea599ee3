/**
 * The committing thread's hold on the process that looks for rot while the copies are in use. Nothing
 * ever waits for it, and it keeps no process alive. One that ends is begun anew. What it proposes is healed
 * (heal.ts) as soon as that can be done at once.
 */
import type { Socket } from "node:net";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { isStream } from "../address.ts";
import { beginChild, type Child, hear } from "../child-process.ts";
import { throwOurs } from "../errors.ts";
import type { LivePage, ReplicationEvents } from "../observe.ts";
import type { Healer, Proposal, Remedy } from "./heal.ts";

/** What the process is started with. */
export interface ScrubberJob {
  readonly copies: readonly string[];
  readonly bytesPerSecond: number;
  /** Is what has rotted healed, if it can be? Else it is named only. */
  readonly heals: boolean;
  /** Of each copy, the pages that were named before. */
  readonly named: readonly (readonly number[])[];
}

/** What the process says, one JSON object a line. */
export type Finding =
  | ({ readonly type: "rot" } & LivePage)
  /** It was named, and is as it should be again: a commit has written it anew. */
  | { readonly type: "sound"; readonly copy: string; readonly page: number }
  /** It was named, and is no page of the copy any more, or nobody knows what it should be. */
  | { readonly type: "gone"; readonly copy: string; readonly page: number }
  /** It waits for the numbers of the pages that were healed, one JSON array a line; null: it was tried in vain. */
  | ({ readonly type: "heal" } & Proposal);

export interface Scrubbing {
  /** Null: what has rotted is named only. */
  readonly healer: Healer | null;
  readonly tell: <Name extends "rot" | "healed">(
    event: Name,
    ...what: ReplicationEvents[Name]
  ) => void;
  /** When all that was committed is durable in every copy. */
  readonly durable: () => Promise<unknown>;
}

/** How often it is tried to heal what was proposed, and how long in between, in milliseconds. */
const TRIES = 100;
const BETWEEN_TRIES_MS = 100;
/** Then the thread is left alone for so many times what it took. */
const REST = 10;
/** How soon a process that ended is begun anew, in milliseconds: each time later, unless it has lasted for longer than that. */
const ANEW_MS = 500;
const ANEW_MOST_MS = 60_000;
/** How many pages of a copy it is told then, which were named before: an argument cannot be of any length. */
const NAMED = 2000;

export class Scrubber {
  /** What was found so far, and is not healed. */
  rot: readonly LivePage[] = [];
  /** How many pages were healed. */
  healed = 0;
  /** Why nobody looks just now; null: somebody does. */
  missing: string | null = null;
  readonly #job: Omit<ScrubberJob, "named">;
  readonly #context: Scrubbing;
  #process: Child | null = null;
  #anewMs = ANEW_MS;
  #closed = false;

  /** @param bytesPerSecond how much it reads */
  constructor(copies: readonly string[], bytesPerSecond: number, context: Scrubbing) {
    this.#context = context;
    const files = copies.filter((copy) => !isStream(copy));
    this.#job = { copies: files, bytesPerSecond, heals: context.healer !== null };
    this.#begin();
  }

  close(): void {
    this.#closed = true;
    this.#process?.kill("SIGKILL"); // of a copy it writes nothing but what it keeps aside
  }

  #begin(): void {
    const began = performance.now();
    const namedOf = (path: string): number[] =>
      this.rot.flatMap(({ copy, page }) => (copy === path ? page : []));
    const named = this.#job.copies.map((copy) => namedOf(copy).slice(0, NAMED));
    const job: ScrubberJob = { ...this.#job, named };
    try {
      const child = beginChild(SCRIPT, [JSON.stringify(job)], ["pipe", "ignore"]);
      this.#process = child;
      this.missing = null;
      for (const each of [child, child.stdin, child.stdout]) (each as Socket | Child).unref();
      child.stdin.on("error", () => {}); // it ended, which is told
      const ended = (how: string): void => {
        if (this.#process !== child || this.#closed) return;
        this.#process = null;
        if (performance.now() - began > this.#anewMs) this.#anewMs = ANEW_MS;
        this.#lacks(how);
      };
      child.on("error", ({ message }) => ended(message));
      child.on("exit", (code, signal) => ended(`it ended with ${code ?? signal}`));
      hear<Finding>(child, (finding) => {
        if (this.#process === child && !this.#closed) this.#heed(child, finding);
      });
    } catch (error) {
      this.#lacks((error as Error).message);
    }
  }

  /** Nothing depends on it: it is tried again. */
  #lacks(why: string): void {
    this.missing = why;
    setTimeout(() => !this.#closed && this.#begin(), this.#anewMs).unref();
    this.#anewMs = Math.min(2 * this.#anewMs, ANEW_MOST_MS);
  }

  #heed(child: Child, finding: Finding): void {
    if (finding.type === "heal") this.#heal(child, finding, TRIES);
    else if (finding.type === "gone") this.#take(finding.copy, finding.page);
    else if (finding.type === "sound") this.#isSound(finding.copy, finding.page, null);
    else {
      const { copy, page, owner } = finding;
      if (this.rot.some((each) => each.copy === copy && each.page === page)) return;
      this.rot = [...this.rot, { copy, page, owner }];
      this.#context.tell("rot", { copy, page, owner });
    }
  }

  #heal(child: Child, proposal: Proposal, tries: number): void {
    const began = performance.now();
    let healed: readonly Remedy[] | null = null; // those that are not are found again
    let left = tries - 1;
    try {
      healed = this.#context.healer?.heal(proposal) ?? null;
    } catch (error) {
      throwOurs(error); // what fenced the connections is told by whoever did it
      left = 0;
    }
    if (healed && healed.length > 0) this.#finish(proposal.copy, healed);
    const rest = REST * (performance.now() - began);
    if (healed === null && left > 0) {
      this.#after(child, Math.max(rest, BETWEEN_TRIES_MS), () => this.#heal(child, proposal, left));
    } else this.#after(child, rest, () => this.#answer(child, healed));
  }

  /** What was healed passes the gate. */
  #finish(copy: string, pages: readonly Remedy[]): void {
    this.#context.durable().then(() => this.#isHealed(copy, pages), throwOurs);
  }

  /** Unless it has ended by then: what it was waiting for it proposes no more. */
  #after(child: Child, milliseconds: number, work: () => void): void {
    const isThere = (): boolean => this.#process === child && !this.#closed;
    setTimeout(() => isThere() && work(), milliseconds).unref();
  }

  #answer(child: Child, healed: readonly Remedy[] | null): void {
    const pages = healed?.map(({ page }) => page) ?? null;
    child.stdin.write(`${JSON.stringify(pages)}\n`);
  }

  #isHealed(copy: string, pages: readonly Remedy[]): void {
    if (this.#closed) return;
    this.#context.healer?.record(copy, pages);
    for (const { page, from } of pages) this.#isSound(copy, page, from);
  }

  #isSound(copy: string, page: number, healedFrom: string | null): void {
    const found = this.#take(copy, page);
    if (!found) return;
    this.healed++;
    this.#context.tell("healed", { ...found, healedFrom });
  }

  /** It is rotten no more. */
  #take(copy: string, page: number): LivePage | null {
    const found = this.rot.find((each) => each.copy === copy && each.page === page) ?? null;
    this.rot = this.rot.filter((each) => each !== found);
    return found;
  }
}

const SCRIPT = fileURLToPath(
  new URL(`../scrub/scrubber${extname(import.meta.url)}`, import.meta.url),
);
