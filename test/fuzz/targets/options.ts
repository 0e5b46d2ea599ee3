/**
 * Options of any shape, beside any that a DSN named. They are read, and then read the same again; or
 * they are refused with BAD_OPTION; without replicas nothing is replicated.
 */
import assert from "node:assert/strict";
import path from "node:path";
import fc from "fast-check";
import { isStream } from "../../../src/address.ts";
import { codes, LockstepError } from "../../../src/errors.ts";
import { type Replication, type ReplicationOptions, readOptions } from "../../../src/options.ts";
import type { Target } from "../fuzzer.ts";

/** What fast-check makes of a seed. */
export interface OptionsInput {
  readonly seed: number;
}

const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});
const file = fc.oneof(fc.constantFrom("/a", "./b", "c:/d", " ", ":memory:", "file:x"), fc.string());
const replica = fc.oneof(file, fc.record({ path: file }), anything);
const own = {
  replicas: fc.oneof(fc.array(file, { minLength: 1 }), fc.array(replica), anything),
  durability: fc.oneof(fc.constantFrom("commit", "barrier"), anything),
  onReplicaFailure: fc.oneof(fc.constantFrom("stop", "degrade", "go on"), anything),
  minCopies: fc.oneof(fc.nat(4), anything),
  replicaTimeout: fc.oneof(fc.integer({ min: -1 }), fc.double(), anything),
  restoreMissing: fc.oneof(fc.boolean(), anything),
  checkpointBytes: fc.oneof(fc.maxSafeInteger(), anything),
  scrubBytesPerSecond: fc.oneof(fc.maxSafeInteger(), anything),
  onProgress: fc.oneof(fc.func(fc.constant(undefined)), anything),
};
const plausible = fc.record(own, { requiredKeys: [], noNullPrototype: true });
const misspelt = fc.dictionary(
  fc.oneof(
    fc.constantFrom("replica", "ReplicaTimeout", "checkpoint_bytes", "timeout", "readonly"),
    fc.string(),
  ),
  anything,
);
const given = fc.oneof(
  plausible,
  fc.tuple(plausible, misspelt).map(([a, b]) => ({ ...a, ...b })),
  anything,
);
/** What parseDsn() lets through. */
const inDsn = fc.record(
  {
    replicas: fc.array(fc.constantFrom("/a", "b"), { minLength: 1, maxLength: 3 }),
    durability: fc.constantFrom("commit" as const, "barrier" as const),
    replicaTimeout: fc.integer({ min: 1 }),
    restoreMissing: fc.boolean(),
    onReplicaFailure: fc.constantFrom("stop" as const, "degrade" as const),
  },
  { requiredKeys: [], noNullPrototype: true },
);

type Reads = (options: unknown, inDsn: ReplicationOptions) => Replication | null;

/** @param read the function under test: a canary's is wrong */
export function optionsTarget(_?: unknown, read: Reads = readOptions): Target<OptionsInput> {
  return {
    name: "options",
    unguided: true,
    corpus: [{ seed: 0 }],
    mutate: (_input, _others, random) => ({ seed: random.below(2 ** 31) }),
    check({ seed }) {
      for (const [options, dsn] of fc.sample(fc.tuple(given, inDsn), { seed, numRuns: 20 })) {
        checkOne(read, options, dsn);
      }
    },
  };
}

function checkOne(read: Reads, options: unknown, dsn: ReplicationOptions): void {
  let found: Replication | null;
  try {
    found = read(options, dsn);
  } catch (error) {
    assert.ok(error instanceof LockstepError, `${(error as Error).stack}`);
    assert.equal(error.code, codes.BAD_OPTION);
    return;
  }
  const own = typeof options === "object" && options !== null && !Array.isArray(options);
  const named = own ? (options as ReplicationOptions).replicas : undefined;
  assert.equal(found === null, named === undefined && dsn.replicas === undefined, "replicas");
  if (found === null) return;
  const { replicas, durability, minCopies, replicaTimeout, restoreMissing, checkpointBytes } =
    found;
  assert.ok(
    replicas.length > 0 && replicas.every((each) => isStream(each) || path.isAbsolute(each)),
    "paths",
  );
  assert.ok(["commit", "barrier"].includes(durability), "durability");
  assert.ok(Number.isInteger(replicaTimeout) && replicaTimeout > 0, "replicaTimeout");
  assert.ok(Number.isSafeInteger(checkpointBytes) && checkpointBytes > 0, "checkpointBytes");
  const { scrubBytesPerSecond: pace } = found;
  assert.ok(Number.isSafeInteger(pace) && pace >= 0, "scrubBytesPerSecond");
  assert.equal(typeof restoreMissing, "boolean", "restoreMissing");
  assert.ok(found.onProgress === null || typeof found.onProgress === "function", "onProgress");
  assert.ok(minCopies >= 1 && minCopies <= 1 + replicas.length, "minCopies");
  // What is null was not given.
  const given = Object.entries({ ...found, onReplicaFailure: "degrade" });
  const again = Object.fromEntries(given.filter(([, value]) => value !== null));
  assert.deepEqual(read(again, {}), found, "read again");
}
