/**
 * A unix socket that nobody but its user can ever connect to. A process's umask is shared by all its
 * threads, which create files meanwhile; so the socket is bound in a directory of mode 0700, given mode
 * 0600 there, and only then linked to where it is to be. A link replaces nothing: a socket that somebody
 * listens on stays, and one that a dead process left behind is removed first.
 */
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { codes, LockstepError } from "../errors.ts";

/** What the system has room for, in bytes; the last is a zero. */
const LONGEST = process.platform === "linux" ? 107 : 103;

/**
 * Has a server listen there.
 * @returns removes the socket's name, if it still leads to this one
 * @throws LockstepError ENDPOINT; BAD_OPTION if the path is too long
 */
export async function listenOnSocket(server: net.Server, file: string): Promise<() => void> {
  const directory = path.dirname(file);
  assertShort(file, path.join(directory, ".ls-XXXXXX", "s"));
  try {
    await removeStale(file);
    const hidden = fs.mkdtempSync(path.join(directory, ".ls-")); // mode 0700
    const first = path.join(hidden, "s");
    try {
      await listening(server, { path: first });
      fs.chmodSync(first, 0o600);
      fs.linkSync(first, file);
    } finally {
      fs.rmSync(hidden, { recursive: true, force: true });
    }
  } catch (error) {
    server.close();
    throw error instanceof LockstepError ? error : unable(file, error as Error);
  }
  const { ino } = fs.statSync(file);
  return () => {
    if (fs.statSync(file, { throwIfNoEntry: false })?.ino === ino) fs.unlinkSync(file);
  };
}

/** The same for a port. @throws LockstepError ENDPOINT */
export async function listenOnPort(server: net.Server, host: string, port: number): Promise<void> {
  try {
    await listening(server, { host, port });
  } catch (error) {
    throw unable(`${host}:${port}`, error as Error);
  }
}

function listening(server: net.Server, where: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Removes a socket that nobody listens on. @throws LockstepError ENDPOINT if somebody does */
async function removeStale(file: string): Promise<void> {
  const found = fs.lstatSync(file, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) throw unable(file, new Error("a file that is no socket has this name"));
  if (await isLive(file)) throw unable(file, new Error("another process listens there"));
  if (fs.lstatSync(file, { throwIfNoEntry: false })?.ino === found.ino) fs.unlinkSync(file);
}

function isLive(file: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = net.connect(file);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else if (error.code === "EAGAIN")
        resolve(true); // it is, and has many waiting
      else reject(error);
    });
  });
}

function assertShort(file: string, longest: string): void {
  if (Buffer.byteLength(file) <= LONGEST && Buffer.byteLength(longest) <= LONGEST) return;
  throw new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`listen\`: ${file} is too long for a socket, of which the system takes ${LONGEST} bytes`,
    state: "Nothing listens; replication is not affected",
    next: "Give a shorter path, as /run/app/lockstep.sock",
  });
}

function unable(where: string, cause: Error): LockstepError {
  return new LockstepError(codes.ENDPOINT, {
    copy: null,
    what: `Cannot listen on ${where}: ${cause.message}`,
    state: "Nothing listens; replication is not affected",
    next: "Give another address, or end what listens there",
    cause,
  });
}
