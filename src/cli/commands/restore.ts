/** `lockstep restore`: makes a replica the database again. */
import { parseArgs } from "node:util";
import { type RestoreReport, restore } from "../../restore.ts";
import { bytes, type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep restore [--force] [--json] REPLICA DEST

Makes a copy of REPLICA at DEST: written beside it, compared page by page, checked by SQLite,
synced, and only then put in its place. The old primary is refused from then on (its timeline is
older). The replica stays; the application starts with DEST and REPLICA in step. Neither may be
in use.

  --force  if there is a database at DEST, set it aside under a dated name, with its log
  --json   {"replica", "dest", "pages", "pageSize": number, "position": string | null,
            "timeline": number | null, "fenced": boolean, "setAside": string | null}
           (position and timeline are null, and fenced is false, if REPLICA never was a replica)

Examples:
  lockstep restore /mnt/usb/app.db /var/lib/app/app.db
  lockstep restore --force /mnt/usb/app.db /var/lib/app/app.db   # what stands there is set aside

Exit status: 0 restored, 1 failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" }, force: { type: "boolean" } },
  });
  const [replica, dest] = positionals;
  if (replica === undefined || dest === undefined || positionals.length > 2) {
    throw new UsageError("restore takes two paths.");
  }
  const speed = speedometer();
  const report = await restore(replica, dest, {
    force: values.force ?? false,
    onProgress(progress) {
      if (progress.phase === "integrity") io.note(`integrity_check ${progress.path} …`);
      else {
        const bytesPerSecond = speed(progress.bytesDone);
        io.progress({ what: progress.phase, ...progress, bytesPerSecond });
      }
    },
  });
  if (values.json) io.json(report);
  else for (const line of describe(report)) io.print(line);
  return 0;
}

// --- internal ---

function describe(report: RestoreReport): string[] {
  const { dest, replica, pages, pageSize, position, timeline, setAside, fenced } = report;
  const lines = [`restored ${dest}: ${bytes(pages * pageSize)}, equal to ${replica} and sound`];
  if (setAside !== null) lines.push(`the old database is now ${setAside}`);
  if (position === null) {
    lines.push(`${replica} has no record of being a replica: ${dest} is a database of its own`);
    return lines;
  }
  lines.push(`position ${position}; its old primary is refused from now on (timeline ${timeline})`);
  if (!fenced) {
    lines.pop();
    lines.push(`position ${position}`);
    lines.push(`NOT FENCED: ${replica} could not be marked; keep its old primary from starting`);
  }
  return lines;
}
