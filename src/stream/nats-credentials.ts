/** Who we are, by the files that a nats:// URL names (nats-url.ts). What they hold is in none of our messages. */
import fs from "node:fs";
import path from "node:path";
import type { Authenticator } from "@nats-io/transport-node";
import { codes, LockstepError } from "../errors.ts";
import type { NatsPlace } from "./nats-url.ts";

/** What is needed of the client. */
type Client = Pick<
  typeof import("@nats-io/transport-node"),
  "credsAuthenticator" | "nkeyAuthenticator"
>;

/**
 * Null if neither credentials nor an nkey are named. The file is read at each connection: what is valid
 * for a while only is replaced there before it ends, and a connection that comes back shows the new one.
 * @param creds the setting that names the credentials
 * @throws LockstepError BAD_OPTION if it cannot be read, or is no such file
 */
export function authenticatorOf(
  place: Pick<NatsPlace, "creds" | "nkey">,
  client: Client,
  creds: "creds" | "systemCreds",
): Authenticator | null {
  if (place.creds !== null) {
    return fromFile(place.creds, creds, (bytes) => client.credsAuthenticator(bytes));
  }
  if (place.nkey === null) return null;
  return fromFile(place.nkey, "nkey", (bytes) => client.nkeyAuthenticator(trimmed(bytes)));
}

/** @throws LockstepError BAD_OPTION */
export function readSecret(file: string, what: string): Uint8Array {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw badOption(`\`${what}\` of a nats:// URL cannot be read: ${(error as Error).message}`);
  }
}

export function badOption(what: string, next = "Correct the URL"): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what,
    state: "Nothing was opened",
    next,
  });
}

// --- internal ---

function fromFile(
  file: string,
  what: string,
  authenticator: (bytes: Uint8Array) => Authenticator,
): Authenticator {
  const full = path.resolve(file); // wherever the process goes later
  const good = readSecret(full, what);
  try {
    authenticator(good)("tried");
  } catch {
    // Not what the client says: that may be a part of it.
    throw badOption(
      `\`${what}\` of a nats:// URL names ${file}, in which there is nothing of that kind`,
    );
  }
  let last = authenticator(good);
  return (nonce) => {
    try {
      const now = authenticator(fs.readFileSync(full));
      const answer = now(nonce);
      last = now;
      return answer;
    } catch {
      return last(nonce); // it is just being replaced, and what it was may still do
    }
  };
}

function trimmed(seed: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(seed).toString("latin1").trim(), "latin1");
}
