/** What happens to a replication, as lines of JSON: for whoever collects a program's logs. */
import type { LockstepError } from "../errors.ts";
import type { HealedPage, LivePage, ReplicationHandle } from "../observe.ts";
import type { Warning } from "../warning.ts";

/**
 * One line an event, without its end: `time` (ISO 8601), `level`, `event`, `primary`, and what belongs to
 * the event. Checkpoints that are done are none: there is one every few megabytes.
 */
export type Log = (line: string) => void;

/** @returns ends it */
export function logEvents(handle: ReplicationHandle, log: Log): () => void {
  const primary = handle.status.primary.path;
  const write = (level: string, event: string, facts: object): void =>
    log(JSON.stringify({ time: new Date().toISOString(), level, event, primary, ...facts }));
  const heard = {
    failed: (error: LockstepError) => write("error", "failed", factsOf(error)),
    degraded: (replica: string, error: LockstepError) =>
      write("error", "degraded", { replica, ...factsOf(error) }),
    rejoined: (replica: string) => write("info", "rejoined", { replica }),
    rot: (page: LivePage) => write("error", "rot", page),
    healed: (page: HealedPage) => write("info", "healed", page),
    "checkpoint-postponed": (because: string, sinceMs: number) =>
      write("warning", "checkpoint-postponed", { because, sinceMs }),
    warning: (warning: Warning) => write("warning", "warning", warning),
    "warning-over": (warning: Warning) => write("info", "warning-over", warning),
  };
  for (const warning of handle.status.warnings) heard.warning(warning);
  const listeners = Object.entries(heard) as [never, never][];
  for (const [event, listener] of listeners) handle.on(event, listener);
  return () => {
    for (const [event, listener] of listeners) handle.off(event, listener);
  };
}

/**
 * A disk that is full, or a reader who went away, would end the application: a stream that cannot write emits an error
 * then. That of this line is heard here; what the application itself writes stays its own affair.
 */
export function toStderr(line: string): void {
  const { stderr } = process;
  stderr.write(`${line}\n`, (error) => {
    if (!error) return;
    stderr.once("error", ignore); // it comes next, unless the stream has told of one already
    setImmediate(() => stderr.off("error", ignore));
  });
}

// --- internal ---

const ignore = (): void => {};

function factsOf({ code, copy, what, state, next }: LockstepError): object {
  return { code, copy, what, state, next };
}
