/**
 * The grammar of src/dsn.ts from both sides. Property: what is written as the grammar says is read
 * back as it was meant. Replay: SEED=<seed> npx node --test test/dsn.test.ts
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isDsn, parseDsn } from "../src/dsn.ts";
import { codes, LockstepError } from "../src/errors.ts";
import { seed } from "./support/seed.ts";

describe("a DSN is read", () => {
  const read: [dsn: string, path: string, options: object][] = [
    ["sqlite3:///main.db:/backup.db", "/main.db", { replicas: ["/backup.db"] }],
    ["sqlite3:///a:/b:/c", "/a", { replicas: ["/b", "/c"] }],
    ["sqlite3:///a", "/a", {}],
    ["sqlite3://main.db:copy/main.db", "main.db", { replicas: ["copy/main.db"] }],
    ["SQLite3:///a:/b", "/a", { replicas: ["/b"] }],
    ["sqlite3:///a%3Ab:/c%3Fd%25", "/a:b", { replicas: ["/c?d%"] }],
    ["sqlite3:///%C3%A4#1 +:/b", "/ä#1 +", { replicas: ["/b"] }],
    ["sqlite3://./a:/b", "./a", { replicas: ["/b"] }],
    ["sqlite3:///a?restoreMissing=true", "/a", { restoreMissing: true }],
    [
      "sqlite3:///a:/b?durability=commit&onReplicaFailure=stop&replicaTimeout=500&restoreMissing=false&checkpointBytes=4096",
      "/a",
      {
        replicas: ["/b"],
        durability: "commit",
        onReplicaFailure: "stop",
        replicaTimeout: 500,
        restoreMissing: false,
        checkpointBytes: 4096,
      },
    ],
  ];
  for (const [dsn, path, options] of read) {
    test(dsn, () => assert.deepEqual(parseDsn(dsn, "linux"), { path, options }));
  }

  const onWindows: [dsn: string, path: string, replicas: string[]][] = [
    ["sqlite3:///C:/main.db:/D:/copy.db", "C:/main.db", ["D:/copy.db"]],
    ["sqlite3://C:\\main.db:d:\\copy.db", "C:\\main.db", ["d:\\copy.db"]],
    ["sqlite3://main.db:\\\\server\\share\\copy.db", "main.db", ["\\\\server\\share\\copy.db"]],
    ["sqlite3:///C%3A/main.db:E:/copy.db", "/C:/main.db", ["E:/copy.db"]],
  ];
  for (const [dsn, path, replicas] of onWindows) {
    test(`on Windows: ${dsn}`, () =>
      assert.deepEqual(parseDsn(dsn, "win32"), { path, options: { replicas } }));
  }

  test("a slash and a letter are a path elsewhere", () =>
    assert.deepEqual(parseDsn("sqlite3:///C:/main.db", "linux"), {
      path: "/C",
      options: { replicas: ["/main.db"] },
    }));
});

describe("a malformed DSN is refused with the position", () => {
  const malformed: [dsn: string, position: number, what: RegExp][] = [
    ["sqlite3:/a", 10, /second slash/],
    ["sqlite3://", 11, /path is missing/],
    ["sqlite3://:/b", 11, /path is missing/],
    ["sqlite3:///a:", 14, /path is missing/],
    ["sqlite3:///a::/b", 14, /path is missing/],
    ["sqlite3://%20:/b", 11, /path is missing/],
    ["sqlite3:///a:?restoreMissing=true", 14, /path is missing/],
    ["sqlite3:///a%", 13, /two hexadecimal digits/],
    ["sqlite3:///a:/b%3", 16, /two hexadecimal digits/],
    ["sqlite3:///a%zz", 13, /two hexadecimal digits/],
    ["sqlite3:///a%00", 13, /no zero/],
    ["sqlite3:///a%01%00", 16, /no zero/],
    ["sqlite3:///a\0", 13, /no zero/],
    ["sqlite3:///a%ff%fe", 13, /not UTF-8/],
    ["sqlite3:///a:/b%c3/", 16, /not UTF-8/],
    ["sqlite3:///a\ud800:/b", 13, /half a character/],
    ["sqlite3:///a:/b?durability=\udd1e", 28, /half a character/],
    ["sqlite3://C:/a:/b", 11, /drive letter/],
    ["sqlite3:///a:b:\\c", 14, /drive letter/],
    ["sqlite3:///a?", 14, /option is missing/],
    ["sqlite3:///a?&", 14, /option is missing/],
    ["sqlite3:///a?restoreMissing=true&", 34, /option is missing/],
    ["sqlite3:///a?restoreMissing", 28, /"=" and a value/],
    ["sqlite3:///a?restoreMissing&durability=commit", 28, /"=" and a value/],
    ["sqlite3:///a?colour=red", 14, /`colour` is not known$/],
    ["sqlite3:///a?toString=1", 14, /`toString` is not known$/],
    ["sqlite3:///a?replica_timeout=1", 14, /is `replicaTimeout` meant/],
    ["sqlite3:///a?onProgress=f", 14, /`onProgress` cannot be given in a DSN/],
    ["sqlite3:///a?replicas=/b", 14, /`replicas` cannot be given in a DSN/],
    ["sqlite3:///a?durability=commit&durability=commit", 32, /given twice/],
    ["sqlite3:///a?durability=later", 25, /must be "commit" or "barrier", not 'later'/],
    ["sqlite3:///a?onReplicaFailure=ignore", 31, /must be "stop" or "degrade"/],
    ["sqlite3:///a?replicaTimeout=1s", 29, /must be an integer/],
    ["sqlite3:///a?replicaTimeout=-1", 29, /must be an integer/],
    ["sqlite3:///a?replicaTimeout=0", 29, /must be an integer/],
    ["sqlite3:///a?checkpointBytes=", 30, /must be a positive integer/],
    ["sqlite3:///a?restoreMissing=yes", 29, /must be true or false/],
  ];
  for (const [dsn, position, what] of malformed) {
    test(`${JSON.stringify(dsn)}: ${what.source}`, () =>
      assert.throws(
        () => parseDsn(dsn, "linux"),
        (error) => {
          assert.ok(error instanceof LockstepError);
          assert.equal(error.code, codes.BAD_DSN);
          assert.match(error.what, new RegExp(`malformed at position ${position}: `));
          assert.match(error.what, what);
          return true;
        },
      ));
  }
});

test("what is no DSN", () => {
  for (const path of [
    "",
    "/a",
    "sqlite3",
    "sqlite3:a",
    "./sqlite3:/a",
    "file:///a",
    "sqlite:///a",
  ]) {
    assert.equal(isDsn(path), false, path);
  }
});

test(`what is written is what is read (seed ${seed})`, () => {
  const text = fc.string({ unit: "binary" });
  const path = text.filter((it) => it.trim() !== "" && !it.includes("\0"));
  const encode = (it: string): string => encodeURIComponent(it).replaceAll("%2F", "/");
  fc.assert(
    fc.property(
      fc.array(path, { minLength: 1, maxLength: 4 }),
      fc.record(
        { replicaTimeout: fc.integer({ min: 1 }), restoreMissing: fc.boolean() },
        { noNullPrototype: true },
      ),
      fc.constantFrom<NodeJS.Platform>("linux", "win32"),
      ([main = "", ...replicas], options, platform) => {
        const query = Object.entries(options).map(([name, value]) => `${name}=${value}`);
        const dsn = `sqlite3://${[main, ...replicas].map(encode).join(":")}?${query.join("&")}`;
        const expected = replicas.length === 0 ? options : { ...options, replicas };
        // A file of one letter and a path behind it look like a drive.
        fc.pre(!/(?:\/\/|:)\/?[a-z]:\//i.test(dsn.slice("sqlite3:".length)));
        assert.deepEqual(parseDsn(dsn, platform), { path: main, options: expected });
      },
    ),
    { seed },
  );
});

test(`whatever follows the scheme is read, or refused with a position in it (seed ${seed})`, () => {
  const part = fc.constantFrom("/", ":", "?", "&", "=", "%", "%3A", "%c3", "C:\\", "a", "", "true");
  const name = fc.constantFrom("replicaTimeout", "restoreMissing", "durability", "commit", "12");
  fc.assert(
    fc.property(fc.array(fc.oneof(part, name)), fc.boolean(), (parts, windows) => {
      const dsn = `sqlite3://${parts.join("")}`;
      try {
        assert.notEqual(parseDsn(dsn, windows ? "win32" : "linux").path.trim(), "");
      } catch (error) {
        assert.ok(error instanceof LockstepError, String(error));
        assert.equal(error.code, codes.BAD_DSN);
        const position = Number(/ at position (\d+):/.exec(error.what)?.[1]);
        assert.ok(position > "sqlite3://".length && position <= dsn.length + 1, error.what);
      }
    }),
    { seed, numRuns: 1000 },
  );
});
