/**
 * The bytes of a database file that stands still, read by a process of its own (image-child.ts): closing a
 * descriptor of it here would drop the locks that this process holds.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { beginChild } from "../child-process.ts";
import { pageSizeIn } from "../wal/image.ts";

/** How much is done, of how much; the rate is the average. */
export type ImageProgress = (bytesDone: number, bytesTotal: number, bytesPerSecond: number) => void;

export interface FileImage {
  readonly pageSize: number;
  /** @throws Error if the file could not be read whole */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** @throws LockstepError NOT_A_DATABASE */
export async function imageOf(file: string, onProgress: ImageProgress): Promise<FileImage> {
  const chunks = read(file, onProgress);
  const first = await chunks.next();
  const head = first.done ? new Uint8Array() : first.value;
  return { pageSize: pageSizeIn(head, file), chunks: join(head, chunks) };
}

// --- internal ---

async function* join(
  head: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  yield head;
  yield* rest;
}

async function* read(
  file: string,
  onProgress: ImageProgress,
): AsyncGenerator<Uint8Array, void, void> {
  const { size } = fs.statSync(file);
  const began = performance.now();
  const child = beginChild(CHILD, [file], ["pipe", "pipe"]);
  let said = "";
  child.stderr?.on("data", (text) => (said += text));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  ended.catch(() => {}); // it is thrown where it is awaited
  let done = 0;
  try {
    for await (const chunk of child.stdout as AsyncIterable<Uint8Array>) {
      yield chunk;
      done += chunk.length;
      const seconds = (performance.now() - began) / 1000;
      onProgress(done, size, Math.round(done / Math.max(seconds, 1e-3)));
    }
    const code = await ended;
    // durable: no image without its end
    if (code !== 0 || done !== size) throw unreadable(file, said.trim() || `exit code ${code}`);
  } finally {
    child.kill("SIGKILL");
  }
}

const CHILD = fileURLToPath(
  new URL(`./image-child${path.extname(import.meta.url)}`, import.meta.url),
);

function unreadable(file: string, why: string): Error {
  return Object.assign(new Error(`it was not read whole: ${why}`), { file });
}
