/** Every rule that makes a log's header and its frames valid, against logs that SQLite wrote. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checksum,
  decodeFrameHeader,
  decodeWalHeader,
  encodeFrameHeader,
  encodeWalHeader,
  FRAME_HEADER_SIZE,
  frameOffset,
  frameSize,
  frameSums,
  isPageSize,
  sameSums,
  WAL_HEADER_SIZE,
  type WalHeader,
  ZERO_SUMS,
} from "../../src/wal/format.ts";
import { scratch } from "../scratch.ts";
import { damaged, PAGE_SIZES, resum, someTransactions, writeLog } from "../support/logs.ts";

/** Changes a field of the header and makes its sum right again: only the rule itself is broken. */
function withField(log: Buffer, at: number, value: number): Buffer {
  const out = Buffer.from(log);
  out.writeUInt32BE(value, at);
  const sums = checksum(out, 0, 24, ZERO_SUMS, false);
  out.writeUInt32BE(sums.sum1, 24);
  out.writeUInt32BE(sums.sum2, 28);
  return out;
}

for (const pageSize of PAGE_SIZES) {
  test(`page size ${pageSize}: what SQLite wrote is decoded, and encoded again to the byte`, (t) => {
    const { log } = writeLog(scratch(t), pageSize, someTransactions(3));
    const header = decodeWalHeader(log) as WalHeader;
    assert.equal(header.pageSize, pageSize);
    assert.equal(header.bigEndian, false);

    const size = frameSize(pageSize);
    const again = Buffer.from(log);
    again.fill(0, 0, WAL_HEADER_SIZE);
    assert.deepEqual(encodeWalHeader(again, header), header);
    let sums = { sum1: header.sum1, sum2: header.sum2 };
    for (let at = WAL_HEADER_SIZE; at + size <= log.length; at += size) {
      const frame = decodeFrameHeader(log, at);
      assert.deepEqual(frameSums(log, at, sums, header), { sum1: frame.sum1, sum2: frame.sum2 });
      again.fill(0, at, at + FRAME_HEADER_SIZE);
      sums = encodeFrameHeader(again, at, frame, sums, header);
    }
    assert.ok(again.equals(log));
  });
}

test("frames lie where the essay says", () => {
  assert.equal(frameOffset(1, 4096), 32);
  assert.equal(frameOffset(2, 4096), 4152);
  assert.equal(frameOffset(1_000_000, 65536), 32 + 999_999 * 65560);
});

test("page sizes are the powers of two from 512 to 65536", () => {
  assert.deepEqual([...PAGE_SIZES].filter(isPageSize), [...PAGE_SIZES]);
  for (const size of [0, 1, 256, 511, 513, 768, 131072, -512])
    assert.ok(!isPageSize(size), `${size}`);
});

test("a header is valid under both magics, each with the checksum of its byte order", (t) => {
  const { log } = writeLog(scratch(t), 4096, someTransactions(2));
  const big = resum(log, true);
  const little = decodeWalHeader(log) as WalHeader;
  const decoded = decodeWalHeader(big) as WalHeader;
  assert.equal(decoded.bigEndian, true);
  assert.equal(decoded.salt1, little.salt1);
  assert.ok(!sameSums(decoded, little));
  assert.ok(resum(big, false).equals(log));

  const swapped = Buffer.from(log);
  big.copy(swapped, 0, 0, 4); // the other magic over the old sum
  assert.equal(decodeWalHeader(swapped), null);
});

test("a header is invalid for each rule alone", (t) => {
  const { log } = writeLog(scratch(t), 4096, someTransactions(1));
  assert.ok(decodeWalHeader(log.subarray(0, 32)));
  assert.ok(decodeWalHeader(withField(log, 12, 77)), "any number of restarts is valid");
  assert.equal(decodeWalHeader(log.subarray(0, 31)), null, "too short");
  assert.equal(decodeWalHeader(Buffer.alloc(0)), null, "empty");
  assert.equal(decodeWalHeader(Buffer.alloc(64)), null, "zeroes");
  assert.equal(decodeWalHeader(withField(log, 0, 0x377f0684)), null, "magic");
  assert.equal(decodeWalHeader(withField(log, 4, 3007001)), null, "version");
  assert.equal(decodeWalHeader(withField(log, 8, 256)), null, "page size too small");
  assert.equal(decodeWalHeader(withField(log, 8, 131072)), null, "page size too large");
  assert.equal(decodeWalHeader(withField(log, 8, 4095)), null, "page size no power of two");
  for (let at = 0; at < WAL_HEADER_SIZE; at++) {
    assert.equal(decodeWalHeader(damaged(log, at)), null, `byte ${at}`);
  }
});

test("the checksum is the same wherever the bytes lie in memory", (t) => {
  const { log } = writeLog(scratch(t), 512, someTransactions(4));
  const length = log.length & ~7;
  for (const bigEndian of [false, true]) {
    const expected = checksum(log, 0, length, ZERO_SUMS, bigEndian);
    for (let shift = 0; shift < 8; shift++) {
      const moved = new Uint8Array(length + 8).subarray(shift, shift + length);
      moved.set(log.subarray(0, length));
      assert.deepEqual(checksum(moved, 0, length, ZERO_SUMS, bigEndian), expected);
    }
    const half = checksum(log, 0, 64, ZERO_SUMS, bigEndian);
    assert.deepEqual(checksum(log, 64, length, half, bigEndian), expected, "it continues");
  }
});
