/** What a replica is told of the primary that it becomes part of. */
import type { Copy } from "../lineage/describe.ts";
import type { Fingerprint } from "../lineage/fingerprint.ts";
import type { Position } from "../lineage/position.ts";
import type { Membership } from "./messages.ts";
import type { Primary } from "./primary.ts";

/**
 * @param at where the primary is, and what lies under its log
 * @param file if commits go on meanwhile: what its file is, and must stay
 */
export function membershipOf(
  { path, sidecar }: Primary,
  { position, base }: Pick<Copy, "position" | "base">,
  file: Fingerprint | null = null,
): Membership {
  const { databaseId, timeline } = sidecar.state;
  return {
    databaseId: databaseId as string,
    timeline,
    position: position as Position,
    base,
    primary: path,
    file,
    history: sidecar.history,
  };
}
