/**
 * A database out of a stream: an image of some 200 MB, and the messages of 5000 small transactions behind it; from an archive, and
 * from three NATS servers. Before it is in its place all of it is verified and synced, and integrity_check has run. `search`: until the
 * first bytes of the image are there; `replay`: from the first message that was applied until all is synced.
 */
import fs from "node:fs";
import path from "node:path";
import { restoreStream } from "../../src/standby/restore.ts";
import { createArchive } from "../../src/stream/archive.ts";
import { openStream } from "../../src/stream/open.ts";
import { ledger, open } from "../ledger.ts";
import { Servers } from "../streams.ts";
import { template } from "../templates.ts";
import type { Figures, Workload } from "../workload.ts";

/** No other image is made than the first. */
const SETTINGS = { imageBytes: "1000000000000" };

export const workload: Workload = {
  title: "Restore out of a stream: 200 MB and 5000 transactions",
  ways: { archive: "out of an archive", nats: "from three NATS servers" },
  figures: {
    ...{ time: "ms", search: "ms", image: "ms", replay: "ms", check: "ms" },
    ...{ messages: "1", database: "MB" },
  },
  charts: [
    {
      name: "time",
      title: "Restore out of a stream",
      figures: ["search", "image", "replay", "check"],
    },
  ],
  rounds: ({ rounds }) => Math.min(rounds, 3),
  async trial({ way, directory, scratch, scale }) {
    const servers = way === "nats" ? await Servers.start(directory) : null;
    try {
      const address = servers ? await servers.make("bench", SETTINGS) : await archive(directory);
      const opened = open("lockstep", directory, {
        addresses: [address],
        template: template(scratch, scale.quick ? 8 : 200),
      });
      const commit = ledger(opened);
      for (let i = 0; i < (scale.quick ? 100 : 5000); i++) commit(i);
      opened.close();
      return await restored(address, path.join(directory, "restored.db"));
    } finally {
      await servers?.stop();
    }
  },
};

async function archive(directory: string): Promise<string> {
  const place = path.join(directory, "archive");
  await createArchive(place);
  return `archive:${place}?${new URLSearchParams(SETTINGS)}`;
}

async function restored(address: string, dest: string): Promise<Figures> {
  const began = performance.now();
  const { log, keys } = await openStream(address);
  let [image, replay, check] = [0, 0, 0];
  await restoreStream(log, dest, {
    keys,
    onProgress: ({ phase }) => {
      if (phase === "snapshot") image ||= performance.now();
      else replay ||= performance.now();
    },
    onCheck: () => void (check = performance.now()),
  });
  const ended = performance.now();
  const { last } = await log.ends();
  await log.close();
  return {
    ...{ time: ended - began, search: image - began, image: replay - image },
    ...{ replay: check - replay, check: ended - check, messages: last },
    database: fs.statSync(dest).size / 1e6,
  };
}
