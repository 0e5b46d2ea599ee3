/** An application's connection, as its hub sees it. */
import type { LockstepError } from "../errors.ts";
import type { OpenTransaction } from "../warning.ts";

export interface HubClient {
  /** Runs SQL on the connection, past every gate. */
  exec(sql: string): void;
  /** The hub has failed; called once. */
  onFence(error: LockstepError): void;
  /** What a statement of its left open, or null. */
  transaction?(): OpenTransaction | null;
  /** Closes the connection at process exit, if the application never did. */
  closeNative(): void;
}
