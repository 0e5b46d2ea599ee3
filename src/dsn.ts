/**
 * A DSN: a primary, its replicas and their options in one string, wherever a path is accepted.
 *
 *     dsn    := "sqlite3://" path (":" path)* ["?" option ("&" option)*]
 *     option := name "=" value
 *
 * The first path is the primary's. In a path, and in a value, "%" and two hexadecimal digits stand
 * for a byte of UTF-8: %3A for a colon, %3F for a question mark, %25 for the percent sign itself.
 * Relative paths start at the working directory. Options are those of ReplicationOptions that fit
 * into a string: numbers in decimal digits, true, false.
 *
 * On Windows a letter, a colon and a slash or backslash at the start of a path are its drive, also
 * behind a slash: sqlite3:///C:/main.db:/D:/replica.db. Elsewhere the same letters are refused
 * instead of being read as a file of one letter, unless "./" stands before it.
 *
 * Example: sqlite3:///var/lib/app.db:/mnt/usb/app.db?replicaTimeout=5000
 */
import { codes, LockstepError } from "./errors.ts";
import { nearMiss, type OptionName, type ReplicationOptions, wrongWith } from "./options.ts";

export interface Dsn {
  /** The primary's path, as it was written. */
  readonly path: string;
  /** `replicas` only if the DSN names any. */
  readonly options: ReplicationOptions;
}

/** Is this meant as a DSN? A file of such a name can be reached as `./sqlite3:/…`. */
export function isDsn(text: string): boolean {
  return /^sqlite3:\//i.test(text);
}

/** @throws LockstepError BAD_DSN; positions in its message count from 1 */
export function parseDsn(text: string, platform: NodeJS.Platform = process.platform): Dsn {
  if (!/^sqlite3:\/\//i.test(text)) throw badDsn(text, SCHEME - 1, "a second slash is missing");
  const question = text.indexOf("?");
  const end = question < 0 ? text.length : question;
  const [path, ...replicas] = readPaths(text, end, platform === "win32");
  const options = question < 0 ? {} : readQuery(text, end + 1);
  return {
    path: path as string,
    options: replicas.length === 0 ? options : { ...options, replicas },
  };
}

// --- internal ---

/** The length of "sqlite3://". */
const SCHEME = 10;

/** The options that fit into a string, and how their values are read. */
const readers: Readonly<Partial<Record<string, (value: string) => unknown>>> = {
  durability: String,
  onReplicaFailure: String,
  minCopies: readInteger,
  replicaTimeout: readInteger,
  restoreMissing: readBoolean,
  checkpointBytes: readInteger,
  scrubBytesPerSecond: readInteger,
  openTransactionMs: readInteger,
  lowSpaceBytes: readInteger,
};

function readPaths(text: string, end: number, windows: boolean): string[] {
  const paths: string[] = [];
  for (let start = SCHEME; start <= end; ) {
    let at = start;
    const drive = /^(\/?)[a-z]:[\\/]/i.exec(text.slice(start, end));
    if (drive && windows) {
      start += (drive[1] as string).length;
      at = start + 2; // its colon separates nothing
    } else if (drive?.[1] === "") {
      throw badDsn(text, start, 'a drive letter; "./" before it would make it a file\'s name');
    }
    const colon = text.indexOf(":", at);
    const stop = colon < 0 || colon > end ? end : colon;
    const path = decode(text, start, stop);
    if (path.trim() === "") throw badDsn(text, start, "a path is missing");
    paths.push(path);
    start = stop + 1;
  }
  return paths;
}

function readQuery(text: string, from: number): ReplicationOptions {
  const options: Record<string, unknown> = {};
  for (let start = from; start <= text.length; ) {
    const and = text.indexOf("&", start);
    const stop = and < 0 ? text.length : and;
    const equals = text.indexOf("=", start);
    if (stop === start) throw badDsn(text, start, "an option is missing");
    if (equals < 0 || equals > stop) throw badDsn(text, stop, '"=" and a value are missing');
    const name = decode(text, start, equals);
    if (!Object.hasOwn(readers, name)) throw badDsn(text, start, notKnown(name));
    if (name in options) throw badDsn(text, start, `\`${name}\` is given twice`);
    const value = readers[name]?.(decode(text, equals + 1, stop));
    const wrong = wrongWith(name as OptionName, value);
    if (wrong !== null) throw badDsn(text, equals + 1, `\`${name}\` ${wrong}`);
    options[name] = value;
    start = stop + 1;
  }
  return options as ReplicationOptions;
}

function notKnown(name: string): string {
  const meant = nearMiss(name);
  if (meant === name) return `\`${name}\` cannot be given in a DSN`;
  return `\`${name}\` is not known${meant ? `: is \`${meant}\` meant?` : ""}`;
}

function readInteger(value: string): number | string {
  return /^\d+$/.test(value) ? Number(value) : value;
}

function readBoolean(value: string): boolean | string {
  return value === "true" || (value === "false" ? false : value);
}

/** Replaces the percent signs and what they stand for in `text[start, stop)`. */
function decode(text: string, start: number, stop: number): string {
  const raw = text.slice(start, stop);
  const special = /\0|%00|(?:%(?!00)[\da-f]{2})+|%|\p{Surrogate}/giu; // of a pair, only one half
  return raw.replaceAll(special, (part, at: number) => {
    if (!part.isWellFormed()) throw badDsn(text, start + at, "half a character is no character");
    if (part === "%") throw badDsn(text, start + at, "two hexadecimal digits must follow");
    if (part === "\0" || part === "%00") throw badDsn(text, start + at, "a path has no zero");
    const bytes = Buffer.from(part.replaceAll("%", ""), "hex");
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw badDsn(text, start + at, "these bytes are not UTF-8");
    }
  });
}

/** @param at counts from 0 */
function badDsn(text: string, at: number, what: string): LockstepError {
  return new LockstepError(codes.BAD_DSN, {
    copy: null,
    what: `The DSN ${JSON.stringify(text)} is malformed at position ${at + 1}: ${what}`,
    state: "Nothing was opened",
    next: "Write sqlite3://PRIMARY:REPLICA, with %3A for a colon inside a path",
  });
}
