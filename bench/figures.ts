/** Figures as they are printed: medians with their spread, in columns. */

export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function figure(values: readonly number[]): Figure {
  if (values.length === 0) throw new Error("No values: there is no median");
  const sorted = values.toSorted((a, b) => a - b);
  return { median: percentile(sorted, 50), min: sorted[0]!, max: sorted.at(-1)! };
}

/** Of values in ascending order. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  if (sorted.length === 0) throw new Error("No values: there is no percentile");
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))]!;
}

/** `231 (228-240)`, `231` if that is all; three digits that count. */
export function show({ median, min, max }: Figure): string {
  if (min === max) return digits(median);
  return `${digits(median)} (${digits(min)}-${digits(max)})`;
}

export function digits(value: number): string {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function columns(rows: readonly (readonly string[])[]): string {
  const count = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, i) =>
    // A last cell may be a sentence: it does not make its column wider.
    Math.max(...rows.map((row) => (row.length === count ? row[i]!.length : 0))),
  );
  widths[0] = Math.max(...rows.map((row) => row[0]!.length));
  return rows
    .map((row) =>
      row.length < count
        ? row.map((cell, i) => (i ? cell : cell.padEnd(widths[0]!)))
        : row.map((cell, i) => (i ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))),
    )
    .map((row) => `  ${row.join("   ")}`.trimEnd())
    .join("\n");
}
