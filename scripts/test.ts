/**
 * Runs tests: all of them, or those that are named. Most tests start processes, which all load the
 * same modules: Node.js keeps what it has compiled of them, and the whole takes half as long.
 *
 *   node scripts/test.ts [FILE or option of `node --test` ...]
 *
 * All are run in two lanes beside each other: two files at a time of those that compute, and one at a time of
 * those that mostly wait, which would else leave a processor idle. With three of the former at a time deadlines of
 * the latter passed. What the second lane says comes last.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";

const root = join(import.meta.dirname, "..");

/** They wait for a deadline, for servers or for a browser most of their time. */
const WAITING = [
  "test/degrade/{faults,late}.test.ts",
  "test/faults/{hang,late}.test.ts",
  "test/neighbours/clock.test.ts",
  "test/page/{accessibility,end-to-end,page}.test.ts",
  "test/standby/{failover,nats,open}.test.ts",
  "test/start/others.test.ts",
  "test/stream/{admin,commands,full-disk,nats-*,operator,outcomes,partition,refusals,secure,slow-*}.test.ts",
];

const args = process.argv.slice(2);
if (args.length > 0) {
  process.exitCode = await statusOf(lane(2, args, "inherit"));
} else {
  const waiting = globSync(WAITING, { cwd: root });
  const others = globSync("test/**/*.test.ts", { cwd: root });
  const first = lane(
    2,
    others.filter((file) => !waiting.includes(file)),
    "inherit",
  );
  const second = lane(1, waiting, "pipe");
  const said = text(second.stdout as Readable);
  const statuses = await Promise.all([statusOf(first), statusOf(second)]);
  process.stdout.write(`\nThose that mostly wait:\n\n${await said}`);
  process.exitCode = Math.max(...statuses);
}

// --- internal ---

/** So many files at a time. */
function lane(concurrency: number, what: readonly string[], stdout: "inherit" | "pipe") {
  const options = [`--test-concurrency=${concurrency}`, "--test-timeout=600000"];
  return spawn(process.execPath, ["--test", ...options, ...what], {
    cwd: root,
    stdio: ["inherit", stdout, "inherit"],
    env: {
      NODE_COMPILE_CACHE: join(root, "node_modules/.cache/lockstep/compiled"),
      ...process.env,
    },
  });
}

async function statusOf(child: ChildProcess): Promise<number> {
  const [status] = await once(child, "exit");
  return status ?? 1; // a signal ended it
}
