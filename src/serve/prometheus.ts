/**
 * The text format of Prometheus, version 0.0.4: a family is its HELP, its TYPE, and its samples in one
 * place. Names end in their unit, counters in `_total`.
 */
import { type Latencies, OCTAVE_ENDS, upperOf } from "../histogram.ts";
import type { ReplicationMetrics } from "../metrics.ts";
import type { Snapshot } from "./snapshot.ts";

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** One database, at one moment. */
export interface Reading {
  readonly snapshot: Snapshot;
  readonly metrics: ReplicationMetrics;
  /** How many pages have rotted and are not healed, and how many are healed. */
  readonly rot: number;
  readonly healed: number;
}

type Labels = Readonly<Record<string, string>>;
type Value = readonly [labels: Labels, value: number];

export function prometheusText(readings: readonly Reading[]): string {
  const out = new Text(readings);
  out.family("lockstep_info", "gauge", "Lockstep's version.", ({ snapshot }) => [
    [{ version: snapshot.version }, 1],
  ]);
  ofTheWhole(out);
  ofReplicas(out);
  return out.toString();
}

function ofTheWhole(out: Text): void {
  const one = (name: string, type: Type, help: string, value: (each: Reading) => number): void =>
    out.family(`lockstep_${name}`, type, help, (each) => [[{}, value(each)]]);
  one("healthy", "gauge", "1 if each copy waited for holds all commits.", ({ snapshot }) =>
    Number(snapshot.healthy),
  );
  one("failed", "gauge", "1 if nothing more is acknowledged before a reopening.", ({ snapshot }) =>
    Number(snapshot.failure !== null),
  );
  one("commits_total", "counter", "Transactions handed to the replicas.", (r) => r.metrics.commits);
  one(
    "committed_bytes_total",
    "counter",
    "Bytes of log handed to each replica.",
    (r) => r.metrics.bytes,
  );
  out.histogram(
    "lockstep_commit_duration_seconds",
    "How long commits waited for every copy; with durability barrier, the longest wait of each round.",
    ({ metrics }) => [[{}, metrics.commitLatency]],
  );
  one("checkpoints_total", "counter", "Checkpoints that were done.", (r) => r.metrics.checkpoints);
  one(
    "checkpoints_postponed_total",
    "counter",
    "Checkpoints put off because somebody reads.",
    (r) => r.metrics.checkpointsPostponed,
  );
  one(
    "oldest_reader_seconds",
    "gauge",
    "For how long readers have put off a checkpoint; 0 if none do.",
    (r) => (r.metrics.oldestReaderMs ?? 0) / 1000,
  );
  one(
    "oldest_transaction_seconds",
    "gauge",
    "For how long the oldest transaction of the thread's connections is open; 0 if none is.",
    (r) => (r.metrics.openTransactionMs ?? 0) / 1000,
  );
  out.family(
    "lockstep_free_bytes",
    "gauge",
    "What may still be written to the primary's file system.",
    ({ metrics }) => (metrics.freeBytes === null ? [] : [[{}, metrics.freeBytes]]),
  );
  out.family(
    "lockstep_warnings",
    "gauge",
    "How many things are not wrong yet, and should be known.",
    ({ snapshot }) => countedWarnings(snapshot),
  );
  one("log_bytes", "gauge", "The primary's log, up to its last commit.", (r) => r.metrics.logBytes);
  one(
    "log_limit_bytes",
    "gauge",
    "How large the log gets while nothing is in the way.",
    (r) => r.metrics.logLimitBytes,
  );
  one(
    "ring_bytes",
    "gauge",
    "Bytes on their way to the slowest replica.",
    (r) => r.metrics.ringBytes,
  );
  one(
    "ring_limit_bytes",
    "gauge",
    "How many may be on their way.",
    (r) => r.metrics.ringLimitBytes,
  );
  one(
    "ring_waits_total",
    "counter",
    "Commits that waited for room in the ring.",
    (r) => r.metrics.ringWaits,
  );
  one("rotten_pages", "gauge", "Pages found rotten, and not healed.", (r) => r.rot);
  one("healed_pages_total", "counter", "Pages found rotten, and healed.", (r) => r.healed);
}

function ofReplicas(out: Text): void {
  const each = (
    name: string,
    help: string,
    values: (replica: Snapshot["replicas"][number]) => readonly Value[],
  ): void =>
    out.family(`lockstep_replica_${name}`, "gauge", help, ({ snapshot }) =>
      snapshot.replicas.flatMap((replica) =>
        values(replica).map(
          ([labels, value]): Value => [{ replica: replica.path, ...labels }, value],
        ),
      ),
    );
  each("state", "1 for the state that the replica is in, 0 for the others.", ({ state }) =>
    STATES.map((name) => [{ state: name }, Number(state === name)]),
  );
  each("asynchronous", "1 if no commit waits for it.", ({ asynchronous }) => [
    [{}, Number(asynchronous)],
  ]);
  each("lag_frames", "Committed frames that it is not known to hold.", ({ lag }) => [
    [{}, lag.frames],
  ]);
  each("lag_bytes", "What these take in the log.", ({ lag }) => [[{}, lag.bytes]]);
  each("lag_seconds", "How old the oldest commit is that it is not known to hold.", ({ lag }) => [
    [{}, lag.seconds],
  ]);
  each("last_error", "1 if it failed, with the error's code.", ({ lastError }) =>
    lastError ? [[{ code: lastError.code }, 1]] : [],
  );
  each("last_proof_timestamp_seconds", "When it was last proven to restore.", ({ lastProof }) =>
    lastProof ? [[{}, Date.parse(lastProof) / 1000]] : [],
  );
  each("free_bytes", "What may still be written to its file system.", ({ freeBytes }) =>
    freeBytes === null ? [] : [[{}, freeBytes]],
  );
  out.histogram(
    "lockstep_replica_sync_duration_seconds",
    "How long the replica's syncs took.",
    ({ metrics }) =>
      metrics.replicas.map(({ path, syncLatency }) => [{ replica: path }, syncLatency]),
  );
}

/** How many there are of a kind and a copy: two transactions may be open. */
function countedWarnings({ warnings }: Snapshot): Value[] {
  const groups = Map.groupBy(warnings, ({ kind, copy }) => JSON.stringify({ kind, copy }));
  return [...groups].map(([labels, found]) => [JSON.parse(labels) as Labels, found.length]);
}

const STATES: readonly Snapshot["replicas"][number]["state"][] = [
  "mirroring",
  "failed",
  "closed",
  "detached",
  "rejoining",
];

type Type = "gauge" | "counter";

class Text {
  readonly #readings: readonly Reading[];
  #text = "";

  constructor(readings: readonly Reading[]) {
    this.#readings = readings;
  }

  family(
    name: string,
    type: Type,
    help: string,
    values: (each: Reading) => readonly Value[],
  ): void {
    const samples = this.#readings.flatMap((reading) =>
      values(reading).map(([labels, value]) => line(name, labelled(reading, labels), value)),
    );
    this.#add(name, type, help, samples);
  }

  histogram(
    name: string,
    help: string,
    values: (each: Reading) => readonly (readonly [Labels, Latencies])[],
  ): void {
    const samples = this.#readings.flatMap((reading) =>
      values(reading).flatMap(([labels, latencies]) =>
        histogramLines(name, labelled(reading, labels), latencies),
      ),
    );
    this.#add(name, "histogram", help, samples);
  }

  toString(): string {
    return this.#text;
  }

  #add(name: string, type: string, help: string, samples: readonly string[]): void {
    if (samples.length === 0) return;
    this.#text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.join("")}`;
  }
}

function labelled({ snapshot }: Reading, labels: Labels): Labels {
  return { primary: snapshot.primary.path, ...labels };
}

/** One bucket an octave, each with all that are below. */
function histogramLines(
  name: string,
  labels: Labels,
  { buckets, count, sumMs }: Latencies,
): string[] {
  let below = 0;
  let next = 0;
  const lines = OCTAVE_ENDS.map((end) => {
    for (; next <= end; next++) below += buckets[next] as number;
    return line(`${name}_bucket`, { ...labels, le: String(upperOf(end) / 1e6) }, below);
  });
  return [
    ...lines,
    line(`${name}_bucket`, { ...labels, le: "+Inf" }, count),
    line(`${name}_sum`, labels, sumMs / 1000),
    line(`${name}_count`, labels, count),
  ];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}{${pairs.join(",")}} ${value}\n`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
