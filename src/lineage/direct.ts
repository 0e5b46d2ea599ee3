/**
 * A new file that is written past the page cache, where the file system lets us: its pages need not be found
 * and filled there first, which costs more than the disk does at times, and what the application has there stays.
 *
 * The file is the same whichever way it was written, and synced all the same. What cannot be written so (the
 * end of a file that fills no block; a file system that refuses) goes through the page cache.
 */
import fs from "node:fs";
import { promisify } from "node:util";

export class DirectFile {
  readonly #fd: number;
  /** For what goes past the page cache; null: nothing does. */
  readonly #direct: number | null;
  #isRefused = false;

  /** Makes the file, with these mode bits. @throws if there is one */
  constructor(path: string, mode: number) {
    this.#fd = fs.openSync(path, "wx", mode);
    this.#direct = openDirect(path);
    try {
      fs.fchmodSync(this.#fd, mode);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Writes all of the bytes, which stay as they are meanwhile. */
  async write(bytes: Uint8Array, at: number): Promise<void> {
    if (this.#direct !== null && !this.#isRefused && bytes.length % BLOCK_BYTES === 0) {
      try {
        return await writeAll(this.#direct, bytes, at, bytes.length);
      } catch (error) {
        if (!REFUSALS.has((error as NodeJS.ErrnoException).code)) throw error;
        this.#isRefused = true;
      }
    }
    await writeAll(this.#fd, bytes, at, BUFFERED_BYTES);
  }

  /** Syncs what was written. */
  syncData(): Promise<void> {
    return sync(this.#fd);
  }

  /** Syncs it with all that the file system keeps of the file. */
  sync(): void {
    fs.fsyncSync(this.#fd);
  }

  /** Nothing may be under way. */
  close(): void {
    if (this.#direct !== null) fs.closeSync(this.#direct);
    fs.closeSync(this.#fd);
  }
}

/**
 * Memory that can be written directly: the system wants it to begin where one of its pages does. Where there is none
 * it is any memory, which a `DirectFile` writes all the same.
 */
export function alignedBuffers(count: number, bytes: number): Uint8Array[] {
  const buffer = alignedMemory(count * bytes) ?? new ArrayBuffer(count * bytes);
  return Array.from({ length: count }, (_, i) => new Uint8Array(buffer, i * bytes, bytes));
}

// --- internal ---

/** No file system asks for larger blocks. */
const BLOCK_BYTES = 4096;
/**
 * Through the page cache larger writes may be much slower on ext4 with large folios (Linux 6.18): of several MiB
 * always, of 512 KiB at some times.
 */
const BUFFERED_BYTES = 256 << 10;

/** How a system says that it does not write directly: this memory, or this file. */
const REFUSALS: ReadonlySet<string | undefined> = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP"]);

declare const WebAssembly: {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
};

const sync = promisify(fs.fdatasync);
const write = promisify(fs.write);

function alignedMemory(bytes: number): ArrayBuffer | null {
  try {
    // No other memory in JavaScript is aligned; it comes in units of 64 KiB.
    return new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) }).buffer;
  } catch (error) {
    if (error instanceof RangeError) return null; // it reserves gigabytes of addresses: there may be a limit
    throw error;
  }
}

function openDirect(path: string): number | null {
  const { O_WRONLY, O_DIRECT } = fs.constants;
  if (O_DIRECT === undefined) return null;
  try {
    return fs.openSync(path, O_WRONLY | O_DIRECT);
  } catch {
    return null;
  }
}

async function writeAll(fd: number, bytes: Uint8Array, at: number, most: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(most, bytes.length - done);
    const { bytesWritten } = await write(fd, bytes, done, length, at + done);
    done += bytesWritten;
  }
}
