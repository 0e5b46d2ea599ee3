/** `lockstep scrub`: finds pages that have rotted on a disk, and heals them from another copy. */
import { parseArgs } from "node:util";
import { type ScrubReport, scrub } from "../../scrub.ts";
import { assertFiles, copiesFrom } from "../copies.ts";
import { type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep scrub [--json] PRIMARY REPLICA…
       lockstep scrub … sqlite3://PRIMARY:REPLICA

Reads every page of all copies and compares it with the checksum that was kept when it was written.
A page that has rotted is kept aside (COPY-lockstep-rot) and written anew, in one transaction, from a
copy in which it has not. A page that has rotted in every copy is named, and nothing is changed. None of
the copies may be in use. Without checksums beside the copies it compares the copies, and makes them.

  --json   {"sound": boolean, "pages": number, "pageSize": number, "position": string,
            "rotten": [{"page": number, "owner": string | null, "rotten": [path, …],
                        "healedFrom": path | null}, …],
            "different": [{"page": number, "owner": string | null}, …]   (the first 10,000 of both),
            "lost": number, "differing": number                          (how many in all),
            "copies": [{"path", "healed": number, "keptAside": path | null,
                        "sums": "held" | "made" | "rebuilt"}, …]}

Examples:
  lockstep scrub /var/lib/app/app.db /mnt/usb/app.db

Exit status: 0 all pages are sound now, 1 some are not or failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" } },
  });
  const { primary, replicas } = copiesFrom(positionals);
  assertFiles("scrub", [primary, ...replicas]);
  if (primary === undefined || replicas.length === 0) {
    throw new UsageError("scrub takes a primary and its replicas.");
  }
  const speed = speedometer();
  const report = await scrub(primary, replicas, {
    onProgress({ phase, bytesDone, bytesTotal }) {
      io.progress({ what: phase, bytesDone, bytesTotal, bytesPerSecond: speed(bytesDone) });
    },
  });
  if (values.json) io.json(report);
  else for (const line of describe(report)) io.print(line);
  return report.sound ? 0 : 1;
}

// --- internal ---

const PAGES_SHOWN = 20;

function describe(report: ScrubReport): string[] {
  const { pages, pageSize, copies, lost, differing } = report;
  const healed = copies.reduce((sum, copy) => sum + copy.healed, 0);
  const lines = [`read: ${pages} pages of ${pageSize} bytes, in ${copies.length} copies`];
  for (const copy of copies) {
    if (copy.sums !== "held") lines.push(`checksums ${copy.sums}: ${copy.path}`);
  }
  for (const { page, owner, rotten, healedFrom } of report.rotten.slice(0, PAGES_SHOWN)) {
    const where = `page ${page} of ${owner ?? "(no table or index)"}`;
    const outcome =
      healedFrom === null ? "LOST in all copies, not changed" : `healed from ${healedFrom}`;
    lines.push(`rotten: ${where} in ${rotten.join(", ")}: ${outcome}`);
  }
  for (const { page, owner } of report.different.slice(0, PAGES_SHOWN)) {
    lines.push(
      `DIFFERENT, no checksum can tell: page ${page} of ${owner ?? "(no table or index)"}`,
    );
  }
  for (const { path, healed: n, keptAside } of copies) {
    if (keptAside) lines.push(`${n} pages of ${path} were healed; as they were: ${keptAside}`);
  }
  if (lost > 0) lines.push(`NOT SOUND: ${lost} pages have rotted in every copy`);
  if (differing > 0) lines.push(`NOT SOUND: ${differing} pages differ`);
  if (report.sound) lines.push(healed > 0 ? "sound again" : "sound");
  return lines;
}
