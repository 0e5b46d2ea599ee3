/** `lockstep init`: makes what a stream needs, and checks that its servers keep their promise. */
import path from "node:path";
import { parseArgs } from "node:util";
import { archiveDirectory } from "../../address.ts";
import { createArchive } from "../../stream/archive.ts";
import {
  check,
  create,
  type Finding,
  hazardsIn,
  type Part,
  type Plan,
  plan,
} from "../../stream/nats-admin.ts";
import { isNatsUrl } from "../../stream/nats-url.ts";
import { type Io, UsageError } from "../io.ts";

export const usage = `Usage: lockstep init [--dry-run] [--replicas N] [--max-bytes N] [--allow-unsafe LIST] [--json] URL
       lockstep init [--json] archive:/path

Makes the stream of a database on NATS JetStream servers, and a bucket for its snapshots, and checks
that they keep what they acknowledge. What is there is left as it is; doing it again does no harm.
Writers never make a stream: one that is missing is an error of theirs. An archive is a directory, made
where there is none, or in an empty one.

  URL             nats://USER:PASSWORD@HOST:4222,HOST2:4222/NAME, or tls://…; behind a ? and between &:
                  creds=FILE or nkey=FILE, ca=FILE, cert=FILE, key=FILE, inbox=PREFIX;
                  monitor=URL,URL or system=USER:PASSWORD or systemCreds=FILE to ask the servers
                  whether they sync before they acknowledge
  --dry-run       say what would be made, and make nothing
  --replicas      how many servers hold each message, default 3
  --max-bytes     how large the stream may become; then commits fail. Default: what the servers have
  --allow-unsafe  accept what cannot keep the promise, by name: replicas, storage, limits, sync,
                  version; several with commas between them
  --json          {"place", "stream": PART, "bucket": PART, "made": boolean,
                   "unsafe": [{"hazard", "what"}, …]   (accepted)};
                  PART is {"name", "exists": boolean   (before), "wanted": {…}, "differences": […]}; of an archive: {"place"}

Examples:
  lockstep init --dry-run nats://app:secret@n1:4222,n2:4222,n3:4222/orders
  lockstep init "nats://n1,n2,n3/orders?creds=/etc/app/app.creds&monitor=http://n1:8222,http://n2:8222,http://n3:8222"
  lockstep init archive:/mnt/nas/orders
  lockstep init --replicas 1 --allow-unsafe replicas,sync nats://localhost/trial   # to try it out

Exit status: 0 done, 1 failed or refused, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      "dry-run": { type: "boolean" },
      replicas: { type: "string" },
      "max-bytes": { type: "string" },
      "allow-unsafe": { type: "string" },
      json: { type: "boolean" },
    },
  });
  const [url] = positionals;
  const directory = url === undefined ? null : archiveDirectory(url);
  if (directory !== null && positionals.length === 1) return makeArchive(directory, values, io);
  if (url === undefined || positionals.length > 1 || !isNatsUrl(url)) {
    throw new UsageError("init takes one address, nats://HOST/NAME or archive:/path.");
  }
  const accepted = hazardsIn(values["allow-unsafe"] ?? "");
  const replicas = integer(values.replicas, "--replicas", 1, 5) ?? 3;
  const maxBytes = integer(values["max-bytes"], "--max-bytes", 1, Number.MAX_SAFE_INTEGER) ?? -1;
  if (replicas < 3 && !accepted.includes("replicas")) {
    throw new UsageError(
      "Fewer than three replicas lose messages: --allow-unsafe replicas accepts it.",
    );
  }
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const options = { replicas, maxBytes };
  const dry = values["dry-run"] === true;
  const before = dry ? await plan(url, options, signal) : await create(url, options, signal);
  if (!values.json) for (const line of describe(before, dry)) io.print(line);
  const unsafe = dry ? [] : await check(url, accepted, signal);
  if (values.json) io.json({ ...before, made: !dry, unsafe });
  else if (!dry) for (const line of verdict(unsafe)) io.print(line);
  return 0;
}

// --- internal ---

const PATIENCE_MS = 60_000;

async function makeArchive(
  directory: string,
  values: Readonly<Record<string, unknown>>,
  io: Io,
): Promise<0> {
  const other = Object.keys(values).find((name) => name !== "json");
  if (other !== undefined) throw new UsageError(`--${other} is for servers: an archive has none.`);
  await createArchive(directory);
  const place = `archive:${path.resolve(directory)}`;
  if (values["json"]) io.json({ place });
  else io.print(`made ${place}`);
  return 0;
}

function integer(
  text: string | undefined,
  option: string,
  least: number,
  most: number,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`${option} takes an integer from ${least} to ${most}, not "${text}".`);
}

function describe({ place, stream, bucket }: Plan, dry: boolean): string[] {
  return [place, ...describePart("stream", stream, dry), ...describePart("bucket", bucket, dry)];
}

function describePart(what: string, part: Part, dry: boolean): string[] {
  const done = dry ? "would be made" : "made";
  const lines = [`  ${what}  ${part.name}: ${part.exists ? "was there" : done}`];
  if (!part.exists) {
    for (const [key, value] of Object.entries(part.wanted)) {
      if (key !== "name") lines.push(`            ${key} ${JSON.stringify(value)}`);
    }
  }
  for (const difference of part.differences) lines.push(`            ${difference}`);
  return lines;
}

function verdict(unsafe: readonly Finding[]): string[] {
  if (unsafe.length === 0) return ["  checked: what it acknowledges is on the disks of a majority"];
  return unsafe.map(({ hazard, what }) => `  ACCEPTED  ${hazard}: ${what}`);
}
