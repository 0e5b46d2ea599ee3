/**
 * Sets up a database's stream and bucket on NATS servers, and says whether they can keep what a commit
 * is told. Only `lockstep init` makes them: a writer that finds no stream stops, since one that was
 * made anew would hold nothing of what was acknowledged before.
 */
import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { codes, LockstepError } from "../errors.ts";
import { isNameInUse, isNoStream, noAnswer, noStream, refusal } from "./nats-errors.ts";
import { type Wanted, wantedBucket, wantedStream } from "./nats-layout.ts";
import { mayAskAgain, NatsLink, pause } from "./nats-link.ts";
import { askServers, type ServerFacts } from "./nats-sync.ts";
import { type NatsPlace, parseNatsUrl } from "./nats-url.ts";

/** What cannot keep the promise, and can be accepted by name. */
export const HAZARDS = ["replicas", "storage", "limits", "sync", "version"] as const;
export type Hazard = (typeof HAZARDS)[number];

/** @throws LockstepError BAD_OPTION */
export function hazardsIn(list: string): Hazard[] {
  const names = list === "" ? [] : list.split(",");
  return names.map((name) => {
    const hazard = HAZARDS.find((each) => each === name);
    if (hazard) return hazard;
    throw new LockstepError(codes.BAD_OPTION, {
      copy: null,
      what: `What may be accepted is ${HAZARDS.join(", ")}, not ${JSON.stringify(name)}`,
      state: "Nothing was opened",
      next: "Correct `allowUnsafe`",
    });
  });
}

export interface Finding {
  readonly hazard: Hazard;
  /** The setting, and what it is: to stand in a sentence. */
  readonly what: string;
  /** Of servers that do not answer, while others do. */
  readonly isSilent?: boolean;
}

export interface InitOptions {
  /** Copies of each message. Default 3; at least 3, unless "replicas" is accepted. */
  readonly replicas?: number;
  /** How large the stream may become, in bytes; then commits fail. Default -1: what the servers have. */
  readonly maxBytes?: number;
}

/** One of the two, as it is and as it should be. */
export interface Part {
  readonly name: string;
  readonly exists: boolean;
  readonly wanted: Wanted;
  /** Settings that are otherwise than wanted: `num_replicas is 1, not 3`. */
  readonly differences: readonly string[];
}

export interface Plan {
  readonly place: string;
  readonly stream: Part;
  readonly bucket: Part;
}

/** Says what `create` would do. Changes nothing. @throws LockstepError as `NatsLink.connect` */
export async function plan(url: string, options: InitOptions, signal: AbortSignal): Promise<Plan> {
  return await connected(url, signal, (link, place) => planWith(link, place, options, signal));
}

/**
 * Makes what is missing. What is there is left as it is. Doing it again does no harm.
 * @returns what was there before
 * @throws LockstepError REPLICA_CHANGED if the servers made something else than they were told
 */
export async function create(
  url: string,
  options: InitOptions,
  signal: AbortSignal,
): Promise<Plan> {
  return await connected(url, signal, async (link, place) => {
    const before = await planWith(link, place, options, signal);
    for (const part of [before.stream, before.bucket]) {
      if (!part.exists) await make(link, part.wanted, signal);
    }
    return before;
  });
}

/**
 * Looks for what cannot keep the promise. A server that is away acknowledges nothing and is not asked; one that
 * comes or goes just now is asked again for a while.
 * @param allowUnsafe what is accepted nevertheless
 * @returns what was accepted
 * @throws LockstepError UNSAFE, naming each setting that is not accepted; REPLICA_GONE if there is no stream
 */
export async function check(
  url: string,
  allowUnsafe: readonly Hazard[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  return await connected(url, signal, async (link, place) => {
    const deadline = performance.now() + ASK_AGAIN_MS;
    for (;;) {
      const findings = await findingsOf(link, place, signal);
      const refused = findings.filter(({ hazard }) => !allowUnsafe.includes(hazard));
      if (refused.length === 0) return findings;
      const mayChange = refused.every(({ isSilent }) => isSilent) && performance.now() < deadline;
      if (!mayChange) throw unsafe(place, refused);
      await pause(signal);
    }
  });
}

// --- internal ---

const REPLICAS_MIN = 3;
/** How long servers that do not answer are asked again, in milliseconds. */
const ASK_AGAIN_MS = 10_000;

/** Before, a server could commit what another had decided otherwise. */
const VERSION_MIN = [2, 12, 6] as const;

async function connected<T>(
  url: string,
  signal: AbortSignal,
  work: (link: NatsLink, place: NatsPlace) => Promise<T>,
): Promise<T> {
  const place = parseNatsUrl(url);
  const link = await NatsLink.connect(place, signal);
  try {
    return await work(link, place);
  } catch (error) {
    throw refusal(error, place.shown);
  } finally {
    await link.close();
  }
}

async function planWith(
  link: NatsLink,
  place: NatsPlace,
  { replicas = REPLICAS_MIN, maxBytes = -1 }: InitOptions,
  signal: AbortSignal,
): Promise<Plan> {
  const stream = wantedStream(place.name, replicas, maxBytes);
  return {
    place: place.shown,
    stream: await partOf(link, stream, signal),
    bucket: await partOf(link, wantedBucket(place.name, replicas), signal),
  };
}

async function partOf(link: NatsLink, wanted: Wanted, signal: AbortSignal): Promise<Part> {
  const info = await lookUp(link, wanted.name, signal);
  const differences = info === null ? [] : differencesOf(info.config, wanted);
  return { name: wanted.name, exists: info !== null, wanted, differences };
}

/** Null if there is none. */
async function lookUp(
  link: NatsLink,
  name: string,
  signal: AbortSignal,
): Promise<StreamInfo | null> {
  try {
    const asked = () => link.jsm.streams.info(name);
    return await link.ask("The servers were asked for a stream", asked, signal);
  } catch (error) {
    if (isNoStream(error)) return null;
    throw error;
  }
}

async function make(link: NatsLink, wanted: Wanted, signal: AbortSignal): Promise<void> {
  let last: unknown;
  while (!signal.aborted) {
    await link.up(signal);
    try {
      const { config } = await link.once(() => link.jsm.streams.add({ ...wanted }), signal);
      const differences = differencesOf(config, wanted);
      if (differences.length === 0) return;
      throw madeOtherwise(link, wanted.name, differences);
    } catch (error) {
      // Servers that just started may know no place for it yet; an answer that was lost asks again.
      const isEarly = /no suitable peers|insufficient resources/.test((error as Error).message);
      if (isNameInUse(error)) {
        const info = await lookUp(link, wanted.name, signal);
        if (info) throw madeOtherwise(link, wanted.name, differencesOf(info.config, wanted));
      } else if (!mayAskAgain(error) && !isEarly) throw error;
      last = error;
    }
    await pause(signal);
  }
  throw noAnswer(link.shown, `${wanted.name} was to be made`, last);
}

/** Servers leave out what they do not know: so what they say they have is compared. */
function differencesOf(config: StreamConfig, wanted: Wanted): string[] {
  const found = config as unknown as Record<string, unknown>;
  return Object.entries(wanted)
    .filter(([key, value]) => JSON.stringify(found[key] ?? absent(value)) !== JSON.stringify(value))
    .map(([key, value]) => `${key} is ${show(found[key])}, not ${show(value)}`);
}

/** What a setting is that the servers do not name. */
function absent(value: unknown): unknown {
  return typeof value === "boolean" ? false : typeof value === "number" ? 0 : null;
}

function show(value: unknown): string {
  return value === undefined ? "not set" : JSON.stringify(value);
}

function madeOtherwise(link: NatsLink, name: string, differences: string[]): LockstepError {
  return new LockstepError(codes.REPLICA_CHANGED, {
    copy: link.shown,
    what: `${name} is there, and not as it was wanted: ${differences.join("; ")}`,
    state: "Nothing was written to it",
    next: "Remove it if it holds nothing that is needed, or see whether these servers are too old",
  });
}

async function findingsOf(
  link: NatsLink,
  place: NatsPlace,
  signal: AbortSignal,
): Promise<Finding[]> {
  const names = [wantedStream(place.name, 3, -1).name, wantedBucket(place.name, 3).name];
  const findings: Finding[] = [];
  const peers = new Set<string>();
  const away = new Set<string>();
  for (const [i, name] of names.entries()) {
    const info = await lookUp(link, name, signal);
    if (!info) throw noStream(place.shown);
    findings.push(...findingsIn(info.config, i === 0));
    for (const peer of peersOf(info)) peers.add(peer);
    for (const peer of awayOf(info)) away.add(peer);
  }
  const facts = await askServers(place, peers, signal);
  // If none can be asked, that is not because one of them is away: then all are named.
  if (facts.size > 0) for (const peer of away) if (!facts.has(peer)) peers.delete(peer);
  findings.push(...findingsAmong(peers, facts), ...versionFindings(link, facts));
  return findings;
}

/** By what setting a message may go away, or be acknowledged and not be there. */
function findingsIn(config: StreamConfig, isStream: boolean): Finding[] {
  const found: Finding[] = [];
  const { name } = config;
  const find = (hazard: Hazard, holds: boolean, what: string): void => {
    if (!holds) found.push({ hazard, what: `${what} of ${name}` });
  };
  const { num_replicas: replicas, storage, max_age: age } = config;
  find("replicas", replicas >= REPLICAS_MIN, `num_replicas ${replicas}`);
  find("storage", storage === "file", `storage "${storage}"`);
  find("limits", config.discard === "new", `discard "${config.discard}"`);
  find("limits", config.retention === "limits", `retention "${config.retention}"`);
  find("limits", age === 0, `max_age ${age / 1e9} s`);
  const perSubject = config.max_msgs_per_subject ?? -1;
  find("limits", perSubject <= 0, `max_msgs_per_subject ${perSubject}`);
  find("limits", config.no_ack !== true, "no_ack true");
  find("limits", config.persist_mode !== "async", 'persist_mode "async"');
  if (isStream) {
    find("limits", config.deny_delete === true, "deny_delete false");
    find("limits", config.allow_rollup_hdrs !== true, "allow_rollup_hdrs true");
    const alone = config.subjects?.length === 1 && !/[*>]/.test(config.subjects[0] ?? "");
    find("limits", alone, `subjects ${JSON.stringify(config.subjects)}`);
  }
  return found;
}

function peersOf({ cluster }: StreamInfo): string[] {
  const { leader, replicas = [] } = cluster ?? {};
  return [...(leader ? [leader] : []), ...replicas.map(({ name }) => name)];
}

/** Those that take part in no majority now: what they hold is brought up to date before they do. */
function awayOf({ cluster }: StreamInfo): string[] {
  const others = cluster?.replicas ?? [];
  return others.filter(({ current, offline }) => offline || !current).map(({ name }) => name);
}

function findingsAmong(
  peers: ReadonlySet<string>,
  facts: ReadonlyMap<string, ServerFacts>,
): Finding[] {
  // A server that is no member of a cluster does not say its name: then all that answer count.
  const names = peers.size > 0 ? [...peers] : [...facts.keys()];
  const unknown = names.filter((name) => !facts.has(name));
  const lazy = names.filter((name) => facts.get(name)?.syncs === false);
  const found: Finding[] = [];
  if (unknown.length > 0 || names.length === 0) {
    const who = names.length === 0 ? "the servers" : unknown.join(", ");
    const what = `sync_interval of ${who}, which cannot be asked (see monitor and system in the URL)`;
    found.push({ hazard: "sync", what, isSilent: unknown.length < names.length });
  }
  if (lazy.length > 0) {
    found.push({
      hazard: "sync",
      what: `sync_interval of ${lazy.join(", ")}, which is not "always"`,
    });
  }
  return found;
}

function versionFindings(link: NatsLink, facts: ReadonlyMap<string, ServerFacts>): Finding[] {
  const versions = new Set([...facts.values()].map(({ version }) => version));
  const connectedTo = link.nc.info?.version;
  if (connectedTo !== undefined) versions.add(connectedTo);
  return [...versions]
    .filter((version) => !isRecent(version))
    .map((version) => ({
      hazard: "version",
      what: `version ${version} of a server, older than ${VERSION_MIN.join(".")}`,
    }));
}

function isRecent(version: string): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [i, least] of VERSION_MIN.entries()) {
    if (parts[i] !== least) return (parts[i] ?? 0) > least;
  }
  return true;
}

function unsafe(place: NatsPlace, refused: readonly Finding[]): LockstepError {
  const accepted = [...new Set(refused.map(({ hazard }) => hazard))].join(",");
  return new LockstepError(codes.UNSAFE, {
    copy: place.shown,
    what: `The stream cannot keep what it acknowledges: ${refused.map(({ what }) => what).join("; ")}`,
    state: "Nothing was written to it",
    next: `Change these settings, or accept what may be lost: allowUnsafe ${accepted}`,
  });
}
