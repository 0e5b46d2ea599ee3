/**
 * Waiting for something to happen in a directory: the system tells of it where it can, and a slow clock where it
 * cannot (a network share), or the directory is not there yet.
 */
import fs from "node:fs";

const POLL_MS = 250;

/** Yields at once, and then whenever something may have changed, until the signal. */
export async function* changesIn(
  directories: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<void> {
  let wake = (): void => {};
  const watchers = directories.flatMap((directory) => watch(directory, () => wake()));
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve; // before what is looked at: nothing falls between
      yield;
      if (signal.aborted) return;
      const timer = setTimeout(resolve, POLL_MS);
      await promise;
      clearTimeout(timer);
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    for (const watcher of watchers) watcher.close();
  }
}

function watch(directory: string, onChange: () => void): fs.FSWatcher[] {
  try {
    const watcher = fs.watch(directory, onChange);
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    return []; // the clock is enough
  }
}
