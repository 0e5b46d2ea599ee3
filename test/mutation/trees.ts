/**
 * Copies of the tree, each a place where a line may be missing, and tests that are run there. What is
 * copied is the tree as it was when the run began; a checkout may be edited meanwhile.
 */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Mark, mutate } from "./marks.ts";
import type { Failure } from "./reporter.ts";

const root = join(import.meta.dirname, "../..");
const reporter = join(import.meta.dirname, "reporter.ts");

/** A test that takes longer has failed. */
const TEST_MS_MAX = 120_000;

export class Trees {
  readonly #place = fs.mkdtempSync(join(os.tmpdir(), "lockstep-mutation-"));
  /** As it is. */
  readonly unharmed = join(this.#place, "unharmed");
  readonly #running = new Set<number>();

  constructor() {
    const args = ["ls-files", "-co", "--exclude-standard"];
    const { stdout } = spawnSync("git", args, { cwd: root, encoding: "utf8" });
    for (const name of stdout.split("\n")) {
      if (name === "" || !fs.existsSync(join(root, name))) continue;
      fs.cpSync(join(root, name), join(this.unharmed, name));
    }
    fs.symlinkSync(join(root, "node_modules"), join(this.unharmed, "node_modules"));
  }

  /** A tree without a mark's line, at the place with this number. */
  without(mark: Mark, place: number): string {
    const tree = join(this.#place, `mutant-${place}`); // compiled code is kept by its path
    fs.rmSync(tree, { recursive: true, force: true, maxRetries: 5 });
    fs.cpSync(this.unharmed, tree, { recursive: true, verbatimSymlinks: true });
    const path = join(tree, mark.file);
    fs.writeFileSync(path, mutate(fs.readFileSync(path, "utf8"), mark));
    return tree;
  }

  /** Runs tests of one file; the first that fails, or null. */
  async firstFailure(tree: string, file: string, only?: string): Promise<Failure | null> {
    const temporary = fs.mkdtempSync(join(this.#place, "tmp-"));
    const pattern = only && `--test-name-pattern=/^${only.replace(/[^\w ]/g, "\\$&")}$/`;
    const options = ["--test", `--test-reporter=${reporter}`, `--test-timeout=${TEST_MS_MAX}`];
    const child = spawn(
      process.execPath,
      ["--no-warnings", ...options, ...(pattern ? [pattern] : []), file],
      {
        cwd: tree,
        env: {
          ...process.env,
          NODE_TEST_CONTEXT: undefined,
          NODE_COMPILE_CACHE: join(this.#place, "compiled"),
          TMPDIR: temporary,
        },
        stdio: ["ignore", "pipe", "ignore"],
        detached: true, // with the processes of its tests it is a group that can be ended
      },
    );
    const group = child.pid as number;
    this.#running.add(group);
    let failure: Failure | null = null;
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (failure !== null) return;
      failure = JSON.parse(line) as Failure;
      process.kill(-group, "SIGKILL");
    });
    await new Promise((resolve) => child.on("close", resolve));
    this.#running.delete(group);
    // With their directory also what would hang for ever ends: its rules are gone.
    fs.rmSync(temporary, { recursive: true, force: true, maxRetries: 5 });
    return failure;
  }

  /** Ends what runs, and removes all copies. */
  remove(): void {
    for (const group of this.#running) process.kill(-group, "SIGKILL");
    fs.rmSync(this.#place, { recursive: true, force: true, maxRetries: 5 });
  }
}
