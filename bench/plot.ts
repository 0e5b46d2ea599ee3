/**
 * A report's charts as SVG, made from its JSON alone. One line a way over the axis, or over several
 * figures; without either, bars. Thin lines show the smallest and the largest value of all rounds.
 */
import { digits, type Figure } from "./figures.ts";
import { over, type Report } from "./report.ts";
import type { Chart } from "./workload.ts";

interface Point {
  /** Which of the places on the axis. */
  readonly at: number;
  readonly value: Figure;
}
interface Series {
  readonly label: string;
  readonly colour: string;
  readonly points: readonly Point[];
}

const WIDTH = 760;
const LEFT = 70;
const RIGHT = 20;
const TOP = 64;
const PLOT = 300;
const ROW = 20;
const BAR = 30;

/** Told apart on white and on black, and by most who do not see all colours. */
const COLOURS = ["#3b82f6", "#e8710a", "#12a37f", "#c0408f", "#a08a00", "#8b6fd8", "#8a8f98"];

export function plot(report: Report, chart: Chart): string {
  const [first] = chart.figures;
  const places = report.axis?.values.map(String) ?? [...chart.figures];
  const figureAt = (way: string, at: number): Figure | null =>
    report.axis
      ? over(report, way, report.axis.values[at]!, first!)
      : over(report, way, 0, chart.figures[at]!);
  const series = Object.entries(report.ways)
    .map(([way, label], i) => ({
      label,
      colour: COLOURS[i % COLOURS.length]!,
      points: places.flatMap((_, at) => {
        const value = figureAt(way, at);
        return value ? [{ at, value }] : [];
      }),
    }))
    .filter(({ points }) => points.length > 0);
  const unit = report.figures[first!]!;
  const log = chart.log ?? false;
  if (!report.axis && series.length === 1) {
    // One way: its figures are the bars.
    const only: Series = series[0]!;
    const each = chart.figures.map((label, at) => ({
      ...only,
      label,
      points: only.points.filter((point) => point.at === at),
    }));
    return bars(chart.title, report, each, unit);
  }
  return places.length > 1
    ? lines(chart.title, report, series, places, unit, log)
    : bars(chart.title, report, series, unit);
}

function lines(
  title: string,
  report: Report,
  series: readonly Series[],
  places: readonly string[],
  unit: string,
  log: boolean,
): string {
  const bottom = TOP + PLOT;
  const x = (at: number) => LEFT + ((at + 0.5) / places.length) * (WIDTH - LEFT - RIGHT);
  const ticks = ticksFor(series, log);
  const position = (value: number) => (log ? Math.log10(Math.max(value, ticks[0]!)) : value);
  const [low, high] = [position(ticks[0]!), position(ticks.at(-1)!)];
  const y = (value: number) => bottom - ((position(value) - low) / (high - low || 1)) * PLOT;

  const parts = ticks.map(
    (tick) =>
      `<path class="grid" d="M${LEFT} ${fixed(y(tick))}H${WIDTH - RIGHT}"/>` +
      text(LEFT - 8, y(tick) + 4, tickLabel(tick), "end"),
  );
  places.forEach((place, at) => {
    parts.push(text(x(at), bottom + 20, place, "middle"));
  });
  parts.push(text((LEFT + WIDTH - RIGHT) / 2, bottom + 42, report.axis?.label ?? "", "middle"));
  for (const { colour, points } of series) {
    const path = points.map(({ at, value }) => `${fixed(x(at))} ${fixed(y(value.median))}`);
    parts.push(`<path class="line" stroke="${colour}" d="M${path.join("L")}"/>`);
    for (const { at, value } of points) {
      const [from, to] = [fixed(y(value.min)), fixed(y(value.max))];
      parts.push(
        `<path class="spread" stroke="${colour}" d="M${fixed(x(at))} ${from}V${to}"/>`,
        `<circle fill="${colour}" cx="${fixed(x(at))}" cy="${fixed(y(value.median))}" r="3.5"/>`,
      );
    }
  }
  const legend = bottom + 64;
  series.forEach(({ label, colour }, i) => {
    const [left, top] = [LEFT + (i % 2) * 355, legend + Math.floor(i / 2) * ROW];
    parts.push(`<path class="line" stroke="${colour}" d="M${left} ${top}h20"/>`);
    parts.push(text(left + 28, top + 4, label, "start"));
  });
  const height = legend + Math.ceil(series.length / 2) * ROW;
  return svg(height, `${title}${unit === "" ? "" : `, ${unit}`}`, report, parts);
}

function bars(title: string, report: Report, series: readonly Series[], unit: string): string {
  const left = 320;
  const right = 100;
  const largest = Math.max(...series.map(({ points }) => points[0]!.value.max));
  const x = (value: number) => left + (value / (largest || 1)) * (WIDTH - left - right);
  const parts = series.flatMap(({ label, colour, points }, i) => {
    const { median, min, max } = points[0]!.value;
    const top = TOP + i * BAR;
    const middle = top + (BAR - 8) / 2;
    const width = fixed(Math.max(0, x(median) - left));
    return [
      text(left - 10, middle + 4, label, "end"),
      `<rect fill="${colour}" x="${left}" y="${top}" width="${width}" height="${BAR - 8}"/>`,
      `<path class="axis" d="M${fixed(x(min))} ${middle}H${fixed(x(max))}"/>`,
      text(x(max) + 8, middle + 4, `${digits(median)} ${unit}`, "start"),
    ];
  });
  const height = TOP + series.length * BAR + 12;
  return svg(height, `${title}${unit === "" ? "" : `, ${unit}`}`, report, parts);
}

/** Round values that enclose all: powers of ten, or some steps from 0. */
function ticksFor(series: readonly Series[], log: boolean): number[] {
  const all = series.flatMap(({ points }) => points.flatMap(({ value }) => [value.min, value.max]));
  const positive = all.filter((value) => value > 0);
  if (log && positive.length > 0) {
    const from = Math.floor(Math.log10(Math.min(...positive)));
    const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(...positive))));
    return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
  }
  const [least, largest] = [Math.min(0, ...all), Math.max(0, ...all)];
  const rough = (largest - least || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
  const [from, to] = [Math.floor(least / step), Math.ceil(largest / step)];
  return Array.from({ length: to - from + 1 }, (_, i) => (from + i) * step);
}

function tickLabel(value: number): string {
  if (Math.abs(value) >= 1e6) return `${round(value / 1e6)} M`;
  if (Math.abs(value) >= 1e4) return `${round(value / 1e3)} k`;
  return String(round(value));
}

const round = (value: number): number => Number(value.toPrecision(3));
const fixed = (value: number): string => value.toFixed(1);

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end"): string {
  const at = `x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}"`;
  return `<text ${at}>${escaped(content)}</text>`;
}

const escaped = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

function svg(height: number, title: string, report: Report, parts: readonly string[]): string {
  const { date, node, cpu, scale, unavailable, ways } = report;
  const missing = Object.keys(unavailable).map((way) => ways[way]);
  const without = missing.length === 0 ? "" : `; not measured: ${missing.join(", ")}`;
  const about =
    `${scale.rounds} round${scale.rounds === 1 ? "" : "s"}, median and spread; ` +
    `${cpu}, Node.js ${node}, ${date.slice(0, 10)}${without}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escaped(title)}</title>
<style>
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 17px; font-weight: 600; }
  .about { font-size: 11px; opacity: 0.7; }
  .grid { stroke: #8a8f98; stroke-opacity: 0.3; }
  .axis { stroke: #24292f; stroke-width: 1.5; }
  .line { fill: none; stroke-width: 2; }
  .spread { stroke-width: 1.5; opacity: 0.6; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .axis { stroke: #e6edf3; }
  }
</style>
<text class="title" x="16" y="26">${escaped(title)}</text>
<text class="about" x="16" y="45">${escaped(about)}</text>
${parts.join("\n")}
</svg>
`;
}
