/**
 * The keys that a stream is sealed with. Each has a number, and messages say by which they are sealed: so a new
 * key is added beside the old ones, seals from then on, and what the others have sealed can still be read.
 *
 *   keys := line*      line := number ":" key, or nothing, or "#" and a remark
 *   key  := 32 bytes, as 64 hexadecimal digits or in base64
 *
 * The text comes from a file, from an environment variable, or from a function, and is in no message of ours.
 */
import fs from "node:fs";
import { codes, LockstepError } from "../errors.ts";

/**
 * Where keys come from: a file's path, `env:NAME` for an environment variable, or a function that gives their text
 * (from a key service, for instance).
 */
export type KeySource = string | (() => string | Promise<string>);

export class Keys {
  readonly #keys: ReadonlyMap<number, Uint8Array>;
  /** The number of the key that seals: the highest. */
  readonly newest: number;

  private constructor(keys: ReadonlyMap<number, Uint8Array>) {
    this.#keys = keys;
    this.newest = Math.max(...keys.keys());
  }

  /**
   * @param where what the text is called in errors
   * @throws LockstepError BAD_OPTION, which says the line and nothing of what stands there
   */
  static parse(text: string, where: string): Keys {
    const keys = new Map<number, Uint8Array>();
    for (const [at, raw] of text.split(/\r?\n/).entries()) {
      const line = raw.trim();
      if (line === "" || line.startsWith("#")) continue;
      const what = (problem: string): LockstepError => bad(where, `line ${at + 1} ${problem}`);
      const [, digits, encoded] = /^(\d{1,10})\s*:\s*(\S+)$/.exec(line) ?? [];
      if (digits === undefined || encoded === undefined) throw what("is not NUMBER:KEY");
      const number = Number(digits);
      if (number < 1 || number > MAX_NUMBER) throw what("has a number below 1 or above 4294967295");
      if (keys.has(number)) throw what(`gives key ${number} a second time`);
      const key = decode(encoded);
      if (!key) throw what("has a key that is not 32 bytes, in hexadecimal digits or base64");
      keys.set(number, key);
    }
    if (keys.size === 0) throw bad(where, "there is no key");
    return new Keys(keys);
  }

  /** Null if there is none of this number. */
  get(number: number): Uint8Array | null {
    return this.#keys.get(number) ?? null;
  }
}

/** @throws LockstepError BAD_OPTION if there are none, or what is there cannot be read as keys */
export async function loadKeys(source: KeySource): Promise<Keys> {
  if (typeof source === "function") return Keys.parse(await source(), "the function `keys`");
  if (source.startsWith("env:")) {
    const name = source.slice("env:".length);
    const text = process.env[name];
    if (text === undefined) throw bad(`the environment variable ${name}`, "it is not set");
    return Keys.parse(text.replaceAll(",", "\n"), `the environment variable ${name}`);
  }
  let text: string;
  try {
    text = fs.readFileSync(source, "utf8");
  } catch (cause) {
    throw bad(`the file ${source}`, (cause as Error).message, cause);
  }
  return Keys.parse(text, `the file ${source}`);
}

// --- internal ---

const MAX_NUMBER = 0xffffffff;
const KEY_BYTES = 32;

function decode(encoded: string): Uint8Array | null {
  if (/^[\da-f]{64}$/i.test(encoded)) return Buffer.from(encoded, "hex");
  if (!/^[\w+/-]{43}=?$/.test(encoded)) return null;
  const bytes = Buffer.from(encoded, "base64");
  return bytes.length === KEY_BYTES ? bytes : null;
}

function bad(where: string, what: string, cause?: unknown): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy: null,
    what: `Option \`keys\`: in ${where}: ${what}`,
    state: "Nothing was opened",
    next: "Write a line NUMBER:KEY for each key, 32 bytes in hexadecimal digits or base64: openssl rand -base64 32 makes one",
    ...(cause === undefined ? {} : { cause }),
  });
}
