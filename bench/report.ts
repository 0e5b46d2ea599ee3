/** What a workload's run gave, as it stands in its JSON file, and the table made from that. */
import { columns, type Figure, figure, show } from "./figures.ts";
import type { Chart, Figures, Scale } from "./workload.ts";

export interface Sample {
  readonly way: string;
  readonly x: number;
  readonly round: number;
  readonly figures: Figures;
}

export interface Report {
  readonly workload: string;
  readonly title: string;
  readonly date: string;
  readonly node: string;
  readonly sqlite: string;
  readonly system: string;
  readonly cpu: string;
  readonly scale: Scale;
  readonly axis: { readonly label: string; readonly values: readonly number[] } | null;
  readonly ways: Readonly<Record<string, string>>;
  readonly figures: Readonly<Record<string, string>>;
  readonly charts: readonly Chart[];
  /** Ways that cannot be measured here, and why. */
  readonly unavailable: Readonly<Record<string, string>>;
  readonly samples: readonly Sample[];
}

/** Over all rounds; null if this was not measured. */
export function over(report: Report, way: string, x: number, name: string): Figure | null {
  const values = report.samples
    .filter((sample) => sample.way === way && sample.x === x)
    .map((sample) => sample.figures[name])
    .filter((value) => value !== undefined);
  return values.length === 0 ? null : figure(values);
}

export function table(report: Report): string {
  const { title, axis, ways, figures, unavailable, scale } = report;
  const names = Object.keys(figures);
  const rows = [[axis?.label ?? "", ...names.map((name) => `${name} ${figures[name]}`)]];
  for (const x of axis?.values ?? [0]) {
    for (const [way, label] of Object.entries(ways)) {
      const cells = names.map((name) => over(report, way, x, name));
      if (cells.every((cell) => cell === null)) continue;
      const what = axis ? `${x}  ${label}` : label;
      rows.push([what, ...cells.map((cell) => (cell ? show(cell) : "-"))]);
    }
  }
  for (const [way, reason] of Object.entries(unavailable)) {
    rows.push([ways[way]!, `not measured: ${reason}`]);
  }
  const spread = `medians of ${scale.rounds} round${scale.rounds === 1 ? "" : "s"} (min-max)`;
  return `${title}; ${spread}\n\n${columns(rows)}\n`;
}
