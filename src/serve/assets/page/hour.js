/**
 * The last hour: a chart for each figure, one moment that is read off all of them, and the same as a table.
 *
 * @import { Kind, Point } from "./chart.js"
 * @import { Percentiles, Sample, Snapshot } from "./snapshot.js"
 */
import { Chart } from "./chart.js";
import { byId, html, setAttribute, setText } from "./dom.js";
import { bytes, count, latency, moment, short, visible } from "./words.js";

/** One row of the table. */
const ROW_MS = 5 * 60_000;

/** @typedef {{ chart: Chart, pointOf: (sample: Sample) => Point | null, limited: boolean }} Figure */

export class Hour {
  #charts = byId("charts", HTMLElement);
  #latencies = byId("latencies", HTMLElement);
  #amounts = byId("amounts", HTMLElement);
  #table = byId("table", HTMLTableElement);
  #range = byId("moment", HTMLInputElement);
  #said = byId("moment-said", HTMLElement);
  /** @type {Figure[]} */
  #figures = [];
  #paths = "";
  #drawn = "";
  /** @type {Snapshot | null} */
  #snapshot = null;
  /** The moment that is read, or null: the last figures. @type {number | null} */
  #at = null;

  constructor() {
    this.#range.addEventListener("input", () => {
      const last = Number(this.#range.value) === Number(this.#range.max);
      const sample = this.#snapshot?.history[Number(this.#range.value)];
      this.#point(last || !sample ? null : Date.parse(sample.at));
    });
    this.#charts.addEventListener("pointermove", (event) => {
      const on = this.#figures.find(({ chart }) =>
        chart.plot.contains(/** @type {Node} */ (event.target)),
      );
      if (on && event.pointerType === "mouse")
        this.#point(this.#nearest(on.chart.timeAt(event.clientX)));
    });
    this.#charts.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.#point(null);
    });
    new ResizeObserver(() => this.#draw()).observe(this.#charts);
  }

  /** @param {Snapshot} snapshot */
  show(snapshot) {
    this.#snapshot = snapshot;
    const paths = snapshot.replicas.map(({ path }) => visible(path));
    if (JSON.stringify(paths) !== this.#paths) {
      this.#paths = JSON.stringify(paths);
      this.#figures = figuresOf(paths);
      const latencies = this.#figures.filter(({ chart }) => chart.kind.latency);
      const amounts = this.#figures.filter(({ chart }) => !chart.kind.latency);
      this.#latencies.replaceChildren(...latencies.map(({ chart }) => chart.element));
      this.#amounts.replaceChildren(...amounts.map(({ chart }) => chart.element));
      this.#drawn = "";
    }
    const last = snapshot.history.at(-1);
    const drawn = `${last?.at} ${snapshot.history.length} ${snapshot.primary.logLimitBytes}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#draw();
    this.#tabulate(snapshot, paths);
  }

  #draw() {
    const snapshot = this.#snapshot;
    if (!snapshot) return;
    const { history, primary } = snapshot;
    const end = Date.parse(snapshot.at);
    /** @type {[first: number, latest: number]} */
    const samples = [
      Date.parse(history[0]?.at ?? snapshot.at),
      Date.parse(history.at(-1)?.at ?? snapshot.at),
    ];
    for (const { chart, pointOf, limited } of this.#figures) {
      const points = history.map(pointOf).filter((each) => each !== null);
      chart.draw(
        points,
        samples,
        end,
        limited && primary.logLimitBytes > 0 ? primary.logLimitBytes : null,
      );
    }
    setAttribute(this.#range, "max", Math.max(0, history.length - 1));
    this.#range.disabled = history.length < 2;
    this.#point(this.#at);
  }

  /** @param {number} time @returns {number | null} */
  #nearest(time) {
    const sample = this.#snapshot?.history.findLast(({ at }) => Date.parse(at) <= time);
    return sample ? Date.parse(sample.at) : null;
  }

  /** @param {number | null} at */
  #point(at) {
    const { history = [], at: now = 0 } = this.#snapshot ?? {};
    const index = at === null ? -1 : history.findIndex((each) => Date.parse(each.at) === at);
    this.#at = index < 0 ? null : at;
    const said = this.#at === null ? "latest" : moment(this.#at, Date.parse(String(now)));
    this.#range.value = String(index < 0 ? history.length - 1 : index);
    setAttribute(this.#range, "aria-valuetext", said);
    setText(this.#said, said);
    const latest = Date.parse(history.at(-1)?.at ?? String(now));
    for (const { chart } of this.#figures) chart.point(this.#at ?? latest, this.#at !== null);
  }

  /** @param {Snapshot} snapshot @param {string[]} paths */
  #tabulate({ at, history }, paths) {
    const heads = ["Until", "Commits/s", "Bytes/s", "Commit p50", "Commit p99"];
    paths.forEach((_, at) => {
      const whose = paths.length === 1 ? "Sync" : `Replica ${at + 1} sync`;
      heads.push(`${whose} p50`, `${whose} p99`);
    });
    heads.push("Log");
    const rows = Map.groupBy(history, (each) => Math.ceil(Date.parse(each.at) / ROW_MS));
    this.#table.replaceChildren(
      html(
        "caption",
        null,
        "Five minutes a row, the latest first: means, the median of p50, the highest p99, the largest log.",
      ),
      html("thead", null, html("tr", null, ...heads.map((head) => cell("th", head, "col")))),
      html(
        "tbody",
        null,
        ...[...rows]
          .reverse()
          .map(([row, samples]) =>
            html(
              "tr",
              null,
              cell("th", moment(row * ROW_MS, Date.parse(at), { seconds: false }), "row"),
              ...cellsOf(samples, paths.length).map((text) => cell("td", text)),
            ),
          ),
      ),
    );
  }
}

/** @param {string[]} paths @returns {Figure[]} */
function figuresOf(paths) {
  /** @param {Kind} kind @param {(sample: Sample) => number} figureOf */
  const plain = (kind, figureOf, limited = false) => ({
    chart: new Chart(kind),
    limited,
    pointOf: (/** @type {Sample} */ each) => ({ at: Date.parse(each.at), value: figureOf(each) }),
  });
  /** @param {string} title @param {(sample: Sample) => Percentiles | undefined} latencyOf @param {string} [path] */
  const band = (title, latencyOf, path) => ({
    chart: new Chart({
      title,
      say: latency,
      latency: true,
      ...(path === undefined ? {} : { path }),
    }),
    limited: false,
    pointOf: (/** @type {Sample} */ each) => {
      const found = latencyOf(each);
      return found ? { at: Date.parse(each.at), value: found.p50, high: found.p99 } : null;
    },
  });
  return [
    band("Commit latency", (each) => each.commitMs),
    ...paths.map((path, at) => band("Sync latency", (each) => each.syncMs[at], path)),
    plain({ title: "Commits per second", say: short }, (each) => each.commits / each.seconds),
    plain(
      { title: "Bytes per second", say: bytes, binary: true },
      (each) => each.bytes / each.seconds,
    ),
    plain({ title: "Write-ahead log", say: bytes, binary: true }, (each) => each.logBytes, true),
  ];
}

/** @param {Sample[]} samples @param {number} replicas @returns {string[]} */
function cellsOf(samples, replicas) {
  /** @param {(each: Sample) => number} figureOf */
  const sum = (figureOf) => samples.reduce((total, each) => total + figureOf(each), 0);
  const seconds = sum((each) => each.seconds);
  /** @param {(each: Sample) => Percentiles | undefined} latencyOf */
  const both = (latencyOf) => {
    const known = samples.map(latencyOf).filter((each) => !!each);
    const p50 = known.map((each) => each.p50).sort((a, b) => a - b)[known.length >> 1];
    if (p50 === undefined) return ["none", "none"];
    return [latency(p50), latency(Math.max(...known.map((each) => each.p99)))];
  };
  return [
    short(sum((each) => each.commits) / seconds),
    bytes(sum((each) => each.bytes) / seconds),
    ...both((each) => each.commitMs),
    ...Array.from({ length: replicas }, (_, at) => both((each) => each.syncMs[at])).flat(),
    bytes(Math.max(...samples.map((each) => each.logBytes))),
  ];
}

/** @param {"th" | "td"} tag @param {string} text @param {"col" | "row"} [scope] */
function cell(tag, text, scope) {
  const made = html(tag, null, text);
  if (scope) made.scope = scope;
  return made;
}

/** @param {Snapshot} snapshot @returns {[string, string][]} */
export function totalsOf({ commits, bytes: written, checkpoints, ringBytes, ringLimitBytes }) {
  return [
    ["Commits", count(commits)],
    ["Bytes committed", bytes(written)],
    ["Checkpoints", count(checkpoints)],
    ["Ring, on its way to the replicas", `${bytes(ringBytes)} of ${bytes(ringLimitBytes)}`],
  ];
}
