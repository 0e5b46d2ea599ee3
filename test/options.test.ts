/** The rules of src/options.ts: one test for each, in their order. */
import assert from "node:assert/strict";
import path from "node:path";
import { describe, test } from "node:test";
import { codes, LockstepError } from "../src/errors.ts";
import { readOptions } from "../src/options.ts";

const replicas = ["/b"];

function refuses(options: object, what: RegExp, inDsn = {}): void {
  assert.throws(
    () => readOptions(options, inDsn),
    (error) => {
      assert.ok(error instanceof LockstepError, String(error));
      assert.equal(error.code, codes.BAD_OPTION);
      assert.match(error.what, what);
      return true;
    },
  );
}

test("without replicas there is no replication", () => {
  for (const options of [undefined, null, 5, {}, { timeout: 5 }, { replicas: undefined }]) {
    assert.equal(readOptions(options, {}), null);
  }
  assert.equal(readOptions({ replicas: undefined, durability: "commit" }, {}), null);
});

test("defaults", () =>
  assert.deepEqual(readOptions({ replicas }, {}), {
    replicas: [path.resolve("/b")],
    durability: "commit",
    minCopies: 2,
    replicaTimeout: 60_000,
    restoreMissing: false,
    checkpointBytes: 8 * 1024 * 1024,
    scrubBytesPerSecond: 0,
    openTransactionMs: 60_000,
    lowSpaceBytes: null,
    onProgress: null,
  }));

test("every option is taken", () => {
  const onProgress = (): void => {};
  const durability = "barrier";
  const given = {
    durability,
    minCopies: 3,
    replicaTimeout: 1,
    restoreMissing: true,
    checkpointBytes: 1,
    scrubBytesPerSecond: 1,
    openTransactionMs: 0,
    lowSpaceBytes: 0,
    onProgress,
  };
  const read = readOptions(
    { ...given, replicas: ["b", { path: "c" }], onReplicaFailure: "degrade" },
    {},
  );
  assert.deepEqual(read, { ...given, replicas: [path.resolve("b"), path.resolve("c")] });
});

test("how many copies must hold a commit: all, or with degrade two, if not said otherwise", () => {
  const three = { replicas: ["/b", "/c"] };
  const least = (options: object): number | undefined => readOptions(options, {})?.minCopies;
  assert.equal(least(three), 3);
  assert.equal(least({ ...three, onReplicaFailure: "stop" }), 3);
  assert.equal(least({ ...three, onReplicaFailure: "degrade" }), 2);
  assert.equal(least({ ...three, onReplicaFailure: "degrade", minCopies: 1 }), 1);
  assert.equal(least({ ...three, onReplicaFailure: "degrade", minCopies: 3 }), 3);
});

describe("rules", () => {
  const rules: [options: object, what: RegExp][] = [
    [{ replica: "/b" }, /`replica` is not known: is `replicas` meant\?/],
    [{ replicas, ReplicaTimeout: 5 }, /`ReplicaTimeout` is not known: is `replicaTimeout` meant\?/],
    [{ replicas, restore_missing: true }, /is `restoreMissing` meant\?/],
    [{ replicas, checkpointByte: 5 }, /is `checkpointBytes` meant\?/],
    [{ replicas: "/b" }, /`replicas` must be an array, not '\/b'/],
    [{ replicas: null }, /`replicas` must be an array, not null/],
    [{ replicas: [] }, /`replicas` must name at least one replica/],
    [{ replicas: [5] }, /`replicas` must hold paths, or objects with nothing but a path/],
    [{ replicas: [{ file: "/b" }] }, /objects with nothing but a path/],
    [{ replicas: [{ path: "/b", weight: 5 }] }, /objects with nothing but a path/],
    [{ replicas: [" "] }, /`replicas` must hold paths of files/],
    [{ replicas: [":memory:"] }, /paths of files/],
    [{ replicas: ["http://host/stream"] }, /paths of files/],
    [{ replicas: ["file:/b"] }, /paths of files/],
    [{ replicas: [{ path: "sqlite3:///b" }] }, /paths of files/],
    [{ replicas: ["/b\0c"] }, /paths of files/],
    [{ replicas, durability: "later" }, /`durability` must be "commit" or "barrier", not 'later'/],
    [{ replicas, onReplicaFailure: "ignore" }, /`onReplicaFailure` must be "stop" or "degrade"/],
    [{ replicas, onReplicaFailure: "degrade", minCopies: 0 }, /`minCopies` must be a positive/],
    [{ replicas, onReplicaFailure: "degrade", minCopies: 3 }, /`minCopies` is 3, .* only 2 copies/],
    [{ replicas, minCopies: 1 }, /`minCopies` has no effect without `onReplicaFailure: "degrade"`/],
    [{ replicas, replicaTimeout: 0 }, /`replicaTimeout` must be an integer from 1/],
    [{ replicas, replicaTimeout: 0x80000000 }, /`replicaTimeout` must be an integer from 1/],
    [{ replicas, replicaTimeout: "5" }, /in milliseconds, not '5'/],
    [{ replicas, replicaTimeout: 1.5 }, /in milliseconds, not 1.5/],
    [{ replicas, restoreMissing: 1 }, /`restoreMissing` must be true or false, not 1/],
    [{ replicas, checkpointBytes: 0 }, /`checkpointBytes` must be a positive integer, in bytes/],
    [{ replicas, checkpointBytes: 10n }, /`checkpointBytes` must be a positive integer/],
    [
      { replicas, openTransactionMs: -1 },
      /`openTransactionMs` must be an integer from 0, in milli/,
    ],
    [{ replicas, lowSpaceBytes: 0.5 }, /`lowSpaceBytes` must be an integer from 0, in bytes/],
    [{ replicas, onProgress: {} }, /`onProgress` must be a function, not {}/],
    [{ durability: "commit" }, /`durability` has no effect without `replicas`/],
  ];
  for (const [options, what] of rules) test(what.source, () => refuses(options, what));
});

test("streams are replicas, too, and no error repeats what is secret in their addresses", () => {
  const address = "nats://app:secret@host/name?system=sys:hidden";
  const read = readOptions({ replicas: [address, { path: "archive:here?keep=1d" }] }, {});
  assert.deepEqual(read?.replicas, [address, `archive:${path.resolve("here")}?keep=1d`]);
  for (const replicas of [
    [address, ""],
    [address, 7],
  ]) {
    assert.throws(
      () => readOptions({ replicas }, {}),
      (error: Error) => /nats:\/\/…/.test(error.message) && !/secret|hidden/.test(error.message),
    );
  }
});

test("the drivers' own options are no near misses", () => {
  const better = ["readonly", "fileMustExist", "timeout", "verbose", "nativeBinding", "journalFd"];
  const node = ["open", "readOnly", "allowExtension", "limits", "defensive", "returnArrays"];
  const flags = ["enableForeignKeyConstraints", "readBigInts", "allowBareNamedParameters"];
  for (const name of [...better, ...node, ...flags]) readOptions({ [name]: 1 }, {});
});

describe("beside a DSN", () => {
  const inDsn = { replicas: ["/b"], replicaTimeout: 5 };

  test("its options are taken", () =>
    assert.equal(readOptions({ restoreMissing: true }, inDsn)?.replicaTimeout, 5));

  test("replicas may stand in either", () => {
    assert.deepEqual(readOptions({ replicas }, { replicaTimeout: 5 })?.replicas, [
      path.resolve("/b"),
    ]);
    assert.deepEqual(readOptions(undefined, inDsn)?.replicas, [path.resolve("/b")]);
  });

  test("the same in both is one", () => {
    const same = { replicas: [{ path: "/x/../b" }], replicaTimeout: 5 };
    assert.deepEqual(readOptions(same, inDsn)?.replicas, [path.resolve("/b")]);
  });

  test("contradictions are refused", () => {
    refuses({ replicas: ["/c"] }, /`replicas` contradicts the DSN, which says \[ '\/b' \]/, inDsn);
    refuses({ replicas: ["/b", "/c"] }, /`replicas` contradicts the DSN/, inDsn);
    refuses({ replicaTimeout: 6 }, /`replicaTimeout` contradicts the DSN, which says 5/, inDsn);
  });

  test("options of a DSN without replicas have no effect either", () =>
    refuses({}, /`replicaTimeout` has no effect/, { replicaTimeout: 5 }));
});
