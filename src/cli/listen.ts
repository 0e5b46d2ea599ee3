/** `--listen`: what a command that goes on shows to others meanwhile. */

import { type Observation, observe } from "../observe/index.ts";
import type { ReplicationHandle } from "../observe.ts";

export const LISTEN_OPTIONS = {
  listen: { type: "string", multiple: true },
  "allow-remote": { type: "boolean" },
} as const;

/**
 * Listens on each of these addresses.
 * @throws LockstepError BAD_OPTION, ENDPOINT: then on none of them
 */
export async function listenOn(
  handle: ReplicationHandle,
  addresses: readonly string[],
  allowRemote: boolean,
): Promise<readonly Observation[]> {
  const open: Observation[] = [];
  try {
    for (const listen of addresses) open.push(await observe(handle, { listen, allowRemote }));
  } catch (error) {
    await closeAll(open);
    throw error;
  }
  return open;
}

export async function closeAll(observations: readonly Observation[]): Promise<void> {
  await Promise.all(observations.map((each) => each.close()));
}
