/**
 * The start's proofs that take all pages, for copies whose records prove nothing: moved files, lost
 * records, files that were put there by hand. The primary stands still and no copy is changed; a
 * difference is a refusal.
 */
import { codes, LockstepError } from "../errors.ts";
import { type Decision, decide } from "../lineage/decide.ts";
import type { Copy } from "../lineage/describe.ts";
import { refusal } from "../lineage/refusal.ts";
import type { Mirror } from "./mirror.ts";
import type { Primary } from "./primary.ts";

export interface Proof {
  /** Their images are the primary's. */
  readonly equal: readonly Mirror[];
  /** Their logs agree with the primary's, and so do the images where the shorter log ends. */
  readonly trusted: readonly Mirror[];
  /** How many frames the primary's log held meanwhile; null if nothing was compared to its end. */
  readonly frames: number | null;
  /** Was the primary in WAL mode? */
  readonly wasWal: boolean;
}

/** Compares what decide() wants compared. Leaves the primary open if there was anything. */
export function prove(primary: Primary, copy: Copy, mirrors: readonly Mirror[]): Proof {
  const work: Work[] = [];
  for (const mirror of mirrors) {
    const decision = decide(copy, mirror.copy as Copy);
    const { action } = decision;
    if (action.do === "compare") work.push({ mirror, decision, frame: null });
    if (action.do === "compare-at") work.push({ mirror, decision, frame: action.frame });
  }
  if (work.length === 0) return { equal: [], trusted: [], frames: null, wasWal: true };
  primary.open();
  primary.standStill();
  try {
    for (const { mirror, frame } of work) {
      mirror.post({ type: "compare", primary: primary.path, frame });
    }
    for (const each of work) refuseDifference(copy, each);
    const equal = work.filter(({ frame }) => frame === null).map(({ mirror }) => mirror);
    const trusted = work.filter(({ frame }) => frame !== null).map(({ mirror }) => mirror);
    const { walMode: wasWal } = primary;
    const frames = equal.length > 0 && wasWal ? primary.readIndex().frames : null;
    return { equal, trusted, frames, wasWal };
  } catch (error) {
    for (const mirror of mirrors) mirror.giveUp();
    throw error;
  } finally {
    primary.release();
  }
}

// --- internal ---

interface Work {
  readonly mirror: Mirror;
  readonly decision: Decision;
  /** Where in both logs the images end; null: at the end of each. */
  readonly frame: number | null;
}

function refuseDifference(copy: Copy, { mirror, decision }: Work): void {
  const { action } = decision;
  const differs = (what: string): LockstepError =>
    refusal(copy, mirror.copy as Copy, {
      relation: action.do === "compare" ? action.otherwise : "diverged",
      action: { do: "refuse" },
      because: `${what}, and ${decision.because}`,
    });
  try {
    const { differing, pages } = mirror.wait("compared");
    if (differing > 0) throw differs(`${differing} of ${pages} pages differ`);
  } catch (error) {
    // A log that does not fit the file beneath it makes no database that could be compared.
    const isOdd = error instanceof LockstepError && error.code === codes.VERIFY;
    throw isOdd ? differs(`${error.copy}: ${error.what}`) : error;
  }
}
