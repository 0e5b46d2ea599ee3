/**
 * A table of text, never wider than the terminal: the first column to the left, figures to the right.
 * If it does not fit, the first column is broken into lines; if that is not enough, each row becomes
 * lines of its own, a figure a line behind its heading.
 */

/**
 * @param rows the headings first
 * @param columns how wide it may be; default: as wide as it is
 */
export function table(
  rows: readonly (readonly string[])[],
  columns = Number.POSITIVE_INFINITY,
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  const figures = widths.slice(1).reduce((sum, width) => sum + GAP.length + width, 0);
  const first = Math.min(widths[0] ?? 0, columns - figures);
  if (first < Math.min(widths[0] ?? 0, FIRST_MIN)) return list(rows, columns);
  return rows.flatMap(([label = "", ...cells]) => {
    const [top = "", ...more] = broken(label, first);
    const aligned = cells.map((cell, i) => GAP + cell.padStart(widths[i + 1] ?? 0));
    return [(top.padEnd(first) + aligned.join("")).trimEnd(), ...more];
  });
}

// --- internal ---

const GAP = "   ";
/** Narrower than this a first column cannot be read. */
const FIRST_MIN = 12;

/** Each row as lines: its label, then a figure a line behind its heading. */
function list([headings = [], ...rows]: readonly (readonly string[])[], columns: number): string[] {
  return rows.flatMap(([label = "", ...cells]) => {
    const figures = cells.map((cell, i) => `  ${headings[i + 1] ?? ""} ${cell}`.trimEnd());
    return [label, ...figures].flatMap((line) => broken(line, columns));
  });
}

/** A text in lines of at most `width`: at its spaces, or within a word that is longer. */
function broken(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.trimStart() === rest ? rest.lastIndexOf(" ", width) : -1;
    const at = space > 0 ? space : Math.max(1, width);
    lines.push(rest.slice(0, at).trimEnd());
    rest = rest.slice(at).trimStart();
  }
  return [...lines, rest];
}
