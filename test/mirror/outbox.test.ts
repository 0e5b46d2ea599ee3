/** What goes into a stream is the log, byte for byte, in pieces that end where transactions do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FramesRecord, Window } from "../../src/gate/ring.ts";
import { originPosition } from "../../src/lineage/position.ts";
import { Outbox } from "../../src/mirror/outbox.ts";
import type { Piece } from "../../src/stream/writer.ts";
import { walkFrames } from "../../src/wal/chain.ts";
import { decodeWalHeader, frameOffset, frameSize, type WalHeader } from "../../src/wal/format.ts";
import { scratch } from "../scratch.ts";
import { damaged, someTransactions, writeLog } from "../support/logs.ts";
import { seed } from "../support/seed.ts";

const PAGE = 512;
const LARGE = "INSERT INTO t VALUES(1000, randomblob(20000))";

/** A log of SQLite's, its header, and the frames that end its transactions. */
function madeLog(t: Parameters<typeof scratch>[0]) {
  const { log } = writeLog(scratch(t), PAGE, [...someTransactions(12), LARGE]);
  const header = decodeWalHeader(log) as WalHeader;
  const frames = Math.floor((log.length - 32) / frameSize(PAGE));
  const ends: number[] = [];
  const walk = walkFrames(log, 32, frames, 1, header, header, (frame, _, commit) => {
    if (commit) ends.push(frame);
  });
  return {
    log: log.subarray(0, frameOffset(walk.frames + 1, PAGE)),
    header,
    ends,
    sums: walk.sums,
  };
}

type Made = ReturnType<typeof madeLog>;

/** A record of frames `first` to `last` as the ring would have it. */
function record({ log, header, ends, sums }: Made, first: number, last: number) {
  const at = first === 1 ? 0 : frameOffset(first, PAGE);
  const window: Window = { bytes: log, at, length: frameOffset(last + 1, PAGE) - at };
  const isEnd = last === ends.at(-1);
  const { salt1, salt2 } = header;
  const made: FramesRecord = {
    ...{ first, frames: last - first + 1, pageSize: PAGE, salt1, salt2 },
    ...{ ...(isEnd ? sums : { sum1: 0, sum2: 0 }), ends: isEnd },
  };
  return { record: made, window };
}

interface Sent extends Omit<Piece, "bytes"> {
  readonly bytes: Buffer;
}

function sent(pieces: Iterable<Piece>): Sent[] {
  return Array.from(pieces, (piece) => ({ ...piece, bytes: Buffer.from(piece.bytes) }));
}

test("a log goes out as it is, whatever the records and the messages hold", (t) => {
  const made = madeLog(t);
  const frames = made.ends.at(-1) as number;
  const capacity = fc.integer({ min: 32 + frameSize(PAGE), max: 20 * frameSize(PAGE) });
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: frames - 1 }));
  const flush = fc.func(fc.boolean());
  fc.assert(
    fc.property(capacity, cuts, flush, (bytes, at, isFlushed) => {
      const outbox = new Outbox(bytes, { position: originPosition(1), header: null, base: null });
      const pieces: Sent[] = [];
      let first = 1;
      for (const last of [...at.sort((a, b) => a - b), frames]) {
        const next = record(made, first, last);
        pieces.push(...sent(outbox.add(next.record, next.window)));
        if (isFlushed(last)) pieces.push(...sent(outbox.rest()));
        first = last + 1;
      }
      pieces.push(...sent(outbox.rest()));
      assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), made.log);
      assert.equal(outbox.position.frame, frames);
      let frame = 0;
      for (const piece of pieces) {
        assert.equal(piece.first, frame + 1, "no gap");
        assert.ok(piece.bytes.length <= bytes, "it fits into a message");
        frame += piece.frames;
        assert.equal(
          piece.ends,
          made.ends.includes(frame),
          "it says whether it ends a transaction",
        );
      }
      for (const [i, { after }] of pieces.entries()) {
        assert.deepEqual(pieces[i + 1]?.before ?? after, after, "the sums are a chain");
      }
    }),
    { seed },
  );
});

test("transactions share a message, as many as have room", (t) => {
  const made = madeLog(t);
  const frames = made.ends.at(-2) as number; // without the large one
  const most = 8 * frameSize(PAGE) + 32;
  const outbox = new Outbox(most, { position: originPosition(1), header: null, base: null });
  const pieces: Sent[] = [];
  for (let frame = 1; frame <= frames; frame++) {
    const next = record(made, frame, frame);
    pieces.push(...sent(outbox.add(next.record, next.window)));
    const { first = 1, frames: out = 0 } = pieces.at(-1) ?? {};
    assert.equal(outbox.waiting, frame - (first + out - 1), "what has not gone out is in it");
  }
  pieces.push(...sent(outbox.rest()));
  assert.ok(pieces.length > 2);
  const lasts = pieces.map(({ first, frames }) => first + frames - 1);
  for (const [i, last] of lasts.entries()) {
    assert.ok(made.ends.includes(last), "none is cut");
    const after = made.ends.find((end) => end > last) as number;
    const [piece] = [pieces[i] as Sent];
    const longer = piece.bytes.length + (after - last) * frameSize(PAGE);
    assert.ok(longer > most || last === frames, "the next one had no room");
  }
});

test("what it has already is not sent again", (t) => {
  const made = madeLog(t);
  const [, second = 0] = made.ends;
  const outbox = new Outbox(1 << 20, { position: originPosition(1), header: null, base: null });
  const part = record(made, 1, second);
  const all = record(made, 1, made.ends.at(-1) as number);
  const [first] = sent([...outbox.add(part.record, part.window), ...outbox.rest()]);
  const [rest] = sent([...outbox.add(all.record, all.window), ...outbox.rest()]);
  assert.deepEqual([first?.first, first?.frames, rest?.first], [1, second, second + 1]);
});

test("a log that is sent once more counts only as a whole", (t) => {
  const made = madeLog(t);
  const end = made.ends.at(-1) as number;
  const { salt1, salt2 } = made.header;
  const position = { timeline: 3, salt1, salt2, frame: end, ...made.sums };
  const outbox = new Outbox(4 * frameSize(PAGE), { position, header: null, base: null });
  const base = originPosition(2);
  outbox.beginAnew(position, base);
  const all = record(made, 1, end);
  const pieces = sent([...outbox.add(all.record, all.window), ...outbox.rest()]);
  assert.ok(pieces.length > 3);
  for (const [i, piece] of pieces.entries()) {
    assert.equal(piece.ends, i === pieces.length - 1);
    assert.deepEqual(piece.base, base);
  }
  assert.deepEqual(outbox.position, position);
});

test("nothing that does not verify goes out", (t) => {
  const made = madeLog(t);
  const end = made.ends.at(-1) as number;
  for (const frame of [1, 5, end]) {
    const log = damaged(made.log, frameOffset(frame, PAGE) + 100);
    const outbox = new Outbox(1 << 20, { position: originPosition(1), header: null, base: null });
    const all = record({ ...made, log }, 1, end);
    assert.throws(() => sent(outbox.add(all.record, all.window)), {
      code: "ERR_LOCKSTEP_PRIMARY_IO",
      message: new RegExp(`frame ${frame} has a wrong checksum`),
    });
  }
  const all = record(made, 1, end);
  const outbox = new Outbox(1 << 20, { position: originPosition(1), header: null, base: null });
  const wrong = { ...all.record, sum1: 1 };
  assert.throws(() => sent(outbox.add(wrong, all.window)), { code: "ERR_LOCKSTEP_PRIMARY_IO" });
});
