/** The copies that a command line names: a primary and its replicas, or a DSN in their place. */

import { isStream, streamName } from "../address.ts";
import { isDsn, parseDsn } from "../dsn.ts";
import { type ReplicationOptions, readOptions } from "../options.ts";
import { UsageError } from "./io.ts";

export interface Copies {
  readonly primary: string | undefined;
  readonly replicas: readonly string[];
  /** What a DSN says besides. */
  readonly options: ReplicationOptions;
}

/** @throws UsageError if one of them is a stream: this command takes files */
export function assertFiles(command: string, copies: readonly (string | undefined)[]): void {
  const stream = copies.find((copy) => copy !== undefined && isStream(copy));
  if (stream === undefined) return;
  throw new UsageError(
    `${command} takes files, and ${streamName(stream)} is a stream: see status, follow and restore.`,
  );
}

/** @throws LockstepError BAD_DSN, BAD_OPTION */
export function copiesFrom(positionals: readonly string[]): Copies {
  const [first, ...rest] = positionals;
  if (first === undefined || !isDsn(first)) return { primary: first, replicas: rest, options: {} };
  const { path, options } = parseDsn(first);
  const named = readOptions({}, options)?.replicas ?? [];
  return { primary: path, replicas: [...named, ...rest], options };
}
