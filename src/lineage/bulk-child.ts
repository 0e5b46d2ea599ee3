/**
 * The process that reads whole database files (bulk.ts):
 *
 *   node bulk-child.js '{"task": "copy" | "compare" | "delta" | "scrub", …}'
 */
import { LockstepError, toErrorData } from "../errors.ts";
import type { ByteProgress } from "../wal/image.ts";
import type { BulkMessage, BulkResult, BulkTask, SystemError } from "./bulk.ts";
import type { ScrubResult } from "./scrub-pages.ts";

const PROGRESS_EVERY_MS = 100;

async function main(task: BulkTask): Promise<void> {
  const say = (message: BulkMessage): void =>
    void process.stdout.write(`${JSON.stringify(message)}\n`);
  let said = 0;
  const progress: ByteProgress = (bytesDone, bytesTotal) => {
    const now = performance.now();
    if (now - said < PROGRESS_EVERY_MS && bytesDone < bytesTotal) return;
    said = now;
    say({ progress: { bytesDone, bytesTotal } });
  };
  try {
    say({ result: await perform(task, progress) });
  } catch (error) {
    const { message, code, errno, file } = error as SystemError;
    if (error instanceof LockstepError) say({ refusal: toErrorData(error) });
    else say({ error: { message, code, errno, file } });
    process.exitCode = 1;
  }
}

async function perform(task: BulkTask, progress: ByteProgress): Promise<BulkResult | ScrubResult> {
  switch (task.task) {
    case "copy": {
      const { copyFile } = await import("./copy.ts");
      return copyFile(task.from, task.to, progress, task.sums);
    }
    case "compare": {
      const { compareImages } = await import("../wal/image.ts");
      const { pages, differing } = compareImages(
        task.from,
        task.to,
        progress,
        task.frame ?? undefined,
      );
      return { pages, differing };
    }
    case "scrub": {
      const { scrubPages } = await import("./scrub-pages.ts");
      return scrubPages(task, progress);
    }
    case "delta": {
      const [{ writeDelta }, { SumsFile }] = [
        await import("./delta.ts"),
        await import("./sums.ts"),
      ];
      const sums = task.sums === null ? null : SumsFile.open(task.sums, "r");
      try {
        return writeDelta(task.from, task.to, task.log, task, progress, sums);
      } finally {
        sums?.close();
      }
    }
  }
}

await main(JSON.parse(process.argv[2] as string) as BulkTask);
