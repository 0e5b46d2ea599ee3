/** Figures of many measurements. */

/** Of values in ascending order; 0 of none. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  const at = Math.floor((sorted.length * percent) / 100);
  return sorted[Math.min(sorted.length - 1, at)] ?? 0;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = percentile(sorted, 50);
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[sorted.length / 2 - 1] ?? 0)) / 2;
}
