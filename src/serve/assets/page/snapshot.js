/**
 * What the process reports each second, and the one place where it is read. All of it may have been
 * chosen by somebody else (paths, messages): it is shown as text, never as markup.
 *
 * @typedef {import("../../snapshot.js").Snapshot} Snapshot
 * @typedef {import("../../snapshot.js").SnapshotReplica} Replica
 * @typedef {import("../../snapshot.js").Failure} Failure
 * @typedef {import("../../snapshot.js").Reason} Reason
 * @typedef {import("../../../warning.js").Warning} Warning
 * @typedef {import("../../snapshot.js").Sample} Sample
 * @typedef {import("../../snapshot.js").RecordedEvent} RecordedEvent
 * @typedef {import("../../../histogram.js").Percentiles} Percentiles
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
/** Says what is so, and what to do. @param {any} it */
const isAdvice = (it) => typeof it.what === "string" && typeof it.next === "string";
/** @param {(each: any) => boolean} holds @returns {(value: unknown) => boolean} */
const all = (holds) => (value) =>
  Array.isArray(value) && value.every((each) => each && holds(each));

/** @type {[string, (value: any) => boolean][]} */
const FIELDS = [
  ["at", isTime],
  ["primary", (it) => typeof it?.path === "string" && isCount(it.logBytes)],
  ["replicas", all((it) => typeof it.path === "string" && isCount(it.lag?.frames))],
  ["healthy", (it) => typeof it === "boolean"],
  ["reasons", all(isAdvice)],
  ["warnings", all(isAdvice)],
  ["commits", isCount],
  ["bytes", isCount],
  ["history", all((it) => isTime(it.at) && isCount(it.commits) && Array.isArray(it.syncMs))],
  ["events", all((it) => isTime(it.at) && typeof it.what === "string")],
];
