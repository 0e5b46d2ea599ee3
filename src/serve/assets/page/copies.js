/**
 * The copies side by side: the primary first, then its replicas, the same rows in each.
 *
 * @import { Failure, Replica, Snapshot, Warning } from "./snapshot.js"
 */
import { html, mark, setAttribute, setShown, setText } from "./dom.js";
import { proofOf } from "./verdict.js";
import { bytes, count, latency, sentence, some, span, visible } from "./words.js";

const STATES = {
  mirroring: { level: "good", word: "In step" },
  rejoining: { level: "warning", word: "Catching up" },
  detached: { level: "bad", word: "Detached: commits go on without it" },
  failed: { level: "bad", word: "Failed" },
  closed: { level: "bad", word: "Closed" },
};
const UNKNOWN = { level: "lost", word: "Unknown" };

export class Copies {
  #host;
  /** Which copies are shown, and the card of each. */
  #paths = "";
  /** @type {Card[]} */
  #cards = [];

  /** @param {Element} host */
  constructor(host) {
    this.#host = host;
  }

  /** @param {Snapshot} snapshot @param {boolean} stale what it says may be so no longer */
  show(snapshot, stale) {
    const { primary, replicas } = snapshot;
    const paths = JSON.stringify([primary, ...replicas].map(({ path }) => path));
    if (paths !== this.#paths) {
      this.#paths = paths;
      this.#cards = [
        new Card("Primary", primary.path, ["Position", "Log", "Checkpoint", "Transaction", "Room"]),
        ...replicas.map(({ path, asynchronous }, at) => {
          const which = replicas.length === 1 ? "Replica" : `Replica ${at + 1}`;
          const role = asynchronous ? `${which}, asynchronous` : which;
          return new Card(role, path, ["Position", "Lag", "Sync", "Last proof", "Room"]);
        }),
      ];
      this.#host.replaceChildren(...this.#cards.map(({ element }) => element));
    }
    const [first, ...others] = this.#cards;
    if (first) showPrimary(first, snapshot, stale);
    others.forEach((card, at) => {
      showReplica(card, /** @type {Replica} */ (replicas[at]), snapshot, stale);
    });
  }
}

/** @param {Card} card @param {Snapshot} snapshot @param {boolean} stale */
function showPrimary(card, { primary, replicas, failure, warnings }, stale) {
  card.state(
    failure
      ? { level: "bad", word: "Fenced: nothing is acknowledged" }
      : { level: "good", word: "Takes the writes" },
    stale,
  );
  showPosition(card, primary.position, "");
  const share = primary.logLimitBytes > 0 ? primary.logBytes / primary.logLimitBytes : 0;
  card.row(
    "Log",
    `${bytes(primary.logBytes)} of ${bytes(primary.logLimitBytes)}`,
    `${Math.round(share * 100)} % of its limit`,
    share > 0.8 ? "warning" : null,
  );
  const reader = primary.oldestReaderMs;
  card.row(
    "Checkpoint",
    reader === null ? "no reader in its way" : `put off by a reader for ${span(reader)}`,
    "",
  );
  const isLong = warnings.some(({ kind }) => kind === "open-transaction");
  const open = primary.openTransactionMs;
  card.row(
    "Transaction",
    open === null ? "none open" : `open for ${span(open)}`,
    "",
    isLong ? "warning" : null,
  );
  showRoom(card, primary, warnings);
  const isReplicas = replicas.some(({ lastError }) => lastError?.what === failure?.what);
  card.error(isReplicas ? null : failure);
}

/** @param {Card} card @param {Replica} replica @param {Snapshot} snapshot @param {boolean} stale */
function showReplica(card, replica, { at, primary, warnings }, stale) {
  const { state, position, lag, syncMs, lastError } = replica;
  card.state(STATES[state] ?? UNKNOWN, stale);
  const [, log] = position?.split("/") ?? [];
  const isOlder = position !== null && log !== primary.position.split("/")[1];
  const isSame = position === primary.position;
  showPosition(
    card,
    position,
    isSame ? ", the same as the primary's" : isOlder ? " of an earlier log" : "",
  );
  const behind = lag.frames > 0 || lag.bytes > 0;
  card.row(
    "Lag",
    behind
      ? `${isOlder ? "at least " : ""}${some(lag.frames, "frame")}, ${bytes(lag.bytes)}`
      : "none",
    lag.seconds > 0 ? `behind for ${span(lag.seconds * 1000)}` : "",
    behind && state !== "mirroring" ? "warning" : null,
  );
  card.row(
    "Sync",
    syncMs ? `p50 ${latency(syncMs.p50)}, p99 ${latency(syncMs.p99)}` : "none",
    "in the last minute",
  );
  const proof = proofOf(replica, Date.parse(at));
  const last = replica.lastProof;
  card.row(
    "Last proof",
    proof.said,
    last ? new Date(last).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "",
    proof.level === "warning" ? "warning" : null,
  );
  showRoom(card, replica, warnings);
  card.error(lastError);
}

/** What is left on a copy's disk. @param {Card} card @param {{ path: string, freeBytes: number | null }} copy @param {readonly Warning[]} warnings */
function showRoom(card, { path, freeBytes }, warnings) {
  const isLow = warnings.some((each) => each.kind === "low-space" && each.copy === path);
  const said = freeBytes === null ? "not known" : `${bytes(freeBytes)} left`;
  card.row("Room", said, "on its file system", isLow ? "warning" : null);
}

/** @param {Card} card @param {string | null} position @param {string} remark */
function showPosition(card, position, remark) {
  const frame = Number(position?.split("/")[2]);
  const said = Number.isInteger(frame) ? `frame ${count(frame)}` : "not known";
  card.row("Position", `${said}${remark}`, position ?? "");
}

/** One copy. Built once; its texts change. */
class Card {
  element;
  #word = html("span");
  #mark = mark("lost");
  /** @type {Map<string, { value: HTMLElement, more: HTMLElement, icon: SVGElement }>} */
  #rows = new Map();
  #error = html("div", "error");

  /** @param {string} role @param {string} path @param {string[]} rows */
  constructor(role, path, rows) {
    const list = html("dl");
    for (const name of rows) {
      const row = { value: html("span"), more: html("small"), icon: mark("warning").icon };
      setShown(row.icon, false);
      this.#rows.set(name, row);
      list.append(
        html("div", null, html("dt", null, name), html("dd", null, row.icon, row.value, row.more)),
      );
    }
    setShown(this.#error, false);
    this.element = html(
      "article",
      "copy",
      html("p", "role", role),
      html("h3", "path", visible(path)),
      html("p", "state", this.#mark.icon, this.#word),
      list,
      this.#error,
    );
  }

  /** @param {{ level: string, word: string }} state @param {boolean} stale */
  state({ level, word }, stale) {
    const shown = stale ? "lost" : level;
    setText(this.#word, stale ? `Not known; was: ${word.toLowerCase()}` : word);
    setAttribute(this.#mark.use, "href", `#${shown}`);
    setAttribute(this.#mark.icon, "class", `mark ${shown}`);
    setAttribute(this.element, "data-level", shown);
  }

  /** @param {string} name @param {string} value @param {string} more @param {"warning" | null} level */
  row(name, value, more, level = null) {
    const row = this.#rows.get(name);
    if (!row) throw new Error(`A card has no row "${name}"`);
    setText(row.value, value);
    setText(row.more, visible(more));
    setShown(row.icon, level !== null);
  }

  /** @param {Failure | null} failure */
  error(failure) {
    setShown(this.#error, failure !== null);
    const code = failure ? visible(failure.code) : "";
    const texts = failure ? [failure.what, failure.state, failure.next] : [];
    const said = texts.map((text) => sentence(visible(text)));
    const key = JSON.stringify([code, said]);
    if (this.#error.dataset["shown"] === key) return;
    this.#error.dataset["shown"] = key;
    const [what = "", state = "", next = ""] = said;
    this.#error.replaceChildren(
      html("h4", null, "Last error"),
      html("p", null, what, " ", state),
      html("p", "next", html("strong", null, "What to do: "), next),
      html("p", "code", code),
    );
  }
}
