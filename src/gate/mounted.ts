/**
 * A replica whose disk is not mounted looks like one that was never made: its mount point is an
 * empty directory, on the primary's own disk. A copy there would survive nothing.
 */
import { codes, LockstepError } from "../errors.ts";
import type { Copy } from "../lineage/describe.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

/** @throws LockstepError REPLICA_GONE if a replica that was on a disk of its own is not any more */
export function assertMounted(primary: Primary, copy: Copy, mirrors: readonly Mirror[]): void {
  for (const { path, copy: replica } of mirrors) {
    const wasApart = primary.sidecar.state.apart.includes(path);
    if (!wasApart || replica?.file !== "missing" || replica.device !== copy.device) continue;
    throw new LockstepError(codes.REPLICA_GONE, {
      copy: path,
      what: "It was on a disk of its own; now its directory is empty and on the primary's disk",
      state: "Nothing was changed",
      next: "Mount the replica's disk. If it is to be on the primary's disk from now on, name another path",
    });
  }
}

/** Remembers which replicas are on file systems of their own. */
export function rememberDisks(primary: Primary, copy: Copy, mirrors: readonly Mirror[]): void {
  const here = new Set(mirrors.map(({ path }) => path));
  const before = primary.sidecar.state.apart;
  const apart = [
    ...before.filter((path) => !here.has(path)),
    ...mirrors.filter((mirror) => mirror.copy?.device !== copy.device).map(({ path }) => path),
  ];
  const same = apart.length === before.length && apart.every((path) => before.includes(path));
  if (!same) primary.sidecar.update({ apart });
}
