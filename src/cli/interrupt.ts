/** What a signal does to long work. */

/**
 * A signal that would end the process aborts the work, and ends the process after its clean-up. The
 * second time it ends it at once: a disk that hangs cannot be cleaned.
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let interruption: NodeJS.Signals | null = null;
  const interrupt = (signal: NodeJS.Signals): void => {
    interruption ??= signal;
    controller.abort();
  };
  for (const signal of INTERRUPTIONS) process.once(signal, interrupt);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of INTERRUPTIONS) process.off(signal, interrupt);
    if (interruption !== null) process.kill(process.pid, interruption); // as if it had not been caught
  }
}

// --- internal ---

const INTERRUPTIONS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
