/**
 * A process that writes a replicated database as fast as it can: `node writer.ts PRIMARY REPLICA`.
 * Prints "ready", then a line with the number of acknowledged rows now and then; ends when its
 * stdin does, closing the database, with a last line "acknowledged N".
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { DatabaseSync } from "../../src/index.ts";

export interface Writer {
  readonly child: ChildProcess;
  /** Ends it as an application ends; how many rows it acknowledged. */
  end(): Promise<number>;
}

/** Starts one; it is writing when this resolves, and killed when the test ends. */
export async function startWriter(t: TestContext, ...copies: string[]): Promise<Writer> {
  const args = ["--no-warnings", import.meta.filename, ...copies];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const lines: string[] = [];
  const reader = createInterface(child.stdout as Readable);
  reader.on("line", (line) => lines.push(line));
  const ended = once(child, "close");
  const started = await Promise.race([once(reader, "line"), ended.then(() => null)]);
  if (!started) throw new Error("the writer ended before it wrote");
  return {
    child,
    async end() {
      child.stdin?.end();
      await ended;
      return Number(/^acknowledged (\d+)$/.exec(lines.at(-1) ?? "")?.[1]);
    },
  };
}

if (process.argv[1] === import.meta.filename) {
  const [primary, ...replicas] = process.argv.slice(2) as [string, ...string[]];
  let ended = false;
  process.stdin.on("end", () => {
    ended = true;
  });
  process.stdin.resume();
  const db = new DatabaseSync(primary, { replicas, checkpointBytes: 256 * 1024 });
  db.exec("CREATE TABLE IF NOT EXISTS written(id INTEGER PRIMARY KEY, data BLOB)");
  const insert = db.prepare("INSERT INTO written(data) VALUES(randomblob(?))");
  const trim = db.prepare("DELETE FROM written WHERE id % 7 = 3 AND id < ?");
  let acknowledged = 0;
  console.log("ready");
  while (!ended) {
    for (let i = 0; i < 20; i++) {
      insert.run((acknowledged * 7919) % 5000);
      acknowledged++;
    }
    trim.run(acknowledged - 200);
    await setImmediate();
  }
  db.close();
  console.log(`acknowledged ${acknowledged}`);
}
