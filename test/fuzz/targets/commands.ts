/**
 * verify, status and restore on a pair of which one file is damaged: what they say is what SQLite
 * finds in the same bytes, or an error of ours; they change neither copy, and make nothing that they
 * do not say.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { LockstepError } from "../../../src/errors.ts";
import { restore } from "../../../src/restore.ts";
import { status } from "../../../src/status.ts";
import { verify } from "../../../src/verify.ts";
import { lockstepJson } from "../../cli/lockstep.ts";
import { digestOf } from "../../support/files.ts";
import type { Scene } from "../../support/scene.ts";
import type { Target } from "../fuzzer.ts";
import { type Hurt, hurt, someHurt } from "../hurt.ts";
import { type Left, lives, rowsOf } from "../lives.ts";
import { recover } from "../oracle.ts";
import { touchingOnlyOwn } from "../own-files.ts";

export interface CommandsInput extends Hurt {
  readonly left: number;
  readonly command: keyof Commands;
  /** As a process of its own? */
  readonly apart: boolean;
}

interface Commands {
  readonly verify: typeof verify;
  readonly status: typeof status;
  readonly restore: typeof restore;
}

/** @param commands under test: a canary's are wrong */
export function commandsTarget(
  _?: unknown,
  commands: Commands = { verify, status, restore },
): Target<CommandsInput> {
  const all = lives("node:sqlite");
  const hurtNothing = { copy: 0, suffix: "-shm", seed: [0, 0] } as const;
  return {
    name: "commands",
    unguided: true,
    corpus: [{ left: 0, ...hurtNothing, command: "verify", apart: false }],
    mutate: (_input, _others, random) => ({
      left: random.below(all.length),
      ...someHurt(random),
      command: random.pick(["verify", "status", "restore"] as const),
      apart: random.oneIn(10),
    }),
    async check(input) {
      const image = (all[input.left] as Left).scene.crashImage();
      try {
        hurt(image, input);
        const { copies } = image;
        const dest = path.join(image.root, "dest", "app.db");
        fs.mkdirSync(path.dirname(dest));
        const own = input.command === "restore" ? [...copies, dest] : copies;
        // A restore may fold the log of a replica whose position is not proven.
        const held = input.command === "restore" ? heldBy : digestOf;
        const before = copies.map(held);
        await touchingOnlyOwn(image.root, own, async () => {
          if (input.apart) asAProcess(input.command, image, dest);
          else await inThisOne(commands, input.command, image, dest);
        });
        assert.deepEqual(copies.map(held), before, "neither copy was changed");
      } finally {
        fs.rmSync(image.root, { recursive: true, force: true });
      }
    },
  };
}

async function inThisOne(
  commands: Commands,
  command: keyof Commands,
  { primary, replica, root }: Scene,
  dest: string,
): Promise<void> {
  try {
    if (command === "status") {
      const { replicas } = await commands.status(primary, [replica]);
      assert.equal(replicas.length, 1);
    }
    if (command === "verify") {
      const { identical } = await commands.verify(primary, replica, { integrity: false });
      const [a, b] = [primary, replica].map((copy) => foldedBySqlite(root, copy));
      if (a && b) assert.equal(identical, a.equals(b), "equal for us, and for SQLite");
    }
    if (command === "restore") {
      await commands.restore(replica, dest);
      assert.deepEqual(
        heldBy(dest),
        heldBy(replica),
        "DEST holds what SQLite reads of the replica",
      );
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    assert.ok(error instanceof LockstepError, `an error of ours: ${(error as Error).stack}`);
    assert.ok(!fs.existsSync(dest), "what was refused made nothing");
  }
}

function asAProcess(command: keyof Commands, scene: Scene, dest: string): void {
  const paths = command === "restore" ? [scene.replica, dest] : scene.copies;
  const { status: exit, json } = lockstepJson(command, ...paths);
  assert.ok(exit === 0 || exit === 1, `exit status ${exit}`);
  const code = json.error?.code;
  if (json.error) assert.match(String(code), /^ERR_LOCKSTEP_/, JSON.stringify(json.error));
}

/** What SQLite reads of a copy, or says of it. */
function heldBy(copy: string): unknown {
  try {
    return rowsOf(copy);
  } catch (error) {
    return (error as Error).message;
  }
}

function foldedBySqlite(directory: string, copy: string): Buffer | null {
  const log = fs.existsSync(`${copy}-wal`) ? fs.readFileSync(`${copy}-wal`) : Buffer.alloc(0);
  const oracle = path.join(directory, "dest"); // removed with all else
  try {
    return recover(oracle, { file: fs.readFileSync(copy), log }).folded;
  } finally {
    for (const name of fs.readdirSync(oracle)) fs.rmSync(path.join(oracle, name));
  }
}
