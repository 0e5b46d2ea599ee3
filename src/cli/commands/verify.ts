/** `lockstep verify`: do two copies hold the same database? Writes neither. */

import { parseArgs } from "node:util";
import { type VerifyReport, verify } from "../../verify.ts";
import { assertFiles } from "../copies.ts";
import { type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep verify [--json] A B

Compares two databases page by page, each with the committed part of its log, and runs
SQLite's integrity_check on both. Both may be in use. Writes neither, leaves no file.

  --json   {"identical": boolean, "pages": number, "differing": number,
            "different": [{"page": number, "owner": string | null}, …]   (the first 10,000),
            "integrity": {"a": string, "b": string}                      ("ok" or the findings),
            "a": {"path", "pageSize", "pages"}, "b": {"path", "pageSize", "pages"}}

Examples:
  lockstep verify /var/lib/app/app.db /mnt/usb/app.db
  lockstep verify --json /var/lib/app/app.db /mnt/usb/app.db | jq .different

Exit status: 0 identical and sound, 1 different, damaged or failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" } },
  });
  const [a, b] = positionals;
  assertFiles("verify", positionals);
  if (a === undefined || b === undefined || positionals.length > 2) {
    throw new UsageError("verify takes two paths.");
  }
  const speed = speedometer();
  const report = await verify(a, b, {
    onProgress(progress) {
      if (progress.phase === "integrity") io.note(`integrity_check ${progress.path} …`);
      else io.progress({ what: "compare", ...progress, bytesPerSecond: speed(progress.bytesDone) });
    },
  });
  if (values.json) io.json(report);
  else for (const line of describe(report)) io.print(line);
  return report.identical && isSound(report) ? 0 : 1;
}

// --- internal ---

const PAGES_SHOWN = 20;

function isSound({ integrity }: VerifyReport): boolean {
  return integrity.a === "ok" && integrity.b === "ok";
}

function describe(report: VerifyReport): string[] {
  const lines = report.identical
    ? [`identical: ${report.pages} pages of ${report.a.pageSize} bytes`]
    : [`DIFFERENT: ${report.differing} of ${report.pages} pages`, ...sizes(report)];
  for (const [owner, pages] of byOwner(report)) {
    const shown = pages.slice(0, PAGES_SHOWN).join(" ");
    const more = pages.length > PAGES_SHOWN ? ` … (${pages.length} in all)` : "";
    lines.push(`  ${owner}: page ${shown}${more}`);
  }
  const unlisted = report.differing - report.different.length;
  if (unlisted > 0) lines.push(`  and ${unlisted} more pages`);
  for (const side of ["a", "b"] as const) {
    const found = (report.integrity[side] ?? "").split("\n").join("\n    ");
    lines.push(`integrity_check ${report[side].path}: ${found}`);
  }
  return lines;
}

function sizes({ a, b }: VerifyReport): string[] {
  if (a.pageSize === b.pageSize && a.pages === b.pages) return [];
  return [a, b].map(
    ({ path, pages, pageSize }) => `  ${path}: ${pages} pages of ${pageSize} bytes`,
  );
}

function byOwner({ different }: VerifyReport): Map<string, number[]> {
  const owners = new Map<string, number[]>();
  for (const { page, owner } of different) {
    const name = owner ?? "(no table or index)";
    const pages = owners.get(name) ?? [];
    if (pages.length === 0) owners.set(name, pages);
    pages.push(page);
  }
  return owners;
}
