/** `lockstep promote`: makes a standby the primary. */
import { parseArgs } from "node:util";
import { loadDriver } from "../../driver.ts";
import { readSidecar } from "../../lineage/unlocked.ts";
import { promote } from "../../standby/promote.ts";
import { untilInterrupted } from "../interrupt.ts";
import { type Io, UsageError } from "../io.ts";
import { stageBar } from "../stage-bar.ts";
import { openNamed } from "../streams.ts";

export const usage = `Usage: lockstep promote [--keys SOURCE] [--json] [STREAM] DEST

Makes DEST, a copy that followed STREAM or was restored to its end, the primary: brings it to the
stream's end, puts the promotion there, and records it. From that moment the old primary can no longer
commit, whatever it believes. Of several promotions at one time one wins; the others say so. Open DEST
with the stream as its replica to go on. No follower may be running on DEST. STREAM is the one that DEST
has followed if it is not given: by its name alone, without a user and settings.

  --keys SOURCE  the keys that the stream is sealed with: a file of lines NUMBER:KEY, or env:NAME
  --json         {"stream", "dest", "position": string, "timeline", "message": number}

Examples:
  lockstep promote /var/lib/app/standby.db
  lockstep promote archive:/mnt/nas/app /var/lib/app/standby.db

Exit status: 0 promoted, 1 failed, or another came first, 2 wrong usage.`;

export async function run(args: string[], io: Io): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" }, keys: { type: "string" } },
  });
  const dest = positionals.at(-1);
  if (dest === undefined || positionals.length > 2) {
    throw new UsageError("promote takes a stream, if it is not the one on record, and a path.");
  }
  const stream = positionals.length === 2 ? positionals[0] : recorded(dest);
  if (stream === undefined) {
    throw new UsageError(`${dest} has no stream on record: name it, archive:/path for instance.`);
  }
  const { log, keys } = await openNamed(stream, values.keys);
  try {
    const report = await untilInterrupted((signal) =>
      promote(log, dest, { keys, signal, onProgress: stageBar(io) }),
    );
    if (values.json) io.json(report);
    else {
      io.print(`promoted ${report.dest}: the primary now, on timeline ${report.timeline}`);
      io.print(
        `position ${report.position}; the old primary is refused from message ${report.message} on`,
      );
    }
    return 0;
  } finally {
    await log.close();
  }
}

// --- internal ---

function recorded(dest: string): string | undefined {
  return readSidecar(loadDriver("node:sqlite"), dest)?.state.stream ?? undefined;
}
