/**
 * One figure over the last hour, as a drawing: lines over time, drawn to the width there is. A latency is a
 * band from p50 to p99 on a logarithmic axis, so that 200 µs and 2 s can both be read; everything else is an
 * area on an axis from 0, with its limit if it has one.
 */
import { html, setAttribute, setText, svg } from "./dom.js";
import { moment } from "./words.js";

/**
 * @typedef {object} Point
 * @property {number} at
 * @property {number} value of a latency: p50
 * @property {number} [high] of a latency: p99
 *
 * @typedef {object} Kind
 * @property {string} title
 * @property {string} [path] whose figure it is, if a copy's
 * @property {(value: number) => string} say with its unit
 * @property {boolean} [latency]
 * @property {boolean} [binary] its axis goes by powers of two
 */

const HEIGHT = 176;
const TOP = 10;
const BOTTOM = 24;
const LEFT = 62;
const RIGHT = 18;
const MINUTE = 60_000;
/** The time that is shown: what there are figures of, within these. */
const SHORTEST = 10 * MINUTE;
const LONGEST = 60 * MINUTE;
/** Two points further apart than this are not joined: nothing is known of the time between. */
const GAP_MS = 25_000;

export class Chart {
  element;
  plot;
  kind;
  #said = html("p", "said");
  #worst = html("p", "worst");
  #cursor = svg("g", { class: "cursor" });
  /** @type {Point[]} */
  #points = [];
  #end = 0;
  #span = LONGEST;
  /** @type {(value: number) => number} */
  #y = () => 0;

  /** @param {Kind} kind */
  constructor(kind) {
    this.kind = kind;
    this.plot = svg("svg", { role: "img", height: HEIGHT });
    const title = html("h3", null, kind.title);
    if (kind.path !== undefined) title.append(" ", html("span", "path", kind.path));
    const legend = html("p", "legend", kind.latency ? "thick p50, thin p99; logarithmic" : "");
    const caption = html(
      "figcaption",
      null,
      html("div", null, title, this.#said),
      html("div", null, legend, this.#worst),
    );
    this.element = html("figure", "chart", caption, this.plot);
  }

  /** When a place in the drawing was. @param {number} clientX */
  timeAt(clientX) {
    const { left } = this.plot.getBoundingClientRect();
    const width = this.#width() - LEFT - RIGHT;
    return this.#end - this.#span + ((clientX - left - LEFT) / width) * this.#span;
  }

  /**
   * @param {Point[]} points oldest first
   * @param {[first: number, latest: number]} samples when the first and the latest sample ended, whether they
   *   had such a figure or not
   * @param {number} end what time it is
   * @param {number | null} limit
   */
  draw(points, [first, latest], end, limit) {
    this.#points = points;
    this.#end = end;
    this.#span = Math.min(LONGEST, Math.max(SHORTEST, end - first));
    const width = this.#width();
    const kind = this.kind;
    const values = points.flatMap(({ value, high }) =>
      high === undefined ? [value] : [value, high],
    );
    const axis = kind.latency
      ? logarithmic(values)
      : linear([...values, limit ?? 0], kind.binary ?? false);
    const tall = HEIGHT - TOP - BOTTOM;
    this.#y = (value) => TOP + tall * (1 - axis.place(value));
    setAttribute(this.plot, "width", width);
    setAttribute(this.plot, "viewBox", `0 0 ${width} ${HEIGHT}`);
    this.plot.replaceChildren(
      ...(values.length > 0 ? axis.ticks : []).map((tick) =>
        this.#line(tick, kind.say(tick), "grid"),
      ),
      ...this.#times(),
      ...this.#shapes(axis.ticks[0] ?? 0),
      ...(limit === null || values.length === 0 ? [] : [this.#line(limit, "limit", "limit")]),
      this.#cursor,
    );
    const worst = points.reduce(
      (/** @type {Point | null} */ most, each) =>
        most && most.value >= top(each) ? most : { ...each, value: top(each) },
      null,
    );
    const said = worst
      ? `highest ${kind.latency ? "p99 " : ""}${kind.say(worst.value)} at ${moment(worst.at, end)}`
      : "";
    setText(this.#worst, said);
    const name = `${kind.title}${kind.path === undefined ? "" : ` of ${kind.path}`} over the last hour`;
    const last = `last ${this.#sayAt(latest)}`;
    setAttribute(this.plot, "aria-label", [`${name}: ${last}`, said].filter(Boolean).join("; "));
  }

  /** Says what a sample had, and marks it. @param {number} at when it ended @param {boolean} isMarked */
  point(at, isMarked) {
    setText(this.#said, this.#sayAt(at));
    if (!isMarked) return this.#cursor.replaceChildren();
    const x = this.#x(at);
    const point = this.#points.find((each) => each.at === at);
    const values = point ? [point.value, ...(point.high === undefined ? [] : [point.high])] : [];
    this.#cursor.replaceChildren(
      svg("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      ...values.map((value) => svg("circle", { cx: x, cy: this.#y(value), r: 3.5 })),
    );
  }

  /** A figure that is missing is not the one before it. @param {number} at */
  #sayAt(at) {
    const point = this.#points.find((each) => each.at === at);
    if (point) return this.#reading(point);
    const before = this.#points.findLast((each) => each.at < at);
    return before ? `none since ${moment(before.at, this.#end)}` : "none yet";
  }

  /** @param {Point} point */
  #reading({ value, high }) {
    const { say } = this.kind;
    return high === undefined ? say(value) : `p50 ${say(value)}, p99 ${say(high)}`;
  }

  #width() {
    return Math.max(240, Math.floor(this.element.clientWidth));
  }

  /** @param {number} at */
  #x(at) {
    return LEFT + (this.#width() - LEFT - RIGHT) * (1 - (this.#end - at) / this.#span);
  }

  /** A level across, with its name at the left. @param {number} value @param {string} name @param {string} className */
  #line(value, name, className) {
    const y = this.#y(value);
    return svg(
      "g",
      { class: className },
      svg("line", { x1: LEFT, x2: this.#width() - RIGHT, y1: y, y2: y }),
      className === "limit"
        ? svg("text", { x: this.#width() - RIGHT, y: y + 14, "text-anchor": "end" }, name)
        : svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, name),
    );
  }

  /** Round times, by the clock on the wall, as far apart as their names need. */
  #times() {
    const room = (this.#width() - LEFT - RIGHT) / this.#span;
    const steps = [1, 2, 5, 10, 15, 30].map((each) => each * MINUTE);
    const step = steps.find((each) => each * room >= 56) ?? LONGEST;
    const marks = [];
    for (let at = Math.ceil((this.#end - this.#span) / step) * step; at <= this.#end; at += step) {
      const x = this.#x(at);
      const name = moment(at, at, { seconds: false });
      marks.push(
        svg(
          "g",
          { class: "time" },
          svg("line", { x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 5 }),
          svg("text", { x, y: HEIGHT - 5, "text-anchor": "middle" }, name),
        ),
      );
    }
    return marks;
  }

  /** @param {number} floor */
  #shapes(floor) {
    const { latency } = this.kind;
    return runs(this.#points).flatMap((run) => {
      const low = run.map(({ at, value }) => this.#spot(at, value));
      const high = run.map((each) => this.#spot(each.at, top(each)));
      const [first, last] = [/** @type {Point} */ (run[0]), /** @type {Point} */ (run.at(-1))];
      const under = latency
        ? low.toReversed()
        : [this.#spot(last.at, floor), this.#spot(first.at, floor)];
      return [
        svg("path", { class: "area", d: `M${[...high, ...under].join("L")}Z` }),
        svg("path", { class: "low", d: `M${low.join("L")}` }),
        ...(latency ? [svg("path", { class: "high", d: `M${high.join("L")}` })] : []),
      ];
    });
  }

  /** @param {number} at @param {number} value */
  #spot(at, value) {
    return `${this.#x(at).toFixed(1)} ${this.#y(value).toFixed(1)}`;
  }
}

/** @param {Point} point */
const top = ({ value, high }) => high ?? value;

/** @param {Point[]} points @returns {Point[][]} */
function runs(points) {
  /** @type {Point[][]} */
  const found = [];
  for (const point of points) {
    const run = found.at(-1);
    const before = run?.at(-1);
    if (run && before && point.at - before.at <= GAP_MS) run.push(point);
    else found.push([point]);
  }
  return found;
}

/** An axis: what to name on it, and where on it a value is, from 0 to 1. @param {number[]} values @param {boolean} binary */
function linear(values, binary) {
  const most = Math.max(...values, 1);
  const scale = binary ? 2 ** Math.floor(Math.log2(most)) : 10 ** Math.floor(Math.log10(most));
  const steps = binary ? [1 / 4, 1 / 2] : [0.2, 0.25, 0.5, 1, 2, 2.5];
  const step = steps.map((each) => each * scale).find((each) => most / each <= 4.5) ?? scale;
  const count = Math.ceil(most / step);
  return {
    ticks: Array.from({ length: count + 1 }, (_, at) => at * step),
    place: (/** @type {number} */ value) => value / (count * step),
  };
}

/** @param {number[]} values */
function logarithmic(values) {
  const positive = values.filter((value) => value > 0);
  const [low, high] =
    positive.length > 0 ? [Math.min(...positive), Math.max(...positive)] : [1, 10];
  const ladders = [[1, 2, 5], [1, 3], [1]].map((within) => ladder(low, high, within));
  const ticks =
    ladders.find(({ length }) => length <= 6) ?? /** @type {number[]} */ (ladders.at(-1));
  const [first, last] = [/** @type {number} */ (ticks[0]), /** @type {number} */ (ticks.at(-1))];
  return {
    ticks,
    place: (/** @type {number} */ value) =>
      Math.log(Math.max(value, first) / first) / Math.log(last / first),
  };
}

/** The round values from the one below `low` to the one above `high`. @param {number} low @param {number} high @param {number[]} within */
function ladder(low, high, within) {
  /** @type {number[]} */
  const all = [];
  for (let power = -6; power <= 9; power++) for (const each of within) all.push(each * 10 ** power);
  const from = Math.max(
    0,
    all.findLastIndex((each) => each <= low),
  );
  const to = all.findIndex((each) => each >= high && each > /** @type {number} */ (all[from]));
  return all.slice(from, to < 0 ? undefined : to + 1);
}
