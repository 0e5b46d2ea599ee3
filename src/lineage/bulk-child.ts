/**
 * The process that reads whole database files (bulk.ts):
 *
 *   node bulk-child.js '{"task": "copy" | "compare" | "delta" | "scrub", …}'
 *
 * Without a task it waits for one (child.ts), and has meanwhile loaded what most of them take.
 */
import type { ByteProgress } from "../wal/image.ts";
import { beChild, seldom } from "./be-child.ts";
import type { BulkResult, BulkTask, Bytes } from "./bulk.ts";
import type { ScrubResult } from "./scrub-pages.ts";

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
      const [{ writeDelta }, { SumsFile }, { naming }] = [
        await import("./delta.ts"),
        await import("./sums.ts"),
        await import("../wal/scan.ts"),
      ];
      const source = task.sums;
      const sums = source === null ? null : naming(source, () => SumsFile.open(source, "r"));
      try {
        return writeDelta(task.from, task.to, task.log, task, progress, sums);
      } finally {
        sums?.close();
      }
    }
  }
}

await beChild<BulkTask, Bytes>(
  (task, progress) => {
    const tell = seldom(progress);
    return perform(task, (bytesDone, bytesTotal) => {
      tell({ bytesDone, bytesTotal }, bytesDone >= bytesTotal);
    });
  },
  () => Promise.all([import("./copy.ts"), import("./delta.ts")]),
);
