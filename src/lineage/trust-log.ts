/**
 * The log was proven to stand on this file although its fingerprint changed: from here on the file is
 * as in the middle of a checkpoint, until the next one records a new fingerprint. What its sums said
 * may be of another file.
 */
import type { Sidecar } from "./sidecar.ts";

export function trustLog(sidecar: Sidecar): void {
  const { folded } = sidecar.state;
  sidecar.update({ folding: true, folded: folded && { ...folded, sums: null } });
}
