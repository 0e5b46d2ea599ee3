/** What Prometheus is told, read by a strict reader; and that the reader refuses what is wrong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { prometheusText } from "../../src/serve/prometheus.ts";
import { Recorder } from "../../src/serve/recorder.ts";
import { snapshotOf } from "../../src/serve/snapshot.ts";
import { Still } from "./handle.ts";
import { readMetrics } from "./prometheus.ts";

function textOf(...all: Still[]): string {
  return prometheusText(
    all.map(({ handle }) => {
      const recorder = new Recorder(handle);
      recorder.close();
      return { snapshot: snapshotOf(handle, recorder), metrics: handle.metrics, rot: 0, healed: 0 };
    }),
  );
}

test("names, units and values", () => {
  const still = new Still();
  still.commits.add(0.3);
  still.commits.add(40);
  still.syncs.add(0.2);
  still.counted = { commits: 12345, bytes: 2 ** 40, checkpoints: 3, oldestReaderMs: 1500 };
  const samples = readMetrics(textOf(still));
  const primary = "/a/app.db";
  const replica = '/b/"app"\\.db';
  const value = (name: string, labels = {}): number | undefined => {
    const wanted = JSON.stringify({ primary, ...labels });
    return samples.get(name)?.find((each) => JSON.stringify(each.labels) === wanted)?.value;
  };
  assert.equal(value("lockstep_commits_total"), 12345);
  assert.equal(value("lockstep_committed_bytes_total"), 2 ** 40);
  assert.equal(value("lockstep_checkpoints_total"), 3);
  assert.equal(value("lockstep_oldest_reader_seconds"), 1.5);
  assert.equal(value("lockstep_healthy"), 1);
  assert.equal(value("lockstep_commit_duration_seconds_count"), 2);
  assert.ok(Math.abs((value("lockstep_commit_duration_seconds_sum") ?? 0) - 0.0403) < 1e-9);
  const below = (le: string) => value("lockstep_commit_duration_seconds_bucket", { le });
  assert.deepEqual([below("0.000256"), below("0.000512")], [0, 1]);
  assert.deepEqual([below("0.032768"), below("0.065536"), below("+Inf")], [1, 2, 2]);
  assert.equal(value("lockstep_replica_state", { replica, state: "mirroring" }), 1);
  assert.equal(value("lockstep_replica_state", { replica, state: "failed" }), 0);
  assert.equal(value("lockstep_replica_sync_duration_seconds_count", { replica }), 1);
  assert.equal(value("lockstep_replica_last_proof_timestamp_seconds", { replica }), undefined);
});

test("several databases are one text", () => {
  const other = new Still();
  other.status = { ...other.status, primary: { ...other.status.primary, path: "/c/\napp.db" } };
  const samples = readMetrics(textOf(new Still(), other));
  assert.deepEqual(
    samples.get("lockstep_commits_total")?.map(({ labels }) => labels["primary"]),
    ["/a/app.db", "/c/\napp.db"],
  );
});

test("the reader refuses what is wrong", () => {
  const text = textOf(new Still());
  readMetrics(text);
  const wrong: [RegExp, string][] = [
    [/# HELP lockstep_ring_bytes .*\n/, ""],
    [/lockstep_commits_total counter/, "lockstep_commits_total gauge"],
    [/le="0.000016"} 0/, 'le="0.000016"} 1'],
    [/le="\+Inf"/, 'le="70"'],
    [/duration_seconds_count\{primary="[^"]*"} 0/, "$&1"],
    [/primary="/, "primary=" + '"\\x'],
    [/(lockstep_healthy\{.*\n)/, "$1$1"],
    [/\n$/, ""],
    [/lockstep_healthy\{(.*)} 1/, "lockstep_healthy{$1} one"],
  ];
  for (const [pattern, instead] of wrong) {
    const changed = text.replace(pattern, instead);
    assert.notEqual(changed, text, String(pattern));
    assert.throws(() => readMetrics(changed), String(pattern));
  }
});
