/**
 * Do the servers of a stream sync before they acknowledge? A user of the application cannot ask them;
 * a user of their system account can, and so can whoever reaches their monitoring.
 */
import { connectAsSystem } from "./nats-link.ts";
import type { NatsPlace } from "./nats-url.ts";

/** What one server says of itself. */
export interface ServerFacts {
  readonly name: string;
  readonly version: string;
  /** It syncs every message before it acknowledges it. */
  readonly syncs: boolean;
}

/** @returns what could be found out, by the servers' names; who cannot be asked is not in it */
export async function askServers(
  place: NatsPlace,
  expected: number,
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
  expected: number,
  signal: AbortSignal,
): Promise<ServerFacts[]> {
  const nc = await connectAsSystem(place, signal);
  if (nc === null) return [];
  try {
    const answers = await nc.requestMany("$SYS.REQ.SERVER.PING.VARZ", "", {
      ...{ strategy: "timer", maxWait: ANSWER_MS, maxMessages: expected },
    });
    const facts: ServerFacts[] = [];
    for await (const answer of answers) {
      const { data } = answer.json<{ data?: Varz }>();
      facts.push(...factsOf(data ?? {}));
    }
    return facts;
  } finally {
    await nc.close();
  }
}

function factsOf({ server_name: name, version, jetstream }: Varz): ServerFacts[] {
  if (name === undefined || version === undefined) return [];
  return [{ name, version, syncs: jetstream?.config?.sync_always === true }];
}
