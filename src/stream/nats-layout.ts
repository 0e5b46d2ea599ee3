/**
 * What a database's stream and its bucket of objects are called, and how they must be set up so that
 * nothing that was acknowledged can go away by itself.
 *
 *   stream   LOCKSTEP_<name>, with the one subject lockstep.<name>: so the number of a message in the
 *            stream is its place in the log, and the one thing that a publish has to expect
 *   bucket   LOCKSTEP_<name>, which is the stream OBJ_LOCKSTEP_<name>: objects as `nats object` knows them
 */
import type { StreamConfig } from "@nats-io/jetstream";

/** The largest payload of a message, in bytes; the server's own default limit is twice that. */
export const MESSAGE_MAX = 512 << 10;

/** Room for the headers of a message. */
export const HEADERS_MAX = 1 << 10;

/** Within this time the servers know a message that is sent again, in milliseconds. */
export const DUPLICATE_WINDOW = 120_000;

/** What one of the two must be; the servers fill in the rest. */
export type Wanted = Pick<
  StreamConfig,
  | "name"
  | "subjects"
  | "retention"
  | "storage"
  | "num_replicas"
  | "discard"
  | "max_age"
  | "max_msgs"
  | "max_msgs_per_subject"
  | "max_bytes"
  | "max_msg_size"
  | "deny_delete"
  | "deny_purge"
  | "allow_direct"
  | "allow_rollup_hdrs"
  | "duplicate_window"
>;

export const streamName = (name: string): string => `LOCKSTEP_${name}`;
export const subjectOf = (name: string): string => `lockstep.${name}`;
export const bucketName = (name: string): string => `LOCKSTEP_${name}`;
export const bucketStream = (name: string): string => `OBJ_${bucketName(name)}`;

export function wantedStream(name: string, replicas: number, maxBytes: number): Wanted {
  return {
    ...alike(replicas),
    name: streamName(name),
    subjects: [subjectOf(name)],
    max_bytes: maxBytes,
    max_msg_size: MESSAGE_MAX + 2 * HEADERS_MAX,
    deny_delete: true,
    allow_rollup_hdrs: false,
  };
}

export function wantedBucket(name: string, replicas: number): Wanted {
  const bucket = bucketName(name);
  return {
    ...alike(replicas),
    name: bucketStream(name),
    subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
    max_bytes: -1,
    max_msg_size: -1,
    deny_delete: false,
    allow_rollup_hdrs: true, // as the tools for objects expect it
  };
}

// --- internal ---

function alike(replicas: number) {
  return {
    retention: "limits",
    storage: "file",
    num_replicas: replicas,
    discard: "new", // full is an error of the next commit, never a loss
    max_age: 0,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    deny_purge: false,
    allow_direct: true,
    duplicate_window: DUPLICATE_WINDOW * 1e6,
  } as const;
}
