/** Reports such as the process sends: a healthy one, and what differs when something is wrong. */
import type { Snapshot } from "../../src/serve/assets/page/snapshot.js";

export const PRIMARY = "/var/lib/app/app.db";
export const REPLICA = "/mnt/b/app.db";
const HOUR = 3_600_000;

export type { Snapshot };
export type Replica = Snapshot["replicas"][number];

const GONE = {
  code: "ERR_LOCKSTEP_REPLICA_GONE",
  what: `ENOENT: no such file or directory, stat '${REPLICA}'`,
  state: "The primary has every acknowledged transaction",
  next: "Mount the replica's disk again, or bring its directory back; it then rejoins by itself",
};
const FULL = {
  code: "ERR_LOCKSTEP_REPLICA_FULL",
  what: "ENOSPC: no space left on device, write",
  state: "The last transaction may be on the primary alone",
  next: `Make room on the replica's disk, then reopen the database, or run lockstep sync ${PRIMARY} ${REPLICA}`,
};

const position = (frame: number): string => `1/8f3a61c04be2d975/${frame}/51c2e6a90d37b48f`;

export function replica(parts: Partial<Replica> = {}, now = Date.now()): Replica {
  return {
    path: REPLICA,
    asynchronous: false,
    state: "mirroring",
    position: position(1874),
    lag: { frames: 0, bytes: 0, seconds: 0 },
    lastProof: new Date(now - 2 * 24 * HOUR - 3 * HOUR).toISOString(),
    lastError: null,
    syncMs: { p50: 1.31, p99: 3.42 },
    freeBytes: 87 * 2 ** 30,
    ...parts,
  };
}

export function healthy(parts: Partial<Snapshot> = {}, now = Date.now()): Snapshot {
  const replicas = parts.replicas ?? [replica({}, now)];
  const ago = (ms: number): string => new Date(now - ms).toISOString();
  return {
    at: new Date(now).toISOString(),
    version: "0.2.0",
    primary: {
      path: PRIMARY,
      position: position(1874),
      logBytes: 7_737_000,
      logLimitBytes: 32 * 1024 * 1024,
      oldestReaderMs: null,
      openTransactionMs: null,
      freeBytes: 41 * 2 ** 30,
    },
    replicas,
    failure: null,
    healthy: true,
    reasons: [],
    warnings: [],
    commits: 4_182_377,
    bytes: 38_204_113_920,
    checkpoints: 2291,
    ringBytes: 0,
    ringLimitBytes: 8 * 1024 * 1024,
    history: history(now, replicas.length),
    events: [
      {
        ...{ at: ago(9 * 60_000), level: "info", detail: "" },
        what: "The checkpoint that was put off is done",
      },
      {
        ...{ at: ago(11 * 60_000), level: "warning", detail: "a reader is in the way" },
        what: "A checkpoint is put off: the log grows",
      },
      { at: ago(51 * HOUR), level: "info", what: `${REPLICA} holds all again`, detail: "" },
    ],
    ...parts,
  };
}

/** With onReplicaFailure "degrade": commits go on without it. */
export function detached(now = Date.now(), sinceMs = 7 * 60_000): Snapshot {
  const whole = healthy({}, now);
  const since = new Date(now - sinceMs).toISOString();
  return {
    ...whole,
    primary: { ...whole.primary, position: position(4102), logBytes: 16_900_000 },
    replicas: [
      replica(
        {
          ...{ state: "detached", lastError: GONE, syncMs: null },
          lag: { frames: 2228, bytes: 9_178_000, seconds: sinceMs / 1000 },
        },
        now,
      ),
    ],
    healthy: false,
    reasons: [
      {
        what: `${REPLICA} is detached, commits go on without it: ${GONE.what}`,
        next: "See that its disk is there, has room and answers: it is tried again by itself",
      },
    ],
    history: whole.history.map((each) =>
      Date.parse(each.at) < Date.parse(since) ? each : { ...each, syncMs: [null] },
    ),
    events: [
      {
        at: since,
        level: "error",
        what: `Commits go on without ${REPLICA}`,
        detail: `${GONE.code}: ${GONE.what}`,
      },
      ...whole.events,
    ],
  };
}

export function rejoining(now = Date.now()): Snapshot {
  const whole = detached(now);
  return {
    ...whole,
    replicas: [
      replica({ state: "rejoining", lag: { frames: 411, bytes: 1_693_000, seconds: 2 } }, now),
    ],
    reasons: [
      {
        what: `${REPLICA} is rejoining, it may lack acknowledged commits`,
        next: "Wait: it counts again by itself once it holds everything",
      },
    ],
  };
}

/** With onReplicaFailure "stop": the connection is fenced. */
export function failed(now = Date.now()): Snapshot {
  const whole = healthy({}, now);
  const at = new Date(now - 95_000).toISOString();
  return {
    ...whole,
    replicas: [replica({ state: "failed", position: null, lastError: FULL, syncMs: null }, now)],
    failure: FULL,
    healthy: false,
    reasons: [
      `Nothing more is acknowledged: ${FULL.what}`,
      `${REPLICA} is failed: ${FULL.what}`,
    ].map((what) => ({ what, next: FULL.next })),
    events: [
      {
        at,
        level: "error",
        what: `${REPLICA} failed; nothing more is acknowledged`,
        detail: `${FULL.code}: ${FULL.what}`,
      },
      ...whole.events,
    ],
  };
}

/** Everything that somebody else may have chosen is markup here, or hides. */
export function hostile(): Snapshot {
  const markup = `<img src=x onerror="window.hostile=1"><script>window.hostile=1</script>`;
  const path = `/mnt/${markup}/\u202egpj.db`;
  const error = { code: markup, what: markup, state: markup, next: markup };
  const whole = healthy();
  return {
    ...whole,
    version: markup,
    primary: { ...whole.primary, path, position: markup },
    replicas: [replica({ path, position: markup, state: "failed", lastError: error })],
    failure: error,
    healthy: false,
    reasons: [{ what: markup, next: markup }],
    warnings: [
      { kind: "low-space", copy: path, since: whole.at, what: markup, next: markup, stack: markup },
    ],
    events: [{ at: whole.at, level: "error", what: markup, detail: markup }],
  };
}

/** The same noise each time, by a linear congruential generator. */
function history(now: number, replicas: number): Snapshot["history"] {
  let state = 20_260_711;
  const random = (): number => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
  const end = Math.floor(now / 10_000) * 10_000;
  return Array.from({ length: 360 }, (_, at) => {
    const load = 1 + 0.5 * Math.sin(at / 41) + 0.35 * random();
    const slow = at > 214 && at < 222 ? 14 : 1 + (random() > 0.97 ? 3 * random() : 0);
    const sync = (): { p50: number; p99: number } => {
      const p50 = 1.1 * (0.85 + 0.4 * random()) * Math.sqrt(load);
      return { p50, p99: p50 * (2 + random()) * slow };
    };
    const syncMs = Array.from({ length: replicas }, sync);
    const commits = Math.round(310 * load * (slow > 10 ? 4 : 10));
    return {
      at: new Date(end - (359 - at) * 10_000).toISOString(),
      seconds: 10,
      commits,
      bytes: commits * 9300,
      commitMs: {
        p50: Math.max(...syncMs.map(({ p50 }) => p50), 0.4) + 0.12,
        p99: Math.max(...syncMs.map(({ p99 }) => p99), 0.9) + 0.4,
      },
      syncMs,
      logBytes: 1_048_576 + ((at * 613_000 * load) % 9_400_000),
    };
  });
}
