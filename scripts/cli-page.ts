/**
 * docs/cli.md: under its heading "Commands" each command's help, as the command prints it. A test says
 * when that is not so any more; this writes it anew.
 *
 *   npm run docs:cli
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

export const PAGE = join(root, "docs/cli.md");

/** The page as it should be: what stands before its commands is kept. */
export function page(present: string): string {
  const heading = "## Commands\n";
  const kept = present.slice(0, present.indexOf(heading) + heading.length);
  const general = help();
  const [listed = ""] = general.split("\nOptions of every command:");
  const names = [...listed.matchAll(/^ {2}([a-z]+) .*\S/gm)].map(([, name]) => name as string);
  const commands = names.map((name) => `\n### lockstep ${name}\n\n${block(help(name))}`);
  return `${kept}\n${block(general)}${commands.join("")}`;
}

function help(...command: string[]): string {
  const args = [join(root, "src/cli/main.ts"), ...command, "--help"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

function block(text: string): string {
  return `\`\`\`text\n${text}\`\`\`\n`;
}

if (process.argv[1] === import.meta.filename) {
  fs.writeFileSync(PAGE, page(fs.readFileSync(PAGE, "utf8")));
}
