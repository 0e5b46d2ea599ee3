/** Patience that counts only while this process runs: whoever stops it, and what it waits for, for a while has not hung it. */

const TICK_MS = 1000;

/** Calls `end` after so many milliseconds; returns what keeps it from that. */
export function patience(milliseconds: number, end: () => void): () => void {
  let left = milliseconds;
  const timer = setInterval(() => {
    left -= TICK_MS; // a tick that is late by minutes is one tick
    if (left > 0) return;
    clearInterval(timer);
    end();
  }, TICK_MS);
  return () => clearInterval(timer);
}
