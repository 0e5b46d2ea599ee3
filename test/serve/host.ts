/**
 * A process that replicates a database which other programs write, and listens: `node host.ts PRIMARY
 * REPLICA ADDRESS`. It looks at the primary only when it is asked. Prints where it listens; ends when its
 * stdin does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { DatabaseSync } from "../../src/index.ts";
import { observe } from "../../src/observe/index.ts";

export interface Host {
  readonly child: ChildProcess;
  readonly address: string;
  /** Ends it as an application ends. */
  end(): Promise<void>;
}

/** Starts one, which listens when this resolves, and is killed when the test ends. */
export async function startHost(
  t: TestContext,
  primary: string,
  replica: string,
  listen: string,
): Promise<Host> {
  const args = ["--no-warnings", import.meta.filename, primary, replica, listen];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const ended = once(child, "close");
  const line = once(createInterface(child.stdout as Readable), "line");
  const [address] = await Promise.race([line, ended.then(() => [])]);
  if (typeof address !== "string") throw new Error("the host ended before it listened");
  return {
    child,
    address,
    async end() {
      child.stdin?.end();
      await ended;
    },
  };
}

if (process.argv[1] === import.meta.filename) {
  const [primary, replica, listen] = process.argv.slice(2) as [string, string, string];
  const db = new DatabaseSync(primary, { replicas: [replica], durability: "barrier" });
  db.exec("CREATE TABLE IF NOT EXISTS payment (id INTEGER PRIMARY KEY, amount INTEGER)");
  await db.replication?.durable();
  const observation = await observe(db, { listen });
  console.log(observation.address);
  process.stdin.resume().on("end", async () => {
    await observation.close();
    db.close();
  });
}
