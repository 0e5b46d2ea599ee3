/** A log copied up to a position is that log up to there, or there is no copy. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { copyLog } from "../../src/lineage/log-copy.ts";
import type { Position } from "../../src/lineage/position.ts";
import { frameOffset } from "../../src/wal/format.ts";
import { scanLog } from "../../src/wal/scan.ts";
import { scratch } from "../scratch.ts";
import { damaged, place, someTransactions, writeLog } from "../support/logs.ts";

test("every commit is a place to end; nothing else is", (t) => {
  const directory = scratch(t);
  const written = writeLog(directory, 1024, someTransactions(5));
  const from = `${place(directory, written)}-wal`;
  const scan = scanLog(from);
  const { salt1 = 0, salt2 = 0 } = scan?.header ?? {};
  for (const { frame, sum1, sum2 } of scan?.commits ?? []) {
    const position: Position = { timeline: 1, salt1, salt2, frame, sum1, sum2 };
    const to = path.join(directory, `copy-${frame}`);
    copyLog(from, to, position, 0o640);
    const length = frameOffset(frame + 1, 1024);
    assert.ok(fs.readFileSync(to).equals(written.log.subarray(0, length)));
    assert.equal(fs.statSync(to).mode & 0o777, 0o640);

    const refused = path.join(directory, "refused");
    for (const wrong of [
      { ...position, salt2: salt2 + 1 },
      { ...position, frame: frame - 1 },
      { ...position, frame: 1_000_000 },
      { ...position, sum1: sum1 ^ 1 },
    ]) {
      assert.throws(() => copyLog(from, refused, wrong, 0o600), { code: "ERR_LOCKSTEP_VERIFY" });
      fs.rmSync(refused, { force: true });
    }
    fs.writeFileSync(from, damaged(written.log, length - 5));
    assert.throws(() => copyLog(from, refused, position, 0o600), { code: "ERR_LOCKSTEP_VERIFY" });
    assert.ok(!fs.existsSync(refused), "what does not verify is removed");
    fs.writeFileSync(from, written.log);
  }
});
