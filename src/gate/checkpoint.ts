/**
 * Who may restart the log, and when: nobody, until every copy's file holds all of it.
 *
 * The order is the point. The replicas first, then the primary; the record beside each file after
 * the file is synced and while its log still stands; the read mark is given up last. Only then may
 * the next commit begin a new generation. At any step readers may be in the way: then everything
 * stays as it is and the log grows until the next try.
 */
import { sameSalts } from "../wal/format.ts";
import { type Gate, restarted } from "./gate.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

export interface CheckpointOutcome {
  readonly done: boolean;
  /** If not done: who was in the way. */
  readonly because: string;
}

export function checkpointAll(
  primary: Primary,
  mirrors: readonly Mirror[],
  gate: Gate,
): CheckpointOutcome {
  // 0. With no frames in the log there is nothing to fold.
  if (primary.readIndex().frames === 0) {
    if (!primary.foldedHere()) throw restarted(primary.path);
    return { done: true, because: "" };
  }

  // 1. Move the read mark to the end of the log; it still keeps the generation from restarting.
  primary.hold(); // durable: the read mark moves to the end
  if (!sameSalts(primary.readIndex(), primary.position)) throw restarted(primary.path);

  // 2. What another connection committed since must be on the replicas as well.
  gate.pass();

  // 3. The replicas fold, all at once.
  for (const mirror of mirrors) mirror.post({ type: "fold" });
  const reports = mirrors.map((mirror) => mirror.wait("folded"));
  const blocked = reports.findIndex((report) => !report.done);
  // durable: no restart before every replica is folded
  if (blocked >= 0) {
    return { done: false, because: `${mirrors[blocked]?.path}: ${reports[blocked]?.because}` };
  }

  // 4. The primary folds; another connection's newer commits or older readers leave a rest.
  // durable: no restart before the primary is folded
  if (!primary.fold()) return { done: false, because: `${primary.path}: a reader is in the way` };

  // 5. Its file alone now holds the position.
  primary.recordFolded(primary.position); // durable: the record before the restart

  // 6. The next commit may restart the log; nobody may fold that before it was seen here.
  primary.hold();
  return { done: true, because: "" };
}
