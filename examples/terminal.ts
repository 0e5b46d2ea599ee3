/** What the examples print: one live line on a terminal, plain lines now and then elsewhere. */

const plainEveryMs = 1000;

export class LiveLine {
  readonly #out: NodeJS.WriteStream;
  #plainAt = 0;
  #live = false;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
  }

  /** Replaces the live line; elsewhere than on a terminal most calls print nothing. */
  update(text: string): void {
    if (this.#out.isTTY) {
      this.#out.write(`\r\x1b[2K${text.slice(0, this.#out.columns - 1)}`);
      this.#live = true;
    } else if (performance.now() - this.#plainAt >= plainEveryMs) {
      this.#plainAt = performance.now();
      this.#out.write(`${text}\n`);
    }
  }

  /** Ends the live line with its last state. */
  finish(text: string): void {
    this.#out.write(this.#live ? `\r\x1b[2K${text}\n` : `${text}\n`);
    this.#live = false;
  }
}

/** `[##########----------]  50 %` */
export function bar(done: number, total: number, width = 30): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const filled = Math.round(share * width);
  const percent = String(Math.floor(share * 100)).padStart(3);
  return `[${"#".repeat(filled)}${"-".repeat(width - filled)}] ${percent} %`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Two columns: names to the left, values to the right. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const left = Math.max(...rows.map(([name]) => name.length));
  const right = Math.max(...rows.map(([, value]) => value.length));
  return rows.map(([name, value]) => `  ${name.padEnd(left)}  ${value.padStart(right)}`).join("\n");
}
