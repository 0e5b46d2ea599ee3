/** A replication that does nothing by itself: what it is waited for ends when the test says so. */
import { Histogram } from "../../src/histogram.ts";
import type { ReplicationMetrics } from "../../src/metrics.ts";
import {
  type DurableOptions,
  ReplicationHandle,
  type ReplicationStatus,
} from "../../src/observe.ts";

export class Still {
  readonly handle: ReplicationHandle;
  /** Those who wait, and with what. */
  readonly waiting: {
    options: DurableOptions;
    answer(position: string): void;
    fail(error: Error): void;
  }[] = [];
  readonly commits = new Histogram();
  readonly syncs = new Histogram();
  status: ReplicationStatus = {
    primary: { path: "/a/app.db", position: "1/0/1/0", logBytes: 4152 },
    replicas: [
      {
        ...{ path: '/b/"app"\\.db', copyId: "b", state: "mirroring", position: "1/0/1/0" },
        ...{ asynchronous: false, lag: 0, lastError: null },
      },
    ],
    waits: 0,
    rot: [],
    healed: 0,
    warnings: [],
    failure: null,
  };
  counted: Partial<ReplicationMetrics> = {};

  constructor() {
    this.handle = new ReplicationHandle({
      status: () => this.status,
      metrics: () => this.#metrics(),
      durable: (options = {}) =>
        new Promise((answer, fail) => {
          options.signal?.addEventListener("abort", () => fail(options.signal?.reason));
          this.waiting.push({ options, answer, fail });
        }),
      durableSync: () => "1/0/1/0",
    });
  }

  #metrics(): ReplicationMetrics {
    return {
      commits: 0,
      bytes: 0,
      checkpoints: 0,
      checkpointsPostponed: 0,
      commitLatency: this.commits.latencies,
      ringBytes: 0,
      ringLimitBytes: 2 << 20,
      ringWaits: 0,
      logBytes: 4152,
      logLimitBytes: 32 << 20,
      oldestReaderMs: null,
      openTransactionMs: null,
      freeBytes: 5 << 20,
      replicas: this.status.replicas.map(({ path, lag }) => ({
        path,
        lag: { frames: lag, bytes: lag * 4120, seconds: 0 },
        freeBytes: null,
        syncLatency: this.syncs.latencies,
      })),
      ...this.counted,
    };
  }
}
