/**
 * What a killed process left behind, kept so that each check starts from the same state.
 *
 * A copy of a database file has another inode, and so to Lockstep it is another file, as it should
 * be. So the check that reopens with Lockstep happens in place, and afterwards every file gets back
 * its contents and times, and keeps its inode.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** The two disks, as directories. */
const disks = ["main", "replica"];

export function keep(directory: string): void {
  copyDisks(directory, fresh(join(directory, "left")));
}

/** A copy to look at; returns where it lies. */
export function layOut(directory: string, name: string): string {
  const to = fresh(join(directory, name));
  copyDisks(join(directory, "left"), to);
  return to;
}

export function putBack(directory: string): void {
  const left = join(directory, "left");
  for (const disk of disks) {
    for (const name of readdirSync(join(directory, disk))) {
      if (!existsSync(join(left, disk, name))) rmSync(join(directory, disk, name));
    }
  }
  copyDisks(left, directory);
}

function fresh(directory: string): string {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  return directory;
}

/** With `cp`, which keeps times to the nanosecond and writes into a file that is there. */
function copyDisks(from: string, to: string): void {
  execFileSync("cp", ["-Rp", ...disks.map((disk) => join(from, disk)), to]);
}
