/**
 * Do the servers of a stream sync before they acknowledge? A user of the application cannot ask them;
 * a user of their system account can, and so can whoever reaches their monitoring.
 */
import { codes } from "../errors.ts";
import { failure, isNobody } from "./nats-errors.ts";
import { connectAsSystem } from "./nats-link.ts";
import type { NatsPlace } from "./nats-url.ts";

/** What one server says of itself. */
export interface ServerFacts {
  readonly name: string;
  readonly version: string;
  /** It syncs every message before it acknowledges it. */
  readonly syncs: boolean;
}

/**
 * @param expected the names of those that are to be asked; empty: not known
 * @returns what could be found out, by the servers' names; who cannot be asked is not in it
 * @throws LockstepError REPLICA_IO if the user of the system account is none, or is not let in
 */
export async function askServers(
  place: NatsPlace,
  expected: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Map<string, ServerFacts>> {
  const facts = [
    ...(await askMonitors(place.monitor, signal)),
    ...(await askSystem(place, expected, signal)),
  ];
  return new Map(facts.map((each) => [each.name, each]));
}

// --- internal ---

/** How long one server may take to answer. */
const ANSWER_MS = 3000;

/** A server's VARZ, as far as it is of interest. */
interface Varz {
  readonly server_name?: string;
  readonly version?: string;
  readonly jetstream?: { readonly config?: { readonly sync_always?: boolean } };
}

async function askMonitors(urls: readonly string[], signal: AbortSignal): Promise<ServerFacts[]> {
  const asked = urls.map(async (url): Promise<ServerFacts[]> => {
    try {
      const within = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
      const answer = await fetch(`${url}/varz`, { signal: within });
      return factsOf((await answer.json()) as Varz);
    } catch {
      return []; // it cannot be asked: nothing is proven
    }
  });
  return (await Promise.all(asked)).flat();
}

async function askSystem(
  place: NatsPlace,
  expected: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<ServerFacts[]> {
  const nc = await connectAsSystem(place, signal);
  if (nc === null) return [];
  try {
    const answers = await nc.requestMany("$SYS.REQ.SERVER.PING.VARZ", "", {
      ...{ strategy: "timer", maxWait: ANSWER_MS },
    });
    const facts: ServerFacts[] = [];
    const awaited = new Set(expected);
    for await (const answer of answers) {
      const { data } = answer.json<{ data?: Varz }>();
      facts.push(...factsOf(data ?? {}));
      for (const { name } of facts) awaited.delete(name);
      if (expected.size > 0 && awaited.size === 0) break; // others may answer, too
    }
    return facts;
  } catch (error) {
    if (!isNobody(error)) throw error;
    const what = "The user that is to ask the servers is none of their system account";
    throw failure(codes.REPLICA_IO, place.shown, what, error);
  } finally {
    await nc.close();
  }
}

function factsOf({ server_name: name, version, jetstream }: Varz): ServerFacts[] {
  if (name === undefined || version === undefined) return [];
  return [{ name, version, syncs: jetstream?.config?.sync_always === true }];
}
