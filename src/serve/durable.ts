/**
 * `POST /durable?timeout=MS`: the barrier, for programs in any language.
 *
 *   200  {"position"}: everything committed before the request is on every copy. Copies that commits go
 *        on without (onReplicaFailure "degrade") are named in "without"
 *   400  the request is not one that is understood
 *   503  {code, what, state, next}: a copy has failed, the database was closed, or the server is stopping
 *   504  the same, code ERR_LOCKSTEP_DEADLINE: not in time; ask again
 *
 * Requests at the same time share one sync, as callers of `durable()` do. Who goes away is not waited for.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { codes, LockstepError } from "../errors.ts";
import type { ReplicationHandle } from "../observe.ts";
import { refuse, sendJson } from "./requests.ts";
import { failureOf } from "./snapshot.ts";

/** The body is of no use: as much as a client may send nevertheless. */
const BODY_BYTES = 4096;

export async function answerDurable(
  handle: ReplicationHandle,
  request: IncomingMessage,
  response: ServerResponse,
  { query, stopping }: { query: URLSearchParams; stopping: AbortSignal },
): Promise<void> {
  const timeout = readTimeout(query);
  if (typeof timeout === "string") {
    refuse(response, 400, timeout);
    return;
  }
  if (!(await drained(request))) {
    refuse(response, 413, "The body is too large: none is needed", { Connection: "close" });
    return;
  }
  const gone = new AbortController();
  const abort = (): void => gone.abort();
  response.once("close", abort);
  stopping.addEventListener("abort", abort);
  try {
    assertOpen(handle);
    const position = await handle.durable({ signal: gone.signal, timeout });
    const without = handle.status.replicas.filter(
      ({ state, asynchronous }) => state === "detached" && !asynchronous,
    );
    const named = without.length > 0 ? { without: without.map(({ path }) => path) } : {};
    sendJson(response, 200, { position, ...named });
  } catch (error) {
    const isGone = gone.signal.aborted && !(error instanceof LockstepError);
    if (isGone && !stopping.aborted) return;
    const failure = isGone ? ending("The server is stopping") : error;
    if (!(failure instanceof LockstepError)) throw failure;
    sendJson(response, failure.code === codes.DEADLINE ? 504 : 503, failureOf(failure));
  } finally {
    stopping.removeEventListener("abort", abort);
  }
}

/** Nobody mirrors any more what others commit, while all that was committed here is durable. */
function assertOpen({ status: { replicas, failure } }: ReplicationHandle): void {
  // What it failed with says more.
  const isClosed = failure === null && replicas.some(({ state }) => state === "closed");
  // durable: no answer for a database that is closed
  if (isClosed) throw ending("The database was closed");
}

/** @returns milliseconds, undefined if none are given, or what is wrong */
function readTimeout(query: URLSearchParams): number | undefined | string {
  for (const name of query.keys()) {
    if (name !== "timeout") return `There is no parameter ${JSON.stringify(name)}`;
  }
  const [text, ...more] = query.getAll("timeout");
  if (text === undefined) return undefined;
  if (more.length > 0 || !/^\d{1,10}$/.test(text)) {
    return "The parameter timeout is a whole number of milliseconds, once";
  }
  return Number(text);
}

/** Reads the body and forgets it. Resolves with false if it is too large: the rest is not read. */
function drained(request: IncomingMessage): Promise<boolean> {
  return new Promise((resolve) => {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES) return;
      request.pause();
      resolve(false);
    });
    request.once("close", () => resolve(bytes <= BODY_BYTES));
    request.once("end", () => resolve(bytes <= BODY_BYTES));
  });
}

function ending(what: string): LockstepError {
  return new LockstepError(codes.ENDPOINT, {
    copy: null,
    what,
    state: "Whether every copy has what was committed before the request is not known here",
    next: "Ask again, there or where the database is opened next",
  });
}
