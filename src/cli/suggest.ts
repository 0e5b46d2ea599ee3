/** What a mistyped word may have been meant to be. */

/**
 * The candidate that is fewest slips away: a letter too many, too few, another, or two exchanged. Null
 * if none is near: a slip in a short word, one more for every three letters in a longer one.
 */
export function suggest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null;
  let fewest = Math.floor(word.length / 3) + 1;
  for (const candidate of candidates) {
    const slips = distance(word, candidate);
    if (slips >= fewest) continue;
    fewest = slips;
    best = candidate;
  }
  return best;
}

// --- internal ---

/** Between two words: how many slips lead from one to the other (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const other = a[i - 1] === b[j - 1] ? 0 : 1;
      const [left, above, diagonal] = [row[j - 1], last[j], last[j - 1]] as [
        number,
        number,
        number,
      ];
      let least = Math.min(left + 1, above + 1, diagonal + other);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] as number) + 1);
      }
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length] as number;
}
