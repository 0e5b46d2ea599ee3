/**
 * A bar chart: a line a bar, as wide as the terminal. Elsewhere than on a terminal it is 80 columns
 * of plain characters.
 */
import { styleText } from "node:util";

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** The value as it stands behind its bar. */
  readonly figure: string;
  /** Stands out among the others. */
  readonly ours: boolean;
}

/** What is drawn on. */
export interface Canvas {
  readonly columns: number;
  /** Whether it shows block characters as somebody looks at them. */
  readonly terminal: boolean;
  readonly color: boolean;
}

/** `label  █████▌ figure`; the longest bar is that of the greatest value. */
export function chart(bars: readonly Bar[], { columns, terminal, color }: Canvas): string[] {
  const labels = Math.max(...bars.map(({ label }) => label.length));
  const figures = Math.max(...bars.map(({ figure }) => figure.length));
  const width = Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, columns - labels - figures - GAPS));
  const greatest = Math.max(...bars.map(({ value }) => value));
  return bars.map(({ label, value, figure, ours }) => {
    const share = greatest > 0 ? value / greatest : 0;
    const drawn = terminal ? blocks(share * width) : "#".repeat(Math.round(share * width));
    // Not validated against a stream: whether there are colors is the canvas's to say.
    const bar = color && drawn ? styleText(ours ? "green" : "gray", drawn, UNCHECKED) : drawn;
    return `${label.padEnd(labels)}  ${bar} ${figure}`;
  });
}

// --- internal ---

const WIDTH_MIN = 8;
const WIDTH_MAX = 100;
/** Two spaces before a bar, one behind it, and the last column, in which some terminals wrap. */
const GAPS = 4;
const UNCHECKED = { validateStream: false };

/** Eighths of a character. */
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

function blocks(width: number): string {
  const eighths = Math.round(width * 8);
  return "█".repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8];
}
