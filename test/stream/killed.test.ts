/** A primary that is killed while it writes into a stream: what it had acknowledged is in both. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Random } from "../crash/random.ts";
import { runs, seed } from "../support/seed.ts";
import { Streamed } from "./streamed.ts";

const WRITER = path.join(path.dirname(fileURLToPath(import.meta.url)), "writer.ts");

test(`kill -9 at random instants, seed ${seed}`, async (t) => {
  const random = new Random(seed);
  const streamed = await Streamed.make(t, "?imageBytes=1000000&keep=0m");
  for (let life = 0; life < runs(5); life++) {
    const { primary, address, acknowledged } = streamed;
    const child = spawn(process.execPath, [WRITER, primary, String(acknowledged + 1), address], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const wanted = acknowledged + 1 + random.below(60);
    for await (const line of createInterface(child.stdout)) {
      streamed.acknowledged = Number(line);
      if (streamed.acknowledged >= wanted) child.kill("SIGKILL");
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL", "it wrote until it was killed");
    // One more may have been committed, and not acknowledged any more.
    await streamed.life((db) => {
      const [row] = db.prepare("SELECT max(n) AS n FROM t").all();
      const found = Number(row?.["n"]);
      assert.ok(found === streamed.acknowledged || found === streamed.acknowledged + 1, `${found}`);
      streamed.acknowledged = found;
    });
  }
});
