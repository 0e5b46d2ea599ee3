/** The objects of an archive: files with the SHA-256 of what they hold at their end (archive.ts). */
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { codes, LockstepError } from "../errors.ts";
import { gone, unwritten } from "./archive-errors.ts";

const { promises: files } = fs;

/** Writes an object: whole under its name, and durable, when this resolves. */
export async function putObject(
  scratch: string,
  file: string,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const fresh = path.join(scratch, `${path.basename(file)}-${randomBytes(4).toString("hex")}`);
  try {
    const handle = await opened(fresh);
    try {
      const digest = createHash("sha256");
      let unsynced = 0;
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        digest.update(chunk);
        await written(handle, chunk, file);
        unsynced += chunk.length;
        if (unsynced < SYNC_EVERY_BYTES) continue;
        await handle.datasync();
        unsynced = 0;
      }
      await written(handle, Buffer.concat([digest.digest(), TRAILER]), file);
      await handle.sync(); // durable: an object before its name
    } finally {
      await handle.close();
    }
    await files.link(fresh, file); // fails if the name is taken
  } finally {
    await files.rm(fresh, { force: true }).catch(() => {});
  }
  const directory = await files.open(path.dirname(file), "r");
  try {
    await directory.sync(); // durable: the name of an object
  } finally {
    await directory.close();
  }
}

/** @throws LockstepError REPLICA_GONE if it is not there, VERIFY if it is not as it was written */
export async function* getObject(file: string): AsyncGenerator<Uint8Array> {
  let handle: fs.promises.FileHandle;
  try {
    handle = await files.open(file, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw gone(file, "there is no such object");
    throw error;
  }
  try {
    const { size } = await handle.stat();
    const end = size - DIGEST_SIZE - TRAILER.length;
    if (end < 0) throw torn(file);
    const digest = createHash("sha256");
    for (let at = 0; at < end; ) {
      const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, end - at));
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, at);
      if (bytesRead === 0) throw torn(file);
      const part = chunk.subarray(0, bytesRead);
      digest.update(part);
      at += bytesRead;
      yield part;
    }
    const trailer = Buffer.alloc(DIGEST_SIZE + TRAILER.length);
    await handle.read(trailer, 0, trailer.length, end);
    // durable: an object is what was put there
    if (!trailer.equals(Buffer.concat([digest.digest(), TRAILER]))) throw torn(file);
  } finally {
    await handle.close();
  }
}

// --- internal ---

const CHUNK_BYTES = 1 << 20;
/** How much may be written and not synced: so that no sync takes longer than whoever waits has patience. */
const SYNC_EVERY_BYTES = 32 << 20;
const DIGEST_SIZE = 32;
const TRAILER = Buffer.from("LKSO\x01\0\0\0", "latin1");

async function opened(file: string): Promise<fs.promises.FileHandle> {
  try {
    return await files.open(file, "wx", 0o644);
  } catch (cause) {
    throw unwritten(file, cause);
  }
}

async function written(
  handle: fs.promises.FileHandle,
  bytes: Uint8Array,
  file: string,
): Promise<void> {
  try {
    for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
  } catch (cause) {
    throw unwritten(file, cause);
  }
}

function torn(file: string): LockstepError {
  return new LockstepError(codes.VERIFY, {
    copy: file,
    what: "This object is not as it was written",
    state: "Nothing that was read of it was used",
    next: "Bring back the file as it was, or restore from another snapshot",
  });
}
