/** When connections of a thread may share one hub: if they ask for the same. */
import type { DriverName } from "../driver.ts";
import { codes, LockstepError } from "../errors.ts";
import type { Durability } from "../options.ts";
import type { HubOptions } from "./foreign-start.ts";

/** Do both ask for the same replicas, and for the same of them? */
export function isSame(a: HubOptions, b: HubOptions): boolean {
  return (
    a.durability === b.durability &&
    a.minCopies === b.minCopies &&
    (a.foreign === undefined) === (b.foreign === undefined) &&
    a.replicas.length === b.replicas.length &&
    a.replicas.every((path, i) => path === b.replicas[i])
  );
}

export function openedOtherwise(
  copy: string,
  driver: DriverName,
  durability: Durability,
): LockstepError {
  return new LockstepError(codes.BAD_OPTION, {
    copy,
    what: `This thread has it open already with ${driver}, durability ${durability} and its replicas`,
    state: "The open connection is not affected",
    next: "Open it with the same of all three, or close the other connection first",
  });
}
