/** Opens the place that an address names (../address.ts). */
import { archiveDirectory, settingsOf } from "../address.ts";
import { type Keys, loadKeys } from "./keys.ts";
import type { StreamLog } from "./log.ts";

export interface OpenStream {
  readonly log: StreamLog;
  /** What it is sealed with; null: nothing. */
  readonly keys: Keys | null;
}

/**
 * Opens a stream that is there, with the keys that its address names.
 * @throws LockstepError REPLICA_GONE, REPLICA_IO, BAD_OPTION
 */
export async function openStream(
  address: string,
  signal: AbortSignal = NEVER,
  known = 0,
): Promise<OpenStream> {
  const source = settingsOf(address).get("keys");
  const keys = source === undefined ? null : await loadKeys(source);
  return { log: await openLog(address, signal, known), keys };
}

/**
 * The same for whoever writes it.
 * @param known the last message that it has acknowledged, as far as that is on record; 0: none
 * @returns with what cannot keep the promise and was accepted by name
 * @throws LockstepError UNSAFE besides
 */
export async function openToWrite(
  address: string,
  signal: AbortSignal,
  known: number,
): Promise<OpenStream & { readonly accepted: readonly string[] }> {
  const isArchive = archiveDirectory(address) !== null;
  const accepted = isArchive ? [] : await checkServers(address, signal);
  return { ...(await openStream(address, signal, known)), accepted };
}

// --- internal ---

const NEVER = new AbortController().signal;

async function openLog(address: string, signal: AbortSignal, known: number): Promise<StreamLog> {
  const directory = archiveDirectory(address);
  if (directory !== null) return (await import("./archive.ts")).Archive.open(directory);
  return (await import("./nats.ts")).NatsLog.open(address, signal, { known });
}

async function checkServers(address: string, signal: AbortSignal): Promise<string[]> {
  const { check, hazardsIn } = await import("./nats-admin.ts");
  const allowed = hazardsIn(settingsOf(address).get("allowUnsafe") ?? "");
  const found = await check(address, allowed, signal);
  return found.map(({ hazard, what }) => `${hazard}: ${what}`);
}
