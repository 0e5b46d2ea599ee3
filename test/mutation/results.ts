/**
 * What is known of each mark: which test fails without its line. Kept from run to run, so that a run
 * goes on where one was ended and tries first what killed last time; published in docs/mutation.md.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { dirname, join } from "node:path";
import { idOf, type Mark, mutate } from "./marks.ts";

const root = join(import.meta.dirname, "../..");
const KEPT = join(root, "node_modules/.cache/lockstep/mutation.json");
const PAGE = join(root, "docs/mutation.md");

export interface Killer {
  /** The file of the test that fails, and its name. */
  readonly file: string;
  readonly test: string;
}

export interface Result {
  /** Of the mutated file: a result is one of this source, and of no other. */
  readonly digest: string;
  /** Null: the mutant survived. */
  readonly killer: Killer | null;
  /** How long the test that failed ran, with the start of its process. */
  readonly seconds: number;
}

export class Results {
  readonly #tree: string;
  readonly #kept: Record<string, Result>;
  readonly #published = publishedRows();

  /** @param tree where the marks' files are as they are tried */
  constructor(tree: string) {
    this.#tree = tree;
    this.#kept = fs.existsSync(KEPT) ? JSON.parse(fs.readFileSync(KEPT, "utf8")) : {};
  }

  /** What this mark's mutant came to, if its file is as it was. */
  of(mark: Mark): Result | undefined {
    const result = this.#kept[idOf(mark)];
    return result?.digest === this.#digestOf(mark) ? result : undefined;
  }

  /** What killed it last, whatever the source was then. */
  lastKiller(mark: Mark): Killer | null {
    return this.#kept[idOf(mark)]?.killer ?? this.#published.get(idOf(mark))?.killer ?? null;
  }

  keep(mark: Mark, result: Omit<Result, "digest">): void {
    this.#kept[idOf(mark)] = { digest: this.#digestOf(mark), ...result };
    fs.mkdirSync(dirname(KEPT), { recursive: true });
    fs.writeFileSync(KEPT, `${JSON.stringify(this.#kept, null, 1)}\n`);
  }

  /** Writes docs/mutation.md. What was not tried since its file changed stays there as it was. */
  publish(marks: readonly Mark[]): void {
    const rows = marks.map((mark) => {
      const result = this.of(mark);
      const before = this.#published.get(idOf(mark));
      if (!result && before) return before.row;
      const { killer, seconds } = result ?? {};
      const { file = "**none yet**", test = "" } = killer ?? {};
      const cells = [
        mark.name,
        mark.what,
        mark.file,
        file,
        test,
        killer ? seconds?.toFixed(1) : "",
      ];
      return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
    });
    const page = fs.readFileSync(PAGE, "utf8");
    const head = page.slice(0, page.indexOf("\n| mark |") + 1);
    const title = "| mark | is | in | fails then | which test | s |\n|---|---|---|---|---|--:|";
    fs.writeFileSync(PAGE, `${head}${title}\n${rows.join("\n")}\n`);
  }

  #digestOf(mark: Mark): string {
    const source = fs.readFileSync(join(this.#tree, mark.file), "utf8");
    return createHash("sha256").update(mutate(source, mark)).digest("hex").slice(0, 16);
  }
}

/** The table in docs/mutation.md, read. */
function publishedRows(): Map<string, { readonly row: string; readonly killer: Killer }> {
  const rows = new Map<string, { row: string; killer: Killer }>();
  for (const row of fs.readFileSync(PAGE, "utf8").split("\n")) {
    const [, name, what, source, file, test] = row
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll("\\|", "|"));
    if (!source?.startsWith("src/") || !name || !file || !test) continue;
    const mark = { file: source, line: 0, name, what: what as Mark["what"] };
    rows.set(idOf(mark), { row, killer: { file, test } });
  }
  return rows;
}
