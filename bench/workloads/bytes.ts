/**
 * Bytes written to the replica (its file, its log and the record beside it), divided by what SQLite
 * wrote to the primary's file and log, over many checkpoints. Counted by the library that also
 * injects faults into the tests: it stands between the process and the C library and records each
 * write. What goes through a memory map (the wal-index) is not counted, on either side.
 */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { Faults, shim } from "../../test/faults/shim.ts";
import { copyPath, ledger, open, warmUp } from "../ledger.ts";
import { type Case, Unavailable, type Workload } from "../workload.ts";

export const workload: Workload = {
  title: "Bytes written for small transactions, checkpoints included",
  ways: { lockstep: "Lockstep, one replica" },
  figures: { primary: "MB", replica: "MB", "record beside the replica": "MB", ratio: "x" },
  charts: [{ name: "bytes", title: "Bytes written", figures: ["primary", "replica"] }],
  rounds: ({ rounds }) => Math.min(rounds, 3),
  environment: (one) => recorder(one).env,
  trial(one) {
    const opened = open("lockstep", join(one.directory, "copies"));
    const commit = ledger(opened);
    const first = warmUp(opened, commit);
    const faults = recorder(one);
    faults.clear();
    const commits = one.scale.quick ? 3000 : 20_000;
    for (let i = 0; i < commits; i++) commit(first + i);
    const writes = faults.record().filter(({ kind }) => kind === "write");
    opened.close();

    const [primaryPath, replicaPath] = [0, 1].map((copy) => copyPath("", copy)) as [string, string];
    const written = (belongs: (path: string) => boolean): number =>
      writes.reduce((sum, { path, result }) => sum + (belongs(path) ? result : 0), 0) / 1e6;
    const primary = written((path) => path === primaryPath || path === `${primaryPath}-wal`);
    const replica = written((path) => path.startsWith(dirname(replicaPath)));
    const record = written((path) => path.startsWith(`${replicaPath}-lockstep`));
    return { primary, replica, "record beside the replica": record, ratio: replica / primary };
  },
};

function recorder({ directory }: Case): Faults {
  if ("reason" in shim) throw new Unavailable(shim.reason);
  const [copies, scratch] = [join(directory, "copies"), join(directory, "calls")];
  for (const each of [copies, scratch]) mkdirSync(each, { recursive: true });
  return new Faults(copies, scratch);
}
