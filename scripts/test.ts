/**
 * Runs tests: all of them, or those that are named. Most tests start processes, which all load the
 * same modules: Node.js keeps what it has compiled of them, and the whole takes half as long.
 *
 *   node scripts/test.ts [FILE or option of `node --test` ...]
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const args = process.argv.slice(2);
const { status, signal } = spawnSync(
  process.execPath,
  [
    ...["--test", "--test-concurrency=2", "--test-timeout=600000"],
    ...(args.length > 0 ? args : ["test/**/*.test.ts"]),
  ],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      NODE_COMPILE_CACHE: join(root, "node_modules/.cache/lockstep/compiled"),
      ...process.env,
    },
  },
);
process.exitCode = signal ? 1 : (status ?? 1);
