/**
 * The backfiller: the thread that writes every copy's log into its file while commits go on. SQLite does
 * it (a PASSIVE checkpoint, which waits for nobody and stops where a reader still needs the log);
 * then the file is synced here, and the pages are summed, so that little is left for the checkpoint that
 * lets the log restart.
 *
 * Whatever it folds is on record as being folded (gate/checkpoint.ts). One thread does it for all
 * copies, one after the other: it is nobody's deadline, and a thread takes more than ten megabytes.
 */
import fs from "node:fs";
import { workerData } from "node:worker_threads";
import { type Connection, isBusy, loadDriver } from "../driver.ts";
import { codes, LockstepError, toErrorData } from "../errors.ts";
import type { BackfillCommand, BackfillerData, BackfillReport } from "../gate/messages.ts";
import { Slots, Turn } from "../gate/slots.ts";
import { type Ahead, AheadSummer } from "../lineage/keeper.ts";
import { unlessShort } from "../shortage.ts";
import { checkpoint, leadsTo, openGuard } from "../targets/file.ts";
import { replicaFailure } from "./failure.ts";

const { primary, driver: name, memory, port, ...data } = workerData as BackfillerData;
const turn = new Turn(data.turn);
const driver = loadDriver(name);
const slots = new Slots(memory);
/** Of the copies' files, never closed here: that would drop the locks of this process. */
const files = new Map<string, number>();
const summer = new AheadSummer();

port.on("message", (command: BackfillCommand) => {
  if (command.type === "end") return port.close();
  let copy = primary;
  try {
    let frames = Number.POSITIVE_INFINITY;
    const ahead: (Ahead | undefined)[] = [];
    for (const [i, path] of command.copies.entries()) {
      // durable: it is known which copy it hangs at
      if (!turn.take(i)) return port.close();
      copy = path;
      const folded = backfill(path, () => turn.take(i));
      frames = Math.min(frames, folded);
      ahead.push(folded > 0 ? summer.sum(path, folded, () => turn.take(i)) : undefined);
    }
    post({ type: "backfilled", frames, ahead, files: [...files] });
  } catch (error) {
    post({ type: "backfill-failed", error: toErrorData(failure(copy, error)) });
  }
});

/** How many of the log's frames are in the file, and on stable storage. */
function backfill(path: string, wanted: () => boolean): number {
  let opened: Opened | null = null;
  try {
    opened = unlessShort(() => open(path));
    if (!opened) return 0; // tried again later
    // To open it may have taken its time.
    // durable: nothing is folded that is not on record
    if (!wanted()) return 0;
    const { checkpointed } = checkpoint(opened.connection, "PASSIVE");
    fs.fdatasyncSync(opened.file);
    return Math.max(0, checkpointed);
  } catch (error) {
    if (isBusy(error)) return 0; // somebody else folds it just now
    throw error;
  } finally {
    if (opened) close(opened);
  }
}

interface Opened {
  readonly file: number;
  readonly connection: Connection;
  readonly guard: Connection | null;
}

function open(path: string): Opened {
  const file = files.get(path) ?? fs.openSync(path, "r");
  files.set(path, file);
  if (!leadsTo(path, file)) throw new Error("its file was removed or replaced");
  const connection = driver.open(path, { timeout: 0 });
  let guard: Connection | null = null;
  try {
    // durable: the connection that may write is never the last: it would fold and unlink the log
    guard = openGuard(driver, path);
    connection.exec("PRAGMA synchronous=FULL"); // any but OFF has the log synced before the file
    connection.exec("PRAGMA wal_autocheckpoint=0");
    return { file, connection, guard };
  } catch (error) {
    close({ connection, guard });
    throw error;
  }
}

function close({ connection, guard }: Omit<Opened, "file">): void {
  connection.close();
  guard?.close();
}

function failure(copy: string, error: unknown): LockstepError {
  if (copy !== primary) return replicaFailure(copy, error);
  return new LockstepError(codes.PRIMARY_IO, {
    copy,
    what: `The primary's log could not be folded into its file: ${(error as Error).message}`,
    state: "Every acknowledged transaction is on every copy, in the log or in the file",
    next: "Check the primary's disk, then reopen: the start brings the copies together",
    cause: error,
  });
}

function post(report: BackfillReport): void {
  port.postMessage(report);
  slots.ring();
}
