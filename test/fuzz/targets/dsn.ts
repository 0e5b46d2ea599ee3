/**
 * A DSN of any text. It is read, and then what was read, written down again, is read the same; or it
 * is refused with BAD_DSN and a position within it.
 */
import assert from "node:assert/strict";
import { type Dsn, isDsn, parseDsn } from "../../../src/dsn.ts";
import { codes, LockstepError } from "../../../src/errors.ts";
import { readOptions } from "../../../src/options.ts";
import type { Random } from "../../crash/random.ts";
import type { Target } from "../fuzzer.ts";

export interface DsnInput {
  readonly text: string;
  readonly windows: boolean;
}

const CORPUS = [
  "sqlite3:///var/lib/app.db:/mnt/usb/app.db?replicaTimeout=5000",
  "sqlite3://a%3Ab:./c%3Fd%25:e?durability=barrier&restoreMissing=true&checkpointBytes=4096",
  "sqlite3:///C:/main.db:/D:/copy.db?onReplicaFailure=degrade&minCopies=1",
  "SQLite3:///%C3%A4#1 +:\\\\server\\share",
];

const PIECES = [
  ...["sqlite3://", "/", ":", "?", "&", "=", "%", "%3A", "%c3", "%C3%A4", "%00", "\0", "\ud800"],
  ...["C:\\", "d:/", " ", "./", "..", "a", "é", "𝄞", "true", "false", "0", "-1", "1e3", "٣"],
  ...["replicaTimeout", "restoreMissing", "durability", "barrier", "checkpointBytes", "replicas"],
  ...["__proto__", "constructor", "toString", "9".repeat(400), "%2f".repeat(50)],
];

/** @param parse the function under test: a canary's is wrong */
export function dsnTarget(_?: unknown, parse = parseDsn): Target<DsnInput> {
  return {
    name: "dsn",
    corpus: CORPUS.flatMap((text) => [false, true].map((windows) => ({ text, windows }))),
    mutate({ text, windows }, others, random) {
      let out = text;
      for (let i = random.between(1, 4); i > 0; i--) {
        out = changed(out, random.pick(others).text, random);
      }
      return { text: out, windows: random.oneIn(8) ? !windows : windows };
    },
    check({ text, windows }) {
      const platform = windows ? "win32" : "linux";
      let read: Dsn;
      try {
        read = parse(text, platform);
      } catch (error) {
        assert.ok(error instanceof LockstepError, `${(error as Error).stack}`);
        assert.equal(error.code, codes.BAD_DSN);
        if (!isDsn(text)) return; // nobody asks for such a one to be read
        const position = Number(/ at position (\d+):/.exec(error.what)?.[1]);
        assert.ok(position >= 1 && position <= text.length + 1, error.what);
        return;
      }
      assert.ok(isDsn(text), "what is read begins like one");
      assert.deepEqual(parse(written(read), platform), read, "written down and read again");
      const { replicas, ...options } = read.options;
      try {
        const whole = readOptions({}, read.options);
        assert.equal(whole === null, replicas === undefined, "replicas or none");
      } catch (error) {
        assert.ok(error instanceof LockstepError, `${(error as Error).stack}`);
        const paths = replicas !== undefined;
        assert.ok(paths || Object.keys(options).length > 0, "something had no effect");
      }
    },
  };
}

function changed(text: string, other: string, random: Random): string {
  const at = random.below(text.length + 1);
  const length = random.between(1, 6);
  switch (random.below(4)) {
    case 0:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at);
    case 1:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at + length);
    case 2:
      return text.slice(0, at) + text.slice(at + length);
    default:
      return text.slice(0, at) + other.slice(random.below(other.length + 1));
  }
}

/** Everything but letters and digits as bytes of UTF-8. */
function written({ path, options }: Dsn): string {
  const encode = (text: string): string =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
  const { replicas = [], ...others } = options;
  const paths = [path, ...replicas].map((each) => encode(String(each)));
  const query = Object.entries(others).map(([name, value]) => `${name}=${encode(String(value))}`);
  return `sqlite3://${paths.join(":")}${query.length > 0 ? `?${query.join("&")}` : ""}`;
}
