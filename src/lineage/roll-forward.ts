/**
 * The primary is behind its replica: a torn tail, a disk that lied, a log that was deleted. The
 * replica's log takes the place of its own before anyone reads the primary: first what the primary
 * has goes into its file, then the whole log appears beside it in one rename. At every instant it
 * is a database, the old state or the new.
 */
import fs from "node:fs";
import path from "node:path";
import type { Driver } from "../driver.ts";
import { syncDirectory } from "../targets/directory.ts";
import { type Copy, describeCopy, logFrames, walPath } from "./describe.ts";
import { assertNobodyHasOpen, busy, foldAndRecord } from "./fold.ts";
import { copyLog } from "./log-copy.ts";
import { type Position, samePosition } from "./position.ts";
import type { Sidecar } from "./sidecar.ts";

/**
 * Makes the primary hold what the replica holds, durably.
 * @param log where the replica's log is
 */
export function rollForward(
  driver: Driver,
  sidecar: Sidecar,
  primary: Copy,
  replica: Copy,
  log: string,
): void {
  const from = primary.position as Position;
  const to = replica.position as Position;
  const now = describeCopy(primary.path, sidecar).position;
  // durable: nothing is rolled over what another program wrote meanwhile
  if (!now || !samePosition(now, from)) throw busy(primary.path);
  // durable: what the primary has goes into its file
  foldAndRecord(driver, sidecar, { position: from, frames: logFrames(primary) });
  const fresh = `${primary.path}-lockstep-new`;
  fs.rmSync(fresh, { force: true });
  copyLog(log, fresh, to, fs.statSync(primary.path).mode);
  const { salt1, salt2 } = to;
  // durable: rolled forward: recorded, then named
  sidecar.update(
    { generation: { salt1, salt2, base: replica.base ?? from } },
    { history: [from], event: ["rolled forward", `to frame ${to.frame} of ${replica.path}`] },
  );
  assertNobodyHasOpen(primary.path);
  fs.renameSync(fresh, walPath(primary.path)); // durable: rolled forward: named
  syncDirectory(path.dirname(primary.path)); // and again when the log is opened, before it is used
}
