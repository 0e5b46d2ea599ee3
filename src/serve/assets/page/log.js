/**
 * The events, newest first; the first few until somebody asks for all.
 *
 * @import { RecordedEvent, Snapshot } from "./snapshot.js"
 */
import { byId, html, mark, setText } from "./dom.js";
import { moment, visible } from "./words.js";

const FIRST = 10;
const LEVELS = {
  info: { icon: "info", word: "Info" },
  warning: { icon: "warning", word: "Warning" },
  error: { icon: "bad", word: "Error" },
};

export class Log {
  #body = byId("events", HTMLElement);
  #more = byId("more", HTMLButtonElement);
  #all = false;
  #shown = "";
  /** @type {Snapshot | null} */
  #snapshot = null;

  constructor() {
    this.#more.addEventListener("click", () => {
      this.#all = !this.#all;
      this.#draw();
    });
  }

  /** @param {Snapshot} snapshot */
  show(snapshot) {
    this.#snapshot = snapshot;
    const shown = JSON.stringify(snapshot.events);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#draw();
  }

  #draw() {
    if (!this.#snapshot) return;
    const { events, at } = this.#snapshot;
    const now = Date.parse(at);
    const some = this.#all ? events : events.slice(0, FIRST);
    this.#body.replaceChildren(
      ...(some.length > 0
        ? some.map((event) => rowOf(event, now))
        : [html("tr", null, html("td", null, "Nothing has happened yet."))]),
    );
    this.#more.hidden = events.length <= FIRST;
    this.#more.setAttribute("aria-expanded", String(this.#all));
    setText(this.#more, this.#all ? `Show the newest ${FIRST}` : `Show all ${events.length}`);
  }
}

/** @param {RecordedEvent} event @param {number} now */
function rowOf({ at, level, what, detail }, now) {
  const { icon, word } = LEVELS[level] ?? LEVELS.info;
  const time = html("time", null, moment(at, now));
  time.dateTime = at;
  const said = html("td", null, html("span", null, visible(what)));
  if (detail) said.append(html("small", null, visible(detail)));
  return html(
    "tr",
    level,
    html("td", "when", time),
    html("td", "level", html("span", null, mark(icon).icon, word)),
    said,
  );
}
