/**
 * The name of a stream on NATS servers:
 *
 *     url    := ("nats" | "tls") "://" [user [":" password] "@"] host [":" port] ("," host [":" port])* "/" name ["?" query]
 *
 * As NATS users write it, with the database's name as the path. `tls` refuses servers that do not encrypt. A
 * user without a password is a token. In user, password, name and values "%" and two hexadecimal digits
 * stand for a byte. A name has letters, digits, "-" and "_". The query:
 *
 *     creds=FILE        the credentials of a user, as `nsc` writes them; read at each connection
 *     nkey=FILE         the seed of an nkey
 *     ca=FILE           certificates of authorities that may vouch for the servers; implies `tls`
 *     cert=FILE key=FILE  our own certificate and its key; imply `tls`
 *     inbox=PREFIX      under which answers are received, if the user may not receive under `_INBOX`
 *     monitor=URL,URL   where the servers' monitoring is; asked whether they sync before they acknowledge
 *     system=USER:PASSWORD  or systemCreds=FILE: a user of the system account, which is asked the same
 *
 * What is secret is in none of our messages: they say `nats://host/name`.
 */
import { SETTINGS } from "../address.ts";
import { codes, LockstepError } from "../errors.ts";

/** Where a stream is, and how to get there. */
export interface NatsPlace {
  /** `host:port` of each server that was named. */
  readonly servers: readonly string[];
  /** The database's name. */
  readonly name: string;
  /** Without a secret: for messages. */
  readonly shown: string;
  readonly user: string | null;
  readonly password: string | null;
  readonly token: string | null;
  readonly creds: string | null;
  readonly nkey: string | null;
  /** Null: whatever the server does. */
  readonly tls: {
    readonly ca: string | null;
    readonly cert: string | null;
    readonly key: string | null;
  } | null;
  readonly inbox: string | null;
  readonly monitor: readonly string[];
  readonly system: { readonly user: string; readonly password: string } | null;
  readonly systemCreds: string | null;
}

/** Is this meant as the name of a stream on NATS servers? */
export function isNatsUrl(text: string): boolean {
  return /^(?:nats|tls):\/\//i.test(text);
}

/** @throws LockstepError BAD_OPTION; it repeats nothing that may be secret */
export function parseNatsUrl(text: string): NatsPlace {
  const [, scheme = "", rest = ""] = /^(nats|tls):\/\/(.*)$/is.exec(text) ?? [];
  const question = rest.indexOf("?");
  const query = question < 0 ? "" : rest.slice(question + 1);
  const before = question < 0 ? rest : rest.slice(0, question);
  const slash = before.indexOf("/", before.lastIndexOf("@") + 1);
  if (scheme === "" || slash < 0) throw badUrl("it has no name of a stream behind its servers");
  const authority = before.slice(0, slash);
  const at = authority.lastIndexOf("@");
  const servers = authority
    .slice(at + 1)
    .split(",")
    .map(serverOf);
  const name = decode(before.slice(slash + 1), "the name");
  if (!/^[\w-]{1,64}$/.test(name)) {
    throw badUrl('the name of a stream has 1 to 64 letters, digits, "-" and "_"');
  }
  const options = optionsOf(query);
  const { ca = null, cert = null, key = null } = options;
  if ((cert === null) !== (key === null)) throw badUrl("`cert` and `key` go together");
  const tls = scheme.toLowerCase() === "tls" || ca !== null || cert !== null;
  return {
    ...{ servers, name, shown: `nats://${servers.join(",")}/${name}` },
    ...whoIn(at < 0 ? "" : authority.slice(0, at)),
    creds: options.creds ?? null,
    nkey: options.nkey ?? null,
    tls: tls ? { ca, cert, key } : null,
    inbox: options.inbox ?? null,
    monitor: options.monitor?.split(",").map(monitorOf) ?? [],
    system: systemOf(options.system),
    systemCreds: options.systemCreds ?? null,
  };
}

// --- internal ---

const DEFAULT_PORT = 4222;

const NAMES = ["creds", "nkey", "ca", "cert", "key", "inbox"] as const;
const ADMIN_NAMES = ["monitor", "system", "systemCreds"] as const;

type Options = Partial<Record<(typeof NAMES)[number] | (typeof ADMIN_NAMES)[number], string>>;

function whoIn(text: string): Pick<NatsPlace, "user" | "password" | "token"> {
  if (text === "") return { user: null, password: null, token: null };
  const colon = text.indexOf(":");
  const user = decode(colon < 0 ? text : text.slice(0, colon), "the user");
  if (colon < 0) return { user: null, password: null, token: user };
  return { user, password: decode(text.slice(colon + 1), "the password"), token: null };
}

function serverOf(text: string): string {
  const [, host, port = `${DEFAULT_PORT}`] =
    /^(\[[\da-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/i.exec(text) ?? [];
  if (host === undefined) throw badUrl("one of its servers is not HOST or HOST:PORT");
  return `${host}:${port}`;
}

function optionsOf(query: string): Options {
  const options: Options = {};
  for (const part of query === "" ? [] : query.split("&")) {
    const equals = part.indexOf("=");
    const given = part.slice(0, equals);
    if (SETTINGS.includes(given)) continue; // of any stream's, see ../address.ts
    const name = [...NAMES, ...ADMIN_NAMES].find((each) => each === given);
    if (name === undefined) {
      // Not what stands there: that may be half of a secret.
      const known = [...NAMES, ...ADMIN_NAMES, ...SETTINGS];
      throw badUrl(`it has an option that is none of ${known.join(", ")}`);
    }
    if (name in options) throw badUrl(`\`${name}\` is given twice`);
    const value = decode(part.slice(equals + 1), `\`${name}\``);
    if (value === "") throw badUrl(`\`${name}\` is empty`);
    options[name] = value;
  }
  return options;
}

function monitorOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) throw badUrl("`monitor` is no http URL");
  return url.href.replace(/\/$/, "");
}

function systemOf(text: string | undefined): NatsPlace["system"] {
  if (text === undefined) return null;
  const colon = text.indexOf(":");
  if (colon < 0) throw badUrl("`system` is not USER:PASSWORD");
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badUrl(`${what} has a "%" without two hexadecimal digits, or bytes that are not UTF-8`);
  }
}

function badUrl(what: string): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `A nats:// URL is malformed: ${what}`,
    state: "Nothing was opened",
    next: "Write nats://USER:PASSWORD@HOST:4222/NAME, with %XX for special characters",
  });
}
