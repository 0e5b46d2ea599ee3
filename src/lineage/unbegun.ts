/**
 * A generation that was put on record and never began: the process died before its log's header was
 * written, and the log is still the one before it, folded whole. To fold that log once more changes the
 * file, and a file may change only beneath the log on record: so the record is put right first.
 */
import { sameSalts } from "../wal/format.ts";
import type { Copy } from "./describe.ts";
import { samePosition } from "./position.ts";
import type { Sidecar } from "./sidecar.ts";

/**
 * @param copy as it was just described; what it holds stays the same
 * @returns was there one? Then the copy's record has changed
 */
export function takeBackUnbegun(sidecar: Sidecar, { log, position }: Copy): boolean {
  const { generation, folded } = sidecar.state;
  if (!log || !position || !generation || sameSalts(generation, log.header)) return false;
  if (!folded || !samePosition(folded.position, position)) return false;
  const { salt1, salt2 } = log.header;
  // durable: the log that is folded again is on record
  sidecar.update({ generation: { salt1, salt2, base: null } });
  return true;
}
