/** A pair, and beside it an archive that no commit waits for, on a disk that misbehaves. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { loadDriver } from "../../src/driver.ts";
import type { ReplicationOptions } from "../../src/index.ts";
import { readLeft } from "../../src/lineage/left-at.ts";
import { formatPosition, type Position } from "../../src/lineage/position.ts";
import { readSidecar } from "../../src/lineage/unlocked.ts";
import { createArchive } from "../../src/stream/archive.ts";
import { openStream } from "../../src/stream/open.ts";
import { readTail } from "../../src/stream/tail.ts";
import { ok, Pair } from "../faults/pair.ts";
import { materialize, messagesOf } from "./streamed.ts";

const PATIENCE_MS = 60_000;

export class Faulty {
  readonly pair: Pair;
  readonly address: string;
  /** The file replicas. */
  readonly #files: readonly string[];
  readonly #options: ReplicationOptions;

  private constructor(t: TestContext, options: ReplicationOptions, others: readonly string[]) {
    this.pair = new Pair(t, "node:sqlite", options);
    const { root } = this.pair.faults;
    this.#options = options;
    this.#files = [this.pair.replica, ...others.map((name) => path.join(root, name, "app.db"))];
    this.address = `archive:${this.#archive}?async=1`;
  }

  /** @param others directories of file replicas besides the first */
  static async make(
    t: TestContext,
    options: ReplicationOptions = {},
    pageSize = 4096,
    ...others: readonly string[]
  ): Promise<Faulty> {
    const faulty = new Faulty(t, options, others);
    for (const file of faulty.#files) fs.mkdirSync(path.dirname(file), { recursive: true });
    const db = new DatabaseSync(faulty.pair.primary);
    db.exec(`PRAGMA page_size=${pageSize}; CREATE TABLE other(data)`);
    db.close();
    await createArchive(faulty.#archive);
    await faulty.begin();
    return faulty;
  }

  get #archive(): string {
    return path.join(this.pair.faults.root, "other");
  }

  get replicas(): ReplicationOptions {
    return { ...this.#options, replicas: [...this.#files, this.address] };
  }

  async begin(): Promise<void> {
    await this.pair.begin(this.replicas);
    await this.until("mirroring");
  }

  async until(state: string): Promise<void> {
    for (const began = performance.now(); ; ) {
      const states = ok(await this.pair.subject.ask({ do: "states" })).value as string[];
      assert.ok(performance.now() - began < PATIENCE_MS, `it does not become ${state}: ${states}`);
      assert.equal(states[0], "mirroring");
      if (states.slice(1).every((each) => each === state)) return;
      ok(await this.pair.insert(2000));
      await this.pair.subject.ask({ do: "turn", milliseconds: 5 });
    }
  }

  /** The fault is gone. */
  async comesBack(): Promise<void> {
    this.pair.faults.set();
    await this.until("mirroring");
    ok(await this.pair.close());
    await this.assertEqual();
  }

  takeAway(): void {
    fs.renameSync(this.#archive, `${this.#archive}-away`);
  }

  bringBack(): void {
    fs.renameSync(`${this.#archive}-away`, this.#archive);
  }

  /** What every message of the archive means. */
  messages(): Promise<string[]> {
    return messagesOf(this.address);
  }

  /** Where the archive stands. */
  async position(): Promise<string | null> {
    const { log, keys } = await openStream(this.address);
    const { position } = await readTail(log, keys);
    await log.close();
    return position && formatPosition(position);
  }

  /** Of the primary's record. */
  get history(): readonly Position[] {
    return readSidecar(loadDriver("node:sqlite"), this.pair.primary)?.history ?? [];
  }

  /** All that the primary's record, and what lies beside it, names as its past. */
  get named(): readonly Position[] {
    const { primary } = this.pair;
    const { leftAt = {} } = readSidecar(loadDriver("node:sqlite"), primary)?.state ?? {};
    return [...this.history, ...Object.values(leftAt).flat(), ...readLeft(primary)];
  }

  async assertEqual(): Promise<void> {
    await this.pair.atRest();
    await this.assertHolds(this.pair.primary);
  }

  /** The archive leads to this, byte for byte. */
  async assertHolds(primary: string): Promise<void> {
    const made = `${this.pair.primary}-made`;
    await materialize(this.address, made);
    assert.ok(fs.readFileSync(made).equals(fs.readFileSync(primary)), "byte for byte");
    fs.rmSync(made);
  }
}
