/**
 * The lines on which durability rests, as they are marked in the source, and the source without them.
 *
 *     // durable: NAME                  the statement on this line, or after a comment of its own
 *     // durable, in this order: NAME   that statement and the one after it: also exchanged
 *
 * A name ends with its sentence.
 */
import fs from "node:fs";
import { join } from "node:path";

export interface Mark {
  readonly file: string;
  /** Of the statement, from 1. */
  readonly line: number;
  readonly name: string;
  readonly what: "removed" | "exchanged";
}

/** What a mark is called when its line has moved: no two in a file have one name. */
export function idOf({ file, name, what }: Mark): string {
  return `${file}: ${name} (${what})`;
}

/** Every mark below `root`/src. */
export function marksIn(root: string): Mark[] {
  const names = fs.globSync("src/**/*.ts", { cwd: root }).sort();
  const marks = names.flatMap((name) =>
    marksOf(name.replaceAll("\\", "/"), fs.readFileSync(join(root, name), "utf8")),
  );
  const ids = new Set<string>();
  for (const id of marks.map(idOf)) {
    if (ids.has(id)) throw new Error(`two marks have one name: ${id}`);
    ids.add(id);
  }
  return marks;
}

/** The marks in one file. */
export function marksOf(file: string, source: string): Mark[] {
  const lines = source.split("\n");
  return lines.flatMap((text, i) => {
    const [, order, name] = /\/\/ durable(, in this order)?: (.+?)(?:\. .*)?$/.exec(text) ?? [];
    if (name === undefined) return [];
    const line = (isComment(text) ? nextCode(lines, i) : i) + 1;
    const mark = { file, line, name };
    const removed: Mark = { ...mark, what: "removed" };
    return order ? [removed, { ...mark, what: "exchanged" }] : [removed];
  });
}

/** The source without the marked statement, or with that one after the next. */
export function mutate(source: string, { line, what }: Mark): string {
  const lines = source.split("\n");
  const first = line - 1;
  const statement = lines.splice(first, endOf(lines, first) - first);
  if (what === "exchanged") {
    lines.splice(endOf(lines, nextCode(lines, first)), 0, ...statement);
  }
  return lines.join("\n");
}

// --- internal ---

/** The line after the statement that begins at `start`: its brackets are closed, and it is ended. */
function endOf(lines: readonly string[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const code = (lines[i] as string).replace(/\/\/ .*$/, "").trimEnd();
    for (const character of code) {
      if ("([{".includes(character)) depth++;
      if (")]}".includes(character)) depth--;
    }
    if (depth === 0 && /[;}]$/.test(code)) return i + 1;
  }
  throw new Error(`no end of the statement at line ${start + 1}`);
}

function nextCode(lines: readonly string[], from: number): number {
  let i = from;
  while (i < lines.length && (isComment(lines[i] as string) || lines[i]?.trim() === "")) i++;
  return i;
}

function isComment(line: string): boolean {
  return /^\s*\/\//.test(line);
}
