/** `lockstep sync`: makes the replica, or brings it to what the primary holds. */
import { parseArgs } from "node:util";
import { type SyncReport, sync } from "../../sync.ts";
import { assertFiles, copiesFrom } from "../copies.ts";
import { type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";

export const usage = `Usage: lockstep sync [--from primary|replica] [--json] PRIMARY REPLICA
       lockstep sync … sqlite3://PRIMARY:REPLICA

Does once what opening the database with this replica does: makes the first copy, sends what is
missing, or refuses if neither copy can be shown to contain the other. Neither may be in use.

  --from primary  where a start refuses: what PRIMARY holds is right; REPLICA is set aside under
                  a dated name and made anew. A replica that was promoted is not set aside.
  --from replica  what REPLICA holds is right; PRIMARY is set aside, as by lockstep restore
  --json          {"primary", "replica", "before": {"relation", "because"},
                   "position": string, "setAside": string | null}

Examples:
  lockstep sync /var/lib/app/app.db /mnt/usb/app.db
  lockstep sync --from primary /var/lib/app/app.db /mnt/usb/app.db   # after a refusal: the primary is right

Exit status: 0 the copies are in step, 1 failed or refused, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" }, from: { type: "string" } },
  });
  const { primary, replicas } = copiesFrom(positionals);
  assertFiles("sync", [primary, ...replicas]);
  const [replica] = replicas;
  if (primary === undefined || replica === undefined || replicas.length > 1) {
    throw new UsageError("sync takes a primary and one replica.");
  }
  const { from } = values;
  if (from !== undefined && from !== "primary" && from !== "replica") {
    throw new UsageError(`--from takes "primary" or "replica", not "${from}".`);
  }
  const speed = speedometer();
  const report = await sync(primary, replica, {
    from,
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

function describe({ replica, before, position, setAside }: SyncReport): string[] {
  const lines = [`in step: ${replica} (was: ${before.relation}; ${before.because})`];
  if (setAside !== null) lines.push(`set aside: ${setAside}`);
  lines.push(`position ${position}`);
  return lines;
}
