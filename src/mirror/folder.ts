/**
 * A folder: the thread that writes one copy's log into its file while commits go on. SQLite does it
 * (a PASSIVE checkpoint, which waits for nobody and stops where a reader still needs the log); then
 * the file is synced here, so that little is left for the checkpoint that lets the log restart.
 *
 * What it is told to fold the copy's record names already as being folded (gate/checkpoint.ts).
 */
import fs from "node:fs";
import { workerData } from "node:worker_threads";
import { isBusy, loadDriver } from "../driver.ts";
import { codes, LockstepError, toErrorData } from "../errors.ts";
import type { FolderCommand, FolderData, FolderReport } from "../gate/messages.ts";
import { Slots } from "../gate/slots.ts";
import { checkpoint } from "../targets/file.ts";
import { replicaFailure } from "./failure.ts";

const { path, driver: name, role, memory, port } = workerData as FolderData;
const driver = loadDriver(name);
const slots = new Slots(memory);
/** Of the file, never closed here: that would drop the locks of this process's connections. */
let file = -1;

port.on("message", (command: FolderCommand) => {
  if (command.type === "end") return port.close();
  try {
    post({ type: "folded-ahead", frames: foldAhead(), file });
  } catch (error) {
    post({ type: "folder-failed", error: toErrorData(failure(error)) });
  }
});

/** How many of the log's frames are in the file, and on stable storage. */
function foldAhead(): number {
  if (file < 0) file = fs.openSync(path, "r");
  const connection = driver.open(path, { timeout: 0 });
  try {
    connection.exec("PRAGMA synchronous=FULL"); // durable: the log is synced before the file is written
    connection.exec("PRAGMA wal_autocheckpoint=0");
    const { checkpointed } = checkpoint(connection, "PASSIVE");
    fs.fdatasyncSync(file);
    return Math.max(0, checkpointed);
  } catch (error) {
    if (isBusy(error)) return 0; // somebody else folds it just now
    throw error;
  } finally {
    connection.close();
  }
}

function failure(error: unknown): LockstepError {
  if (role === "replica") return replicaFailure(path, error);
  return new LockstepError(codes.PRIMARY_IO, {
    copy: path,
    what: `The primary's log could not be folded into its file: ${(error as Error).message}`,
    state: "Every acknowledged transaction is on every copy, in the log or in the file",
    next: "Check the primary's disk, then reopen: the start brings the copies together",
    cause: error,
  });
}

function post(report: FolderReport): void {
  port.postMessage(report);
  slots.ring();
}
