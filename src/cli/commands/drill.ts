/** `lockstep drill`: proves that replicas restore. */
import fs from "node:fs";
import { parseArgs } from "node:util";
import { type DrillOptions, type DrillProgress, type DrillReport, drill } from "../../drill.ts";
import { codes, LockstepError } from "../../errors.ts";
import { assertFiles, copiesFrom } from "../copies.ts";
import { untilInterrupted } from "../interrupt.ts";
import { bytes, errorJson, type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep drill [--expect SQL]… [--expect-file FILE]… [--scratch DIR] [--json] PRIMARY REPLICA…
       lockstep drill … sqlite3://PRIMARY:REPLICA…

Proves that each replica restores: makes a restored copy of it, compares that page by page with the
primary at one position, and runs SQLite's integrity_check on it. All may be in use meanwhile. The
copy is removed at the end; the outcome is kept beside the replica (REPLICA-lockstep-proof), where
lockstep status shows it.

  --expect       SQL to run on the copy, read-only: each statement must return a row whose first
                 column is true
  --expect-file  the same from a file
  --scratch      where the copy is made, with room for all of it; default: beside the replica
  --json         {"proven": boolean, "replicas": [DRILL, …]}; DRILL is
                 {"primary", "replica", "proven": boolean, "why": string | null, "at",
                  "position": string | null, "pages": number, "pageSize": number,
                  "differing": number,
                  "different": [{"page": number, "owner": string | null}, …]   (the first 10,000),
                  "integrity": string                            ("ok" or the findings),
                  "expectations": [{"sql", "holds": boolean, "error": string | null,
                                    "seconds": number}, …],
                  "seconds": {"copy", "compare", "integrity", "expectations", "total"}}
                 or, if it could not be done, {"primary", "replica", "proven": false, "error": {…}}

Examples:
  lockstep drill /var/lib/app/app.db /mnt/usb/app.db
  lockstep drill app.db /mnt/usb/app.db --expect "SELECT count(*) > 0 FROM payment"
  lockstep drill app.db /mnt/usb/app.db --scratch /mnt/spare --expect-file /etc/app/expect.sql

Exit status: 0 all replicas restore, 1 one does not or could not be drilled, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      expect: { type: "string", multiple: true },
      "expect-file": { type: "string", multiple: true },
      scratch: { type: "string" },
      json: { type: "boolean" },
    },
  });
  const { primary, replicas } = copiesFrom(positionals);
  assertFiles("drill", [primary, ...replicas]);
  if (primary === undefined || replicas.length === 0) {
    throw new UsageError("drill takes a primary and its replicas.");
  }
  const expect = [...(values.expect ?? []), ...(values["expect-file"] ?? []).map(read)];
  const done = await untilInterrupted(async (signal) => {
    const options = { scratch: values.scratch, expect, signal };
    const all: Done[] = [];
    for (const replica of replicas) {
      const one = await drillOne(primary, replica, options, io);
      all.push(one);
      if (values.json) continue;
      if ("failure" in one) io.error(one.failure);
      else for (const line of describe(one)) io.print(line);
    }
    return all;
  });
  const proven = done.every((one) => one.proven);
  if (values.json) io.json({ proven, replicas: done.map(toJson) });
  return proven ? 0 : 1;
}

// --- internal ---

/** A report, or why the drill could not be done. */
type Done =
  | DrillReport
  | {
      readonly primary: string;
      readonly replica: string;
      readonly proven: false;
      readonly failure: LockstepError;
    };

const LABELS: Readonly<Record<DrillProgress["phase"], string>> = {
  copy: "copy",
  compare: "compare",
  integrity: "integrity_check",
  expect: "expectations",
};

/** What keeps one replica from being drilled does not keep the next from it. */
async function drillOne(
  primary: string,
  replica: string,
  options: DrillOptions,
  io: Io,
): Promise<Done> {
  const speed = speedometer();
  try {
    return await drill(primary, replica, {
      ...options,
      onProgress(progress) {
        const what = `${LABELS[progress.phase]} ${replica}`;
        if (!("bytesDone" in progress)) io.note(`${what} …`);
        else io.progress({ what, ...progress, bytesPerSecond: speed(progress.bytesDone) });
      },
    });
  } catch (failure) {
    if (!(failure instanceof LockstepError) || failure.code === codes.BAD_OPTION) throw failure;
    return { primary, replica, proven: false, failure };
  }
}

function toJson(one: Done): object {
  if (!("failure" in one)) return one;
  const { failure, ...rest } = one;
  return { ...rest, ...errorJson(failure) };
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--expect-file: ${(error as Error).message}`);
  }
}

const PAGES_SHOWN = 20;

function describe(report: DrillReport): string[] {
  const { replica, proven, why, pages, pageSize, position, seconds, integrity } = report;
  const lines = [
    proven ? `proven: ${replica} restores` : `NOT PROVEN: ${replica}: ${why}`,
    `  copied     ${bytes(pages * pageSize)} in ${took(seconds.copy)}`,
    `  compared   ${compared(report)}, in ${took(seconds.compare)}`,
  ];
  for (const { page, owner } of report.different.slice(0, PAGES_SHOWN)) {
    lines.push(`  different  page ${page} of ${owner ?? "(no table or index)"}`);
  }
  const unlisted = report.differing - Math.min(PAGES_SHOWN, report.different.length);
  if (unlisted > 0) lines.push(`  different  and ${unlisted} more pages`);
  lines.push(`  position   ${position ?? "not on record"}`);
  const found = integrity.split("\n").join("\n             ");
  lines.push(`  integrity  ${found}, in ${took(seconds.integrity)}`);
  for (const { sql, holds, error, seconds: each } of report.expectations) {
    const outcome = holds ? "holds" : error === null ? "DOES NOT HOLD" : `FAILED: ${error}`;
    lines.push(`  expected   ${sql.replace(/\s+/g, " ")}: ${outcome}, in ${took(each)}`);
  }
  lines.push(`  in all     ${took(seconds.total)}`);
  return lines;
}

function compared({ differing, pages, pageSize }: DrillReport): string {
  const all = `${pages} pages of ${pageSize} bytes`;
  return differing === 0
    ? `${all} with the primary, all equal`
    : `${differing} of ${all} DIFFER from the primary's`;
}

function took(seconds: number): string {
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}
