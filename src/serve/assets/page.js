/**
 * The page at `/`: listens to what the process reports each second, and shows it. What it has not heard of
 * for a while it shows as not known: old figures must never look healthy.
 *
 * @import { Snapshot } from "./page/snapshot.js"
 * @import { Step, Verdict } from "./page/verdict.js"
 */
import { Copies } from "./page/copies.js";
import { byId, html, mark, setAttribute, setList, setShown, setText } from "./page/dom.js";
import { Hour, totalsOf } from "./page/hour.js";
import { Log } from "./page/log.js";
import { parse } from "./page/snapshot.js";
import { lost, verdictOf } from "./page/verdict.js";
import { moment, some, visible } from "./page/words.js";

/** Reports come each second. After so long without one the connection is lost. */
const SILENCE_MS = 3000;
/** So often it is looked, and a connection that was refused or broken is tried again. */
const WATCH_MS = 1000;
/** A connection on which nothing comes, not even an error, is given up after so long. */
const HUNG_MS = 6000;

const page = {
  title: /** @type {HTMLTitleElement} */ (document.querySelector("title")),
  mark: byId("mark", SVGUseElement),
  headline: byId("headline", HTMLElement),
  what: byId("what", HTMLElement),
  todo: byId("todo", HTMLElement),
  steps: byId("steps", HTMLElement),
  notes: byId("notes", HTMLElement),
  announcement: byId("announcement", HTMLElement),
  file: byId("file", HTMLElement),
  link: byId("link", HTMLElement),
  report: byId("report", HTMLElement),
  asOf: byId("as-of", HTMLElement),
  totals: byId("totals", HTMLElement),
  version: byId("version", HTMLElement),
  icon: /** @type {HTMLLinkElement} */ (document.querySelector("link[rel=icon]")),
  copies: new Copies(byId("copies", HTMLElement)),
  hour: new Hour(),
  log: new Log(),
};

/** @type {Snapshot | null} */
let snapshot = null;
/** When that came, by both clocks: one may be set, the other stands still while the machine sleeps. */
let heard = { wall: Date.now(), steady: performance.now() };
/** Why nothing is heard, if something was heard that makes no sense. @type {string | null} */
let because = null;
/** @type {EventSource | null} */
let source = null;
let opened = performance.now();

const silence = () => Math.max(Date.now() - heard.wall, performance.now() - heard.steady);

function listen() {
  source?.close();
  opened = performance.now();
  source = new EventSource("events");
  source.addEventListener("error", () => source?.close());
  source.addEventListener("snapshot", (event) => receive(event.data));
}

/** @param {string} text */
function receive(text) {
  const before = heard;
  try {
    const next = parse(text);
    // Another version of the process has another version of this page.
    if (snapshot && snapshot.version !== next.version) return location.reload();
    snapshot = next;
    because = null;
    heard = { wall: Date.now(), steady: performance.now() };
    show();
  } catch (error) {
    // What cannot be read or shown was not heard: in a moment the page says so, and why.
    heard = before;
    because = `The last report could not be read: ${error instanceof Error ? error.message : error}`;
    console.error(error);
  }
}

/** Is it still heard? If not, the connection is opened anew, however it was lost. */
function watch() {
  const silent = silence() > SILENCE_MS;
  const age = performance.now() - opened;
  if (source?.readyState === EventSource.CLOSED || (silent && age > HUNG_MS)) listen();
  if (silent) show();
}

function show() {
  const stale = silence() > SILENCE_MS;
  const lastAt = snapshot ? Date.parse(snapshot.at) : null;
  showVerdict(stale || !snapshot ? lost(snapshot, Date.now(), because) : verdictOf(snapshot));
  const ago = Math.round(silence() / 1000);
  setText(
    page.link,
    stale || lastAt === null
      ? `Connection lost ${some(ago, "second")} ago`
      : `Live, reported at ${moment(lastAt, lastAt)}`,
  );
  if (!snapshot) return;
  setShown(page.report, true);
  setText(page.file, visible(snapshot.primary.path));
  setText(page.version, `Lockstep ${visible(snapshot.version)}`);
  page.copies.show(snapshot, stale);
  page.hour.show(snapshot);
  page.log.show(snapshot);
  setList(page.totals, totalsOf(snapshot), ([name, value]) =>
    html("div", null, html("dt", null, name), html("dd", null, value)),
  );
  setText(page.asOf, stale ? `As last reported at ${moment(snapshot.at, Date.now())}` : "");
}

/** @param {Verdict} verdict */
function showVerdict({ level, key, headline, what, steps, notes }) {
  setAttribute(document.body, "data-level", level);
  setAttribute(page.mark, "href", `#${level}`);
  setAttribute(page.icon, "href", `icon-${level}.svg`);
  setText(page.headline, headline);
  setText(page.what, what);
  setShown(page.todo, steps.length > 0);
  setList(page.steps, steps, (step) => html("li", null, stepOf(step)));
  setList(page.notes, notes, (note) => html("li", null, mark("warning").icon, stepOf(note)));
  const name = snapshot?.primary.path.split(/[\\/]/).at(-1) ?? "Lockstep";
  setText(page.title, `${TITLES[level]}: ${visible(name)}`);
  // A screen reader says it once: when the state changes, not when a figure in it does.
  if (page.announcement.dataset["key"] === key) return;
  page.announcement.dataset["key"] = key;
  setText(
    page.announcement,
    [headline, what, ...steps.map(({ said }) => said)].filter(Boolean).join(" "),
  );
}

/** @param {Step} step */
function stepOf({ said, command }) {
  return html("span", null, said, ...(command ? [" ", html("code", null, command)] : []));
}

const TITLES = {
  good: "In step",
  warning: "Behind",
  bad: "Out of step",
  lost: "No connection",
};

setText(
  byId("zone", HTMLElement),
  `Times are this browser's: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`,
);
listen();
setInterval(watch, WATCH_MS);
