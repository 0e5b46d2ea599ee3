/** `lockstep restore`: makes a replica the database again. */
import { parseArgs } from "node:util";
import { isStream } from "../../address.ts";
import { type RestoreReport, restore } from "../../restore.ts";
import { restoreStream } from "../../standby/restore.ts";
import { untilInterrupted } from "../interrupt.ts";
import { bytes, type Io, UsageError } from "../io.ts";
import { speedometer } from "../speed.ts";
import { stageBar } from "../stage-bar.ts";
import { openNamed } from "../streams.ts";

export const usage = `Usage: lockstep restore [--force] [--json] REPLICA DEST
       lockstep restore [--at TIME|POSITION] [--keys SOURCE] [--force] [--json] STREAM DEST

Makes a copy of REPLICA at DEST: written beside it, compared page by page, checked by SQLite,
synced, and only then put in its place. The old primary is refused from then on (its timeline is
older). The replica stays; the application starts with DEST and REPLICA in step. Neither may be
in use.

Out of STREAM, nats://host/name or archive:/path, DEST is made from a snapshot and what follows it, verified
by checksum, checked by SQLite. To the end it is a copy of the stream, which lockstep follow and
lockstep promote go on with; an earlier state is a database of its own. The stream is not changed.

  --at     the commit to restore: its position, timeline/generation/frame/checksum, or a time with its
           zone, 2026-01-31T12:00:00Z: the last commit that the stream had then. Default: the last
  --keys   the keys that the stream is sealed with: a file of lines NUMBER:KEY, or env:NAME
  --force  if there is a database at DEST, set it aside under a dated name, with its log
  --json   of a stream: {"stream", "dest", "pages", "pageSize": number, "position", "time": string,
            "isReplica": boolean, "setAside": string | null}; of a replica:
           {"replica", "dest", "pages", "pageSize": number, "position": string | null,
            "timeline": number | null, "fenced": boolean, "setAside": string | null}
           (position and timeline are null, and fenced is false, if REPLICA never was a replica)

Examples:
  lockstep restore /mnt/usb/app.db /var/lib/app/app.db
  lockstep restore --force /mnt/usb/app.db /var/lib/app/app.db   # what stands there is set aside
  lockstep restore --at 2026-01-31T12:00:00Z archive:/mnt/nas/app /tmp/before.db

Exit status: 0 restored, 1 failed, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...{ json: { type: "boolean" }, force: { type: "boolean" } },
      ...{ at: { type: "string" }, keys: { type: "string" } },
    },
  });
  const [replica, dest] = positionals;
  if (replica === undefined || dest === undefined || positionals.length > 2) {
    throw new UsageError("restore takes two paths, or a stream and a path.");
  }
  if (isStream(replica)) return fromStream(replica, dest, values, io);
  if (values.at !== undefined || values.keys !== undefined) {
    throw new UsageError("--at and --keys are for streams: a replica holds its last commit only.");
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

async function fromStream(
  stream: string,
  dest: string,
  values: { json?: boolean; force?: boolean; at?: string; keys?: string },
  io: Io,
): Promise<0 | 1> {
  const { log, keys } = await openNamed(stream, values.keys);
  try {
    const { at, force = false } = values;
    const report = await untilInterrupted((signal) =>
      restoreStream(log, dest, {
        ...{ keys, at, force, signal, onProgress: stageBar(io) },
        onCheck: (path) => io.note(`integrity_check ${path} …`),
      }),
    );
    if (values.json) io.json(report);
    else {
      const { pages, pageSize, setAside, position, time, isReplica } = report;
      io.print(`restored ${report.dest}: ${bytes(pages * pageSize)}, verified and sound`);
      if (setAside !== null) io.print(`the old database is now ${setAside}`);
      io.print(`position ${position}, taken at ${time}`);
      if (!isReplica) io.print("it is an earlier state, and a database of its own");
    }
    return 0;
  } finally {
    await log.close();
  }
}

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
