/**
 * What the process reports each second, and the one place where it is read. All of it may have been
 * chosen by somebody else (paths, messages): it is shown as text, never as markup.
 *
 * @typedef {{ p50: number, p99: number }} Latency in milliseconds
 * @typedef {{ code: string, what: string, state: string, next: string }} Failure
 * @typedef {object} Replica
 * @property {string} path
 * @property {"mirroring" | "failed" | "closed" | "detached" | "rejoining"} state
 * @property {string | null} position timeline/generation/frame/checksum
 * @property {{ frames: number, bytes: number, seconds: number }} lag
 * @property {string | null} lastProof when it was last proven that it restores
 * @property {Failure | null} lastError
 * @property {Latency | null} syncMs of the last minute
 *
 * @typedef {object} Primary
 * @property {string} path
 * @property {string} position
 * @property {number} logBytes
 * @property {number} logLimitBytes
 * @property {number | null} oldestReaderMs for how long a reader has put off the checkpoint that is due
 *
 * @typedef {object} Interval
 * @property {string} at when it ended
 * @property {number} seconds how long it is
 * @property {number} commits
 * @property {number} bytes
 * @property {Latency | null} commitMs
 * @property {(Latency | null)[]} syncMs one a replica
 * @property {number} logBytes
 *
 * @typedef {object} Happening
 * @property {string} at
 * @property {"info" | "warning" | "error"} level
 * @property {string} what
 * @property {unknown} detail
 *
 * @typedef {object} Snapshot
 * @property {string} at
 * @property {string} version
 * @property {Primary} primary
 * @property {Replica[]} replicas
 * @property {Failure | null} failure what fenced the connection
 * @property {boolean} healthy
 * @property {string[]} reasons why it is not
 * @property {number} commits since the database was opened, as the next two
 * @property {number} bytes
 * @property {number} checkpoints
 * @property {number} ringBytes
 * @property {number} ringLimitBytes
 * @property {Interval[]} history the last hour, oldest first
 * @property {Happening[]} events newest first
 */

/**
 * A report as this page can show it: history oldest first, events newest first, whatever the order was.
 * @param {string} text
 * @returns {Snapshot}
 * @throws {Error} what in it makes no sense
 */
export function parse(text) {
  const value = JSON.parse(text);
  for (const [name, isRight] of FIELDS) {
    if (!isRight(value?.[name])) throw new Error(`its field "${name}" makes no sense`);
  }
  return {
    ...value,
    history: value.history.toSorted(byTime),
    events: value.events.toSorted(byTime).reverse(),
  };
}

/** @param {{ at: string }} a @param {{ at: string }} b */
const byTime = (a, b) => Date.parse(a.at) - Date.parse(b.at);

/** @param {unknown} value */
const isTime = (value) => typeof value === "string" && !Number.isNaN(Date.parse(value));
/** @param {unknown} value */
const isCount = (value) => typeof value === "number" && value >= 0;
/** @param {(each: any) => boolean} holds @returns {(value: unknown) => boolean} */
const all = (holds) => (value) =>
  Array.isArray(value) && value.every((each) => each && holds(each));

/** @type {[string, (value: any) => boolean][]} */
const FIELDS = [
  ["at", isTime],
  ["primary", (it) => typeof it?.path === "string" && isCount(it.logBytes)],
  ["replicas", all((it) => typeof it.path === "string" && isCount(it.lag?.frames))],
  ["healthy", (it) => typeof it === "boolean"],
  ["reasons", Array.isArray],
  ["commits", isCount],
  ["bytes", isCount],
  ["history", all((it) => isTime(it.at) && isCount(it.commits) && Array.isArray(it.syncMs))],
  ["events", all((it) => isTime(it.at) && typeof it.what === "string")],
];
