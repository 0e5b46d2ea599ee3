/** The stream that a command line names, opened. */
import { isStream, masked } from "../address.ts";
import { loadKeys } from "../stream/keys.ts";
import { type OpenStream, openStream } from "../stream/open.ts";
import { UsageError } from "./io.ts";

/**
 * @param keys what `--keys` says; else the address may
 * @throws UsageError if it is no stream; LockstepError
 */
export async function openNamed(
  stream: string,
  keys: string | undefined,
  signal?: AbortSignal,
): Promise<OpenStream> {
  if (!isStream(stream)) {
    throw new UsageError(
      `${masked(stream)} is no stream: nats://host/name or archive:/path is one.`,
    );
  }
  const given = keys === undefined ? null : await loadKeys(keys);
  const open = await openStream(stream, signal);
  return { ...open, keys: given ?? open.keys };
}
