/**
 * The committing thread's hold on the process that looks for rot while the copies are in use. Nothing
 * ever waits for it, and it keeps no process alive. What it proposes is healed (heal.ts) as soon as that can be done at once.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isStream } from "../address.ts";
import { throwOurs } from "../errors.ts";
import type { LivePage, ReplicationEvents } from "../observe.ts";
import type { Healer, Proposal, Remedy } from "./heal.ts";

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

export class Scrubber {
  /** What was found so far, and is not healed. */
  rot: readonly LivePage[] = [];
  /** How many pages were healed. */
  healed = 0;
  readonly #context: Scrubbing;
  readonly #process: ChildProcess;
  #closed = false;

  /** @param bytesPerSecond how much it reads */
  constructor(copies: readonly string[], bytesPerSecond: number, context: Scrubbing) {
    this.#context = context;
    const url = new URL(`../scrub/scrubber${extname(import.meta.url)}`, import.meta.url);
    const files = copies.filter((copy) => !isStream(copy));
    const job = JSON.stringify({ copies: files, bytesPerSecond, heals: context.healer !== null });
    this.#process = spawn(process.execPath, ["--no-warnings", fileURLToPath(url), job], {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, NODE_OPTIONS: "" }, // what is meant for the application is not for this
    });
    const { stdin, stdout } = this.#process;
    for (const each of [this.#process, stdin as unknown as Socket, stdout as Socket]) each.unref();
    this.#process.on("error", () => {}); // then nobody looks; nothing depends on it
    stdin?.on("error", () => {});
    createInterface({ input: stdout as Socket }).on("line", (line) => {
      if (!this.#closed) this.#heed(JSON.parse(line) as Finding);
    });
  }

  close(): void {
    this.#closed = true;
    this.#process.kill("SIGKILL"); // of a copy it writes nothing but what it keeps aside
  }

  #heed(finding: Finding): void {
    if (finding.type === "heal") this.#heal(finding, TRIES);
    else if (finding.type === "gone") this.#take(finding.copy, finding.page);
    else if (finding.type === "sound") this.#isSound(finding.copy, finding.page, null);
    else {
      const { copy, page, owner } = finding;
      this.rot = [...this.rot, { copy, page, owner }];
      this.#context.tell("rot", { copy, page, owner });
    }
  }

  #heal(proposal: Proposal, tries: number): void {
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
      this.#after(Math.max(rest, BETWEEN_TRIES_MS), () => this.#heal(proposal, left));
    } else this.#after(rest, () => this.#answer(healed));
  }

  /** What was healed passes the gate. */
  #finish(copy: string, pages: readonly Remedy[]): void {
    this.#context.durable().then(() => this.#isHealed(copy, pages), throwOurs);
  }

  #after(milliseconds: number, work: () => void): void {
    setTimeout(() => !this.#closed && work(), milliseconds).unref();
  }

  #answer(healed: readonly Remedy[] | null): void {
    const pages = healed?.map(({ page }) => page) ?? null;
    this.#process.stdin?.write(`${JSON.stringify(pages)}\n`);
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
