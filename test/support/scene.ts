/**
 * A primary and its replicas in directories of their own, written through the hub by this process
 * and, when asked for, by others. What was acknowledged is remembered, and every close of the last
 * connection ends in the comparison of assertAtRest(), asked for or not.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type Connection, type DriverName, loadDriver, type Row } from "../../src/driver.ts";
import type { LockstepError } from "../../src/errors.ts";
import type { HubClient } from "../../src/gate/client.ts";
import type { Hub } from "../../src/gate/hub.ts";
import { openHub } from "../../src/gate/open-hub.ts";
import { readFingerprint } from "../../src/lineage/fingerprint.ts";
import { readSidecar, type SidecarSnapshot } from "../../src/lineage/unlocked.ts";
import type { Progress, Replication } from "../../src/options.ts";
import { type Ending, scratch } from "../scratch.ts";
import { assertAtRest, copyDirectory, digestOf, keepFingerprint, readAtRest } from "./files.ts";

export interface SceneOptions {
  readonly replicas?: number;
  readonly driver?: DriverName;
}

/** Replication's options; `replicas` are numbers from 1 (of the scene's) or paths, default all. */
export type OpenOptions = Partial<Omit<Replication, "replicas">> & {
  readonly replicas?: readonly (number | string)[];
};

export class Scene {
  readonly root: string;
  readonly driver: DriverName;
  readonly primary: string;
  readonly replicas: readonly string[];
  /** What must be in every copy: row number to the length of its data. */
  readonly acknowledged: Map<number, number>;
  readonly #t: Ending;
  /** Of this scene and its images: what a failed test leaves open is let go at its end. */
  readonly #open: Set<Db>;

  private constructor(
    t: Ending,
    root: string,
    from: Required<SceneOptions> | Scene,
    open: Set<Db>,
  ) {
    this.#t = t;
    this.#open = open;
    this.root = root;
    this.driver = from.driver;
    const count = typeof from.replicas === "number" ? from.replicas : from.replicas.length;
    this.primary = path.join(root, "main", "app.db");
    this.replicas = Array.from({ length: count }, (_, i) =>
      path.join(root, `replica${i + 1}`, "app.db"),
    );
    this.acknowledged = from instanceof Scene ? new Map(from.acknowledged) : new Map();
  }

  static make(t: Ending, { replicas = 1, driver = "node:sqlite" }: SceneOptions = {}): Scene {
    const open = new Set<Db>();
    t.after(() => letGo(open)); // before scratch() removes the directory
    const scene = new Scene(t, fs.realpathSync(scratch(t)), { replicas, driver }, open);
    for (const copy of scene.copies) fs.mkdirSync(path.dirname(copy));
    return scene;
  }

  /** The same copies in exchanged roles: the first replica is the primary. */
  static swapped(t: Ending, scene: Scene): Scene {
    const swapped = new Scene(t, scene.root, scene, scene.#open);
    const [first, ...others] = scene.replicas as [string, ...string[]];
    return Object.assign(swapped, { primary: first, replicas: [scene.primary, ...others] });
  }

  /** The first replica. */
  get replica(): string {
    return this.replicas[0] as string;
  }

  get copies(): readonly string[] {
    return [this.primary, ...this.replicas];
  }

  open(options: OpenOptions = {}): Db {
    const db = new Db(this, options, () => this.#open.delete(db));
    this.#open.add(db);
    return db;
  }

  /** Opens, runs, closes: with the comparison at the end. */
  life(use: (db: Db) => void = () => {}, options: OpenOptions = {}): Db {
    const db = this.open(options);
    use(db);
    db.close();
    return db;
  }

  /**
   * What a kill -9 at this moment would leave, as a scene of its own. A copy has other inodes than
   * the original; where the sidecar records the original's, the image's says its own.
   */
  crashImage(): Scene {
    const root = fs.realpathSync(scratch(this.#t));
    for (const name of fs.readdirSync(this.root)) {
      copyDirectory(path.join(this.root, name), path.join(root, name));
    }
    const there = (copy: string): string => path.join(root, path.relative(this.root, copy));
    const image = Object.assign(new Scene(this.#t, root, this, this.#open), {
      primary: there(this.primary), // perhaps in exchanged roles
      replicas: this.replicas.map(there),
    });
    image.copies.forEach((copy, i) => {
      const from = fs.statSync(this.copies[i] as string, { bigint: true, throwIfNoEntry: false });
      const now = readFingerprint(copy);
      if (from && now) keepFingerprint(copy, { ...now, inode: String(from.ino) });
    });
    return image;
  }

  /** The start is refused with this code, says all it must, and changed neither copy. */
  refuses(code: string, options: OpenOptions = {}): LockstepError {
    const before = this.copies.map(digestOf);
    let thrown: unknown = null;
    try {
      this.open(options).abandon();
    } catch (error) {
      thrown = error;
    }
    const error = thrown as LockstepError;
    assert.equal(error?.code, `ERR_LOCKSTEP_${code}`, error?.stack ?? "the start succeeded");
    assert.ok(error.copy === null || this.copies.includes(error.copy), `copy: ${error.copy}`);
    for (const part of ["what", "state", "next"] as const) {
      assert.match(error[part], /\w.*[^.]$/s, part);
      assert.ok(error.message.includes(error[part]), `the message has "${part}"`);
    }
    assert.deepEqual(this.copies.map(digestOf), before, "neither copy was changed");
    return error;
  }

  sidecar(copy: string): SidecarSnapshot {
    const snapshot = readSidecar(loadDriver("node:sqlite"), copy);
    assert.ok(snapshot, `there is a sidecar beside ${copy}`);
    return snapshot;
  }

  /** What the sidecar's log of events says, without the details. */
  events(copy: string): string[] {
    return this.sidecar(copy).events.map(({ what }) => what);
  }

  /** All are closed: equal, sound, and every acknowledged row is there. */
  assertAtRest(replicas: readonly string[] = this.replicas): void {
    assertAtRest(this.primary, replicas);
    const found = readAtRest(this.primary, (db) => {
      const [table] = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 't'").all();
      return table ? db.prepare("SELECT n, length(data) AS bytes FROM t").all() : [];
    });
    const rows = new Map(found.map(({ n, bytes }) => [Number(n), Number(bytes)]));
    const lost = [...this.acknowledged].filter(([n, bytes]) => rows.get(n) !== bytes);
    assert.deepEqual(lost, [], "acknowledged, but not there");
  }
}

/** An application's connection, as the drop-ins make one. */
export class Db {
  readonly scene: Scene;
  readonly hub: Hub;
  readonly native: Connection;
  readonly progress: Progress[] = [];
  /** "checkpoint", "checkpoint-postponed", and the codes of failures. */
  readonly happened: string[] = [];
  readonly #client: HubClient;
  readonly #replicas: readonly string[];
  readonly #onClose: () => void;
  #open = true;

  constructor(scene: Scene, options: OpenOptions, onClose: () => void) {
    this.scene = scene;
    this.#onClose = onClose;
    this.#replicas = (options.replicas ?? scene.replicas).map((each) =>
      typeof each === "number" ? (scene.replicas[each - 1] as string) : each,
    );
    this.hub = openHub(scene.driver, scene.primary, {
      durability: "commit",
      minCopies: 1 + this.#replicas.length,
      replicaTimeout: 20_000,
      restoreMissing: false,
      checkpointBytes: 8 << 20,
      scrubBytesPerSecond: 0,
      openTransactionMs: 60_000,
      lowSpaceBytes: null,
      onProgress: (progress) => this.progress.push(progress),
      ...options,
      replicas: this.#replicas,
    });
    this.native = loadDriver(scene.driver).open(scene.primary, { timeout: 2000 });
    this.#client = {
      exec: (sql) => this.native.exec(sql),
      onFence: (failure) => this.happened.push(failure.code),
      closeNative: () => this.native.close(),
    };
    this.hub.connect(this.#client);
    const { replication } = this.hub;
    for (const event of ["checkpoint", "checkpoint-postponed"] as const) {
      replication.on(event, () => this.happened.push(event));
    }
  }

  exec(sql: string): void {
    this.native.exec(sql);
    this.hub.gate();
  }

  all(sql: string): Row[] {
    return this.native.all(sql);
  }

  /** Commits `count` rows one after the other; each is acknowledged when it returns. */
  put(count = 1, bytes = 100): void {
    const { acknowledged } = this.scene;
    if (acknowledged.size === 0) {
      this.exec("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, data BLOB)");
    }
    for (let i = 0; i < count; i++) {
      const n = Math.max(0, ...acknowledged.keys()) + 1;
      this.exec(`INSERT INTO t VALUES(${n}, randomblob(${bytes}))`);
      acknowledged.set(n, bytes);
    }
  }

  /** Commits a row past the gate: in the primary's log, and not acknowledged. */
  putUnacknowledged(n: number): void {
    this.native.exec(`INSERT INTO t VALUES(${n}, randomblob(100))`);
  }

  /** Is the start free of long work, as for copies in step? */
  assertNothingCopied(): void {
    assert.deepEqual(this.progress, []);
  }

  phases(): string[] {
    return [...new Set(this.progress.map(({ phase }) => phase))];
  }

  close(): void {
    this.abandon();
    this.scene.assertAtRest(this.#replicas);
  }

  /** Closes without the comparison: for a connection that is fenced, or beside another one. */
  abandon(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#onClose();
    this.hub.disconnect(this.#client, () => this.native.close());
  }
}

function letGo(open: ReadonlySet<Db>): void {
  for (const db of [...open]) {
    try {
      db.abandon();
    } catch {} // the test has failed already, and said why
  }
}
