/**
 * What a report comes to: one sentence for somebody tired, what happened, what to do. Plain data from plain
 * data, so that it can be tested without a browser.
 *
 * @import { Failure, Reason, Replica, Snapshot } from "./snapshot.js"
 * @typedef {"good" | "warning" | "bad" | "lost"} Level
 *
 * @typedef {{ said: string, command?: string }} Step
 *
 * @typedef {object} Verdict
 * @property {Level} level
 * @property {string} key the same as long as the state is, whatever its figures do
 * @property {string} headline one sentence
 * @property {string} what what happened and what state the data is in; may be empty
 * @property {Step[]} steps what to do, most urgent first
 * @property {Step[]} notes what is not urgent, but should be known
 */
import { argument, bytes, moment, sentence, span, visible } from "./words.js";

/** From here on it was too long ago: a day more than a week, so that a weekly drill is never late. */
export const PROOF_OLD_MS = 8 * 86_400_000;
/** A replica that mirrors may lack a commit for so long before it is said to be behind, in seconds. */
const BEHIND_SECONDS = 5;
/** So it is, whatever an error says that was made before it was known that commits go on. */
const RETRIED = "It is tried again by itself, every 30 seconds at the latest.";
/** A reader may put a checkpoint off for so long before it is worth a word. */
const READER_OLD_MS = 5 * 60_000;
/** Warnings of what began at some moment, and is not so as long as the copies lie where they do. */
const TIMED = new Set(["open-transaction", "large-log", "low-space"]);
/** Of a limit. */
const NEARLY_FULL = 0.8;

/**
 * @param {Snapshot} snapshot
 * @returns {Verdict}
 */
export function verdictOf(snapshot) {
  const { replicas, reasons, failure, healthy } = snapshot;
  const unwell = replicas.filter(
    ({ state, asynchronous }) => state !== "mirroring" && !(asynchronous && state === "rejoining"),
  );
  const errors = unwell.flatMap(({ lastError }) => (lastError ? [lastError] : []));
  const behind = replicas.filter((each) => each.lag.seconds > BEHIND_SECONDS);
  const others = reasons.filter((reason) => !isSaid(reason, unwell, failure));
  const notes = notesOf(snapshot);
  const key = JSON.stringify([
    failure?.code,
    healthy,
    reasons.length,
    replicas.map((each) => [each.path, each.state, each.lastError?.code, behind.includes(each)]),
  ]);
  if (failure) {
    const [culprit] = unwell.filter(({ lastError }) => lastError?.code === failure.code);
    const which = culprit ? `The replica ${visible(culprit.path)} failed, and nothing` : "Nothing";
    const fenced = snapshot.events.find((event) => event.level === "error");
    const since = sinceWords(snapshot, fenced ? Date.parse(fenced.at) : null);
    return bad(`${which} is acknowledged${since}.`, [failure], others);
  }
  if (replicas.length === 0) {
    return bad("There is no replica: one file holds everything.", [], others);
  }
  if (unwell.length > 0) {
    if (unwell.every(({ state }) => state === "rejoining")) {
      return { ...bad(catchingUp(snapshot, unwell), [], others), level: "warning" };
    }
    return bad(outOfStep(snapshot, unwell), errors, others);
  }
  if (!healthy) {
    const first = others[0]?.what ?? "It does not say what";
    return bad(`Something is wrong: ${sentence(visible(first))}`, [], others);
  }
  const [slow] = behind;
  if (slow) {
    const since = sinceWords(snapshot, Date.parse(snapshot.at) - slow.lag.seconds * 1000);
    const said = "It gets every commit, but later: its disk or the way there may be too slow.";
    return {
      ...{ level: "warning", key, what: "", notes, steps: [{ said }] },
      headline: `The replica ${visible(slow.path)} is behind${since}.`,
    };
  }
  const later = replicas.filter(({ asynchronous }) => asynchronous);
  const copies = replicas.length - later.length + 1;
  const besides = later.map(
    ({ path }) => ` ${visible(path)} is asynchronous: it may lack the last.`,
  );
  return {
    level: "good",
    key,
    headline: headlineOf(copies),
    what: `Every acknowledged commit is in each of them.${besides.join("")}`,
    steps: [],
    notes,
  };

  /** @param {string} headline @param {Failure[]} failures @param {readonly Reason[]} further @returns {Verdict} */
  function bad(headline, failures, further) {
    const said = failures.flatMap(({ what, state }) => [what, state]);
    const more = further
      .map(({ what }) => what)
      .filter((what) => !headline.includes(visible(what)));
    const unexplained = reasons.filter(
      ({ what }) => !failures.some((each) => what.endsWith(each.what)),
    );
    /** @type {Step[]} */
    const steps = unique([...failures, ...unexplained].map(({ next }) => next)).map((said) => ({
      said,
    }));
    if (unwell.some(({ state }) => state === "detached")) steps.push({ said: RETRIED });
    return {
      level: "bad",
      key,
      headline,
      what: unique([...said, ...more]).join(" "),
      steps: [...steps, ...commands(snapshot, steps.length === 0)],
      notes,
    };
  }
}

/**
 * When nothing has come from the process for a while.
 * @param {Snapshot | null} last what it reported last
 * @param {number} now
 * @param {string | null} because what is known of why
 * @returns {Verdict}
 */
export function lost(last, now, because) {
  return {
    level: "lost",
    key: "lost",
    headline: last
      ? `No word from the process since ${moment(last.at, now)}.`
      : "No word from the process.",
    what: [
      "Whether the copies are in step is not known.",
      ...(last ? ["What is shown below was so then."] : []),
      ...(because ? [sentence(visible(because))] : []),
    ].join(" "),
    steps: [
      {
        said: "See whether the process still runs, and what it said last. This page keeps trying.",
      },
      ...(last
        ? [
            {
              said: "This says where the copies stand, without the process:",
              command: command("status", last),
            },
          ]
        : []),
    ],
    notes: [],
  };
}

/** When a replica was last proven to restore. @param {Replica} replica @param {number} now */
export function proofOf({ lastProof }, now) {
  if (!lastProof) return { level: /** @type {const} */ ("warning"), said: "never" };
  const age = now - Date.parse(lastProof);
  const old = age > PROOF_OLD_MS;
  return {
    level: old ? /** @type {const} */ ("warning") : /** @type {const} */ ("good"),
    said: `${span(age)} ago`,
  };
}

/**
 * Since when a replica is not as it should be: by the events that name it, else by how long it is behind.
 * Null if neither tells.
 * @param {Snapshot} snapshot
 * @param {Replica} replica
 * @returns {number | null}
 */
export function outSince({ at, events }, replica) {
  let since = null;
  for (const event of events) {
    if (!`${event.what} ${event.detail}`.includes(replica.path)) continue;
    if (event.level === "info") break;
    since = Date.parse(event.at);
  }
  if (since !== null) return since;
  return replica.lag.seconds > 0 ? Date.parse(at) - replica.lag.seconds * 1000 : null;
}

// --- internal ---

/**
 * Is a reason for being unhealthy said already, by the error of a replica or by what fenced?
 * @param {Reason} reason @param {Replica[]} unwell @param {Failure | null} failure
 */
const isSaid = ({ what }, unwell, failure) =>
  (failure !== null && what.endsWith(failure.what)) ||
  unwell.some(({ path }) => what.startsWith(`${path} is `));

/** @param {Snapshot} snapshot @param {Replica} replica */
const sinceOf = (snapshot, replica) => sinceWords(snapshot, outSince(snapshot, replica));

/** @param {Snapshot} snapshot @param {number | null} since */
const sinceWords = ({ at }, since) =>
  since === null ? "" : ` since ${moment(since, Date.parse(at), { seconds: false })}`;

/** @param {number} copies */
function headlineOf(copies) {
  if (copies === 1) return "The primary alone is waited for.";
  return copies === 2 ? "Both copies are in step." : `All ${copies} copies are in step.`;
}

/** @param {Snapshot} snapshot @param {Replica[]} unwell */
function outOfStep(snapshot, unwell) {
  const [first] = unwell;
  if (unwell.every(({ state }) => state === "closed")) {
    return "The database was closed: nothing is replicated.";
  }
  const goesOn = unwell.some(({ state }) => state === "detached");
  const tail = goesOn ? "; commits go on without it." : ".";
  if (unwell.length === 1 && first) {
    return `The replica ${visible(first.path)} is out of step${sinceOf(snapshot, first)}${tail}`;
  }
  const starts = unwell
    .map((replica) => outSince(snapshot, replica))
    .filter((each) => each !== null);
  const since = starts.length > 0 ? Math.min(...starts) : null;
  const which = `${unwell.length} of ${snapshot.replicas.length} replicas are out of step${sinceWords(snapshot, since)}`;
  return goesOn ? `${which}; commits go on without them.` : `${which}.`;
}

/** @param {Snapshot} snapshot @param {Replica[]} unwell */
function catchingUp(snapshot, unwell) {
  const [first] = unwell;
  if (unwell.length === 1 && first) {
    return `The replica ${visible(first.path)} is catching up; it was out of step${sinceOf(snapshot, first)}.`;
  }
  return `${unwell.length} of ${snapshot.replicas.length} replicas are catching up.`;
}

/** What can be run. @param {Snapshot} snapshot @param {boolean} isAll nothing else is said to do @returns {Step[]} */
function commands(snapshot, isAll) {
  if (snapshot.reasons.some(({ what }) => what.endsWith("rotted"))) {
    return [{ said: "That is:", command: command("scrub", snapshot) }];
  }
  if (!isAll) return [];
  return [{ said: "See the events below, then ask:", command: command("status", snapshot) }];
}

/** @param {string} name @param {Snapshot} snapshot */
const command = (name, { primary, replicas }) =>
  visible(`lockstep ${name} ${[primary, ...replicas].map(({ path }) => argument(path)).join(" ")}`);

/** @param {Snapshot} snapshot */
function notesOf({ at, primary, replicas, warnings, ringBytes, ringLimitBytes }) {
  const now = Date.parse(at);
  /** @type {Step[]} */
  const notes = warnings.map(({ kind, what, next, since }) => {
    const when = TIMED.has(kind) ? `, since ${moment(since, now)}` : "";
    return { said: `${visible(what)}${when}. ${sentence(visible(next))}` };
  });
  for (const replica of replicas) {
    const { level, said } = proofOf(replica, now);
    if (level === "good") continue;
    const when =
      said === "never" ? "was never proven to restore" : `was last proven to restore ${said}`;
    const drill = visible(`lockstep drill ${argument(primary.path)} ${argument(replica.path)}`);
    notes.push({
      said: `The replica ${visible(replica.path)} ${when}. To prove it:`,
      command: drill,
    });
  }
  const reader = primary.oldestReaderMs ?? 0;
  const isLarge = warnings.some(({ kind }) => kind === "large-log");
  if (reader > READER_OLD_MS && !isLarge) {
    notes.push({
      said: `A reader has put the checkpoint off for ${span(reader)}: the log grows until its transaction ends.`,
    });
  }
  if (primary.logBytes > primary.logLimitBytes * NEARLY_FULL && !isLarge) {
    const said = `The log is at ${bytes(primary.logBytes)} of its limit of ${bytes(primary.logLimitBytes)}.`;
    notes.push({ said });
  }
  if (ringBytes > ringLimitBytes * NEARLY_FULL) {
    notes.push({
      said: "A replica's disk is slower than the commits: the ring between them is nearly full, and commits will wait for it.",
    });
  }
  return notes;
}

/** @param {string[]} texts */
const unique = (texts) => [...new Set(texts.map((text) => sentence(visible(text))))];
