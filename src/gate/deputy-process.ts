/**
 * The process of a deputy (deputy.ts): holds a read mark for a follower, and for a while after it:
 *
 *   node deputy-process.js '{"primary": …, "holdMs": …, "token": …}'
 *
 * It only ever reads the primary. It does one thing after the other, and waits for the next command in a read
 * that ends when the follower does, however that ends.
 */
import fs from "node:fs";
import { isBusy, loadDriver } from "../driver.ts";
import { sidecarPath } from "../lineage/sidecar.ts";
import { readSidecar } from "../lineage/unlocked.ts";
import { openGuard } from "../targets/file.ts";
import { sameSalts } from "../wal/format.ts";
import { SharedIndex } from "../wal/shared-index.ts";
import { type DeputyCommand, type DeputyTask, deputyName, type Wish } from "./deputy-child.ts";
import { Guard } from "./guard.ts";
import { pause } from "./slots.ts";

/** How often it is looked whether somebody has come for the primary, in milliseconds. */
const LOOK_MS = 10;
/** `O_CLOEXEC` on Linux. */
const CLOSED_BY_EXEC = 0o2000000;
const INDEX_TRIES = 20;
const INDEX_MS = 0.1;
/** A file's times are as coarse as the kernel's clock: until then they may hide a second change. */
const SETTLED_MS = 50;
/** How old what was read of the record may be, whatever its times say, in milliseconds. */
const READ_EVERY_MS = 1000;
/** After how long it lets go if the record cannot be read, in milliseconds. */
const UNREADABLE_MS = 1000;

closeInherited();
const driver = loadDriver("node:sqlite");
const { primary, holdMs, token } = JSON.parse(process.argv[2] as string) as DeputyTask;
/** Opened with the first wish: by then the follower holds the primary, and leaves its log there. */
let held: Held | null = null;
/** The record as it was last read. */
const seen = { name: null as string | number | null, mtimeMs: 0, goodUntil: 0 };
if (!serve()) holdOn();
(held as Held | null)?.guard.close();

// --- internal ---

interface Held {
  readonly guard: Guard;
  readonly index: SharedIndex;
}

/**
 * What the follower was started with goes from process to process, unlike what Node.js opens: a lock of a script's, a
 * pipe that somebody waits for. Here it would stay open for as long as this process lives.
 */
function closeInherited(): void {
  const open = fs.existsSync("/proc/self/fdinfo") ? fs.readdirSync("/proc/self/fdinfo") : [];
  for (const fd of open.map(Number).filter((each) => each > 2)) {
    try {
      const info = fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
      const [, flags = ""] = /^flags:\s*([0-7]+)$/m.exec(info) ?? [];
      if (flags !== "" && (Number.parseInt(flags, 8) & CLOSED_BY_EXEC) === 0) fs.closeSync(fd);
    } catch {} // it was the directory's, and is closed
  }
}

/** @returns was it told to end? Else nobody is left who could */
function serve(): boolean {
  const answer = new Uint32Array(1);
  for (const command of commands()) {
    if ("end" in command) return true;
    answer[0] = 2 * command.n + (move(command) ? 1 : 0);
    fs.writeSync(1, new Uint8Array(answer.buffer), 0, answer.byteLength, 0);
  }
  return false;
}

function* commands(): Generator<DeputyCommand> {
  const bytes = Buffer.alloc(4096);
  let text = "";
  for (;;) {
    const n = fs.readSync(0, bytes);
    if (n === 0) return;
    text += bytes.toString("latin1", 0, n);
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield JSON.parse(text.slice(0, end)) as DeputyCommand;
      text = text.slice(end + 1);
    }
  }
}

/** Moves as is wished, or leaves the mark where it is. */
function move(wish: Wish): boolean {
  try {
    held ??= open();
    const { guard, index } = held;
    if (wish.at === "zero") return guard.tryHold(() => isWhole(index, wish));
    if (!isIn(index, wish) || index.backfilled >= index.frames) return false;
    const { frames } = index;
    // What is not folded after it was not when the transaction began: so that is not at mark 0.
    return guard.tryHold(() => isIn(index, wish) && index.backfilled < frames);
  } catch (error) {
    if (isBusy(error)) return false; // somebody rebuilds the index
    throw error;
  }
}

function open(): Held {
  const [one, other] = [openGuard(driver, primary), openGuard(driver, primary)];
  // The descriptor is never closed: that would drop the locks of the two.
  const index = new SharedIndex(fs.openSync(`${primary}-shm`, "r"));
  return { guard: new Guard(one, other), index };
}

/** Is all of the log in the file, and no more in it than was on record? What is folded stays folded. */
function isWhole(index: SharedIndex, wish: Wish): boolean {
  const isSame = isIn(index, wish) && index.frames === wish.frames;
  return index.backfilled === index.frames && (isSame || index.frames === 0);
}

/** Is the log, as it is now, in the generation that is meant? */
function isIn(index: SharedIndex, wish: Wish): boolean {
  for (let tries = 0; !index.read(); tries++) {
    if (tries === INDEX_TRIES) return false;
    pause(INDEX_MS); // somebody is writing it
  }
  return sameSalts(index, wish);
}

/** The follower is gone. Until somebody else has come, another follower or not, or the time is over. */
function holdOn(): void {
  const own = deputyName(process.pid, token);
  const until = held ? performance.now() + holdMs : 0;
  let readable = performance.now();
  for (let now = readable; now < until; now = performance.now()) {
    try {
      if (named(now) !== own) return;
      readable = now;
    } catch {
      if (now > readable + UNREADABLE_MS) return; // else it is being written: at the next look
    }
    pause(LOOK_MS);
  }
}

/** Whom the primary's record names as its deputy; null: nobody, or there is no record any more. */
function named(now: number): string | number | null {
  const file = fs.statSync(sidecarPath(primary), { throwIfNoEntry: false });
  if (!file) return null;
  if (seen.mtimeMs === file.mtimeMs && now < seen.goodUntil) return seen.name;
  seen.name = readSidecar(driver, primary)?.state.deputy ?? null;
  seen.mtimeMs = file.mtimeMs;
  seen.goodUntil = Date.now() - file.mtimeMs > SETTLED_MS ? now + READ_EVERY_MS : 0;
  return seen.name;
}
