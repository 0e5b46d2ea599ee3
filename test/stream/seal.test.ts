/**
 * What leaves the process: compressed where it pays, sealed, bound to its place.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { describe, test } from "node:test";
import zlib from "node:zlib";
import { Keys, loadKeys } from "../../src/stream/keys.ts";
import { unwrap, wrap } from "../../src/stream/seal.ts";
import { decodeSegment, encodeSegment } from "../../src/stream/segment.ts";
import { scratch } from "../scratch.ts";
import { headerOf } from "./segments.ts";

const [A, B] = ["aa".repeat(32), Buffer.alloc(32, 7).toString("base64")];
const keys = Keys.parse(`1:${A}\n2:${B}`, "a test");
const onlyOld = Keys.parse(`1:${A}`, "a test");
const dull = new Uint8Array(4096);
const wild = new Uint8Array(randomBytes(4096));

describe("a payload", () => {
  for (const [name, given] of [
    ["plain", { keys: null, compress: false }],
    ["compressed", { keys: null, compress: true }],
    ["sealed", { keys, compress: false }],
    ["both", { keys, compress: true }],
  ] as const) {
    test(`comes back as it was: ${name}`, () => {
      for (const plain of [dull, wild, new Uint8Array()]) {
        const header = headerOf();
        const bytes = encodeSegment(header, wrap(header, plain, given));
        const found = decodeSegment(bytes, "here");
        assert.deepEqual(found.header, header);
        const back = unwrap(found.header, found.wrapped, given.keys, "here");
        assert.deepEqual(Buffer.from(back), Buffer.from(plain));
      }
    });
  }

  const zstd = typeof zlib.zstdCompressSync === "function";
  test("is compressed only if that pays", { skip: !zstd && "no zstd in this Node.js" }, () => {
    const compressed = (plain: Uint8Array): boolean =>
      wrap(headerOf(), plain, { keys: null, compress: true }).compressed;
    assert.equal(compressed(dull), true);
    assert.equal(compressed(wild), false);
  });

  test("says so if it is not of the length that it says", () => {
    const wrapped = wrap(headerOf(), dull, { keys: null, compress: true });
    for (const plainBytes of [4095, 4097, 0]) {
      assert.throws(() => unwrap(headerOf(), { ...wrapped, plainBytes }, null, "here"), {
        code: "ERR_LOCKSTEP_REPLICA_CHANGED",
      });
    }
  });
});

describe("a seal", () => {
  const header = headerOf({
    base: { timeline: 1, salt1: 5, salt2: 6, frame: 7, sum1: 8, sum2: 9 },
  });
  const wrapped = wrap(header, dull, { keys, compress: true });
  const refused = { code: "ERR_LOCKSTEP_REPLICA_CHANGED", message: /does not open/ };

  test("is of the newest key, and all open", () => {
    assert.equal(wrapped.sealed?.key, 2);
    const old = wrap(header, dull, { keys: onlyOld, compress: false });
    assert.equal(old.sealed?.key, 1);
    assert.equal(unwrap(header, old, keys, "here").length, 4096);
  });

  test("does not open without its key, and the error says which", () => {
    const wrong = { code: "ERR_LOCKSTEP_BAD_OPTION", message: /sealed with key 2/ };
    assert.throws(() => unwrap(header, wrapped, null, "here"), wrong);
    assert.throws(() => unwrap(header, wrapped, onlyOld, "here"), wrong);
    const other = Keys.parse(`2:${"bb".repeat(32)}`, "a test");
    assert.throws(() => unwrap(header, wrapped, other, "here"), refused);
  });

  test("cannot be left out", () => {
    const plain = wrap(header, dull, { keys: null, compress: false });
    assert.throws(() => unwrap(header, plain, keys, "here"), {
      code: "ERR_LOCKSTEP_REPLICA_CHANGED",
      message: /not sealed/,
    });
  });

  test("is broken by any byte of its message, whoever can make checksums", () => {
    const bytes = encodeSegment(header, wrapped);
    for (let at = 0; at < bytes.length; at++) {
      if (at >= 124 && at < 128) continue; // the checksum, made anew below
      const hurt = Buffer.from(bytes);
      hurt[at] = (hurt[at] as number) ^ 0x41;
      assert.throws(() => {
        const found = decodeSegment(hurt, "here"); // the checksum says so
        unwrap(found.header, found.wrapped, keys, "here");
      }, `byte ${at}`);
      // Somebody who makes the checksum fit.
      let found: ReturnType<typeof decodeSegment>;
      try {
        found = decodeSegment(repaired(hurt), "here");
      } catch {
        continue; // no segment
      }
      if (at >= 116 && at < 124) continue; // not used
      assert.throws(
        () => unwrap(found.header, found.wrapped, keys, "here"),
        (error: { code?: unknown }) => /REPLICA_CHANGED|BAD_OPTION/.test(String(error.code)),
        `byte ${at}, checksum made anew`,
      );
    }
  });

  test("is no longer one when its message is moved to another place", () => {
    const elsewhere = [
      { first: 2 },
      { timeline: 2 },
      { salt1: 12 },
      { writer: "1123456789abcdef" },
      { databaseId: "11234567-89ab-cdef-0123-456789abcdef" },
      { before: { sum1: 1, sum2: 3 } },
      { ends: false },
      { base: null },
    ];
    for (const change of elsewhere) {
      assert.throws(() => unwrap({ ...header, ...change }, wrapped, keys, "here"), refused);
    }
  });
});

describe("keys", () => {
  const wrong = (text: string, message: RegExp): void => {
    assert.throws(
      () => Keys.parse(text, "a test"),
      (error: { code?: unknown; message: string }) => {
        assert.equal(error.code, "ERR_LOCKSTEP_BAD_OPTION");
        assert.match(error.message, message);
        assert.ok(!error.message.includes("secret"), "what stands there is not repeated");
        return true;
      },
    );
  };

  test("have a number each, and are 32 bytes", () => {
    assert.equal(keys.newest, 2);
    assert.equal(keys.get(1)?.length, 32);
    assert.equal(keys.get(3), null);
    assert.equal(Keys.parse(`# old\n\n 7 : ${A} \r\n`, "a test").newest, 7);
    wrong("secret", /line 1 is not NUMBER:KEY/);
    wrong("1:secret", /line 1 has a key that is not 32 bytes/);
    wrong(`\n0:${A}`, /line 2 has a number/);
    wrong(`4294967296:${A}`, /line 1 has a number/);
    wrong(`1:${A}\n1:${B}`, /line 2 gives key 1 a second time/);
    wrong("# none", /there is no key/);
  });

  test("come from a file, the environment or a function", async (t) => {
    const file = `${scratch(t)}/keys`;
    fs.writeFileSync(file, `3:${A}\n`);
    assert.equal((await loadKeys(file)).newest, 3);
    process.env["LOCKSTEP_TEST_KEYS"] = `4:${A},5:${B}`;
    t.after(() => delete process.env["LOCKSTEP_TEST_KEYS"]);
    assert.equal((await loadKeys("env:LOCKSTEP_TEST_KEYS")).newest, 5);
    assert.equal((await loadKeys(async () => `6:${B}`)).newest, 6);
    for (const source of [`${file}-missing`, "env:LOCKSTEP_TEST_NONE"]) {
      await assert.rejects(loadKeys(source), { code: "ERR_LOCKSTEP_BAD_OPTION" });
    }
  });
});

/** The message with a checksum that fits. */
function repaired(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const zero = Buffer.alloc(4);
  const sum = zlib.crc32(copy.subarray(128), zlib.crc32(zero, zlib.crc32(copy.subarray(0, 124))));
  copy.writeUInt32LE(sum, 124);
  return copy;
}
