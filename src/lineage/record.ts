/**
 * What a record (sidecar.ts) says, read and checked. SQLite keeps no checksum over it: a byte that
 * rotted may leave a record that can be read and makes no sense. Then nothing of it is believed.
 *
 * It is whole if and only if every field is of its kind: words are integers of 32 bits, times and
 * counts are decimal digits in a string or integers that are exact.
 */
import type { Connection } from "../driver.ts";
import type { Position } from "./position.ts";
import type { Owner, SidecarEvent, SidecarState } from "./sidecar.ts";

export const FORMAT = 2;
/** One that has no version, nor anything beside it: what reads only that must not read this. */
const BEFORE = 1;

/** What has changed since the record was written last; see amendment.ts. */
export interface Amendment {
  readonly copyId: string;
  /** Of the record that it amends. */
  readonly version: number;
  readonly state: SidecarState;
  /** Positions that the record's history lacks, oldest first. */
  readonly history: readonly Position[];
}

export interface SidecarRecord {
  readonly state: SidecarState;
  /** How often it was written. */
  readonly version: number;
  /** What the history lacks, oldest first. */
  readonly lacking: readonly Position[];
}

/**
 * @param amendment what lies beside it; to be read before the record, unless that is locked
 * @returns null if nothing was recorded yet
 * @throws Error that says what is wrong with it
 */
export function readRecord(
  connection: Connection,
  amendment: () => Amendment | null,
): SidecarRecord | null {
  const rows = connection.all("SELECT key, value FROM state WHERE key <> 'owner'");
  if (rows.length === 0) return null;
  const { version = 0, ...fields }: Fields = {
    detached: [], // a record made before there were any
    ...Object.fromEntries(rows.map((row) => [row["key"], JSON.parse(String(row["value"]))])),
  };
  const wrong = wrongWith(fields);
  if (wrong !== null) throw new Error(wrong);
  if (!isCount(version)) throw new Error("its field version makes no sense");
  const state = { ...(fields as unknown as SidecarState), format: FORMAT };
  const record = { state, version: version as number, lacking: [] };
  const found = amendment();
  if (found?.copyId !== state.copyId || found.version !== version) return record;
  return { ...record, state: found.state, lacking: found.history };
}

/** @throws Error that says what is wrong with it */
export function readHistory(connection: Connection, lacking: readonly Position[]): Position[] {
  const rows = connection.all(
    "SELECT timeline,salt1,salt2,frame,sum1,sum2 FROM history ORDER BY id",
  );
  if (!rows.every(isPosition)) throw new Error("a position in its history makes no sense");
  return [...(rows as unknown[] as Position[]), ...lacking];
}

/** Is it what was written, every field of its kind? */
export function isAmendment(value: unknown): value is Amendment {
  if (!isFields(value) || !isText(value["copyId"]) || !isCount(value["version"])) return false;
  const { state, history } = value;
  const isWhole =
    isFields(state) && wrongWith(state) === null && state["copyId"] === value["copyId"];
  return isWhole && Array.isArray(history) && history.every(isPosition);
}

/** How many positions one statement takes. */
const ROWS = 100;

/** Appends to it, many rows at a time. */
export function insertHistory(connection: Connection, history: readonly Position[]): void {
  const at = new Date().toISOString();
  for (let i = 0; i < history.length; i += ROWS) {
    const rows = history.slice(i, i + ROWS);
    connection.all(
      `INSERT INTO history(timeline,salt1,salt2,frame,sum1,sum2,at)
       VALUES ${rows.map(() => "(?,?,?,?,?,?,?)").join()}`,
      ...rows.flatMap((p) => [p.timeline, p.salt1, p.salt2, p.frame, p.sum1, p.sum2, at]),
    );
  }
}

/** Null if there is none, or none that makes sense: it is for people, and proves nothing. */
export function readOwner(connection: Connection): Owner | null {
  const row = connection.all("SELECT value FROM state WHERE key='owner'")[0];
  const owner: unknown = row ? JSON.parse(String(row["value"])) : null;
  return isFields(owner) && isCount(owner["pid"]) && isText(owner["host"])
    ? (owner as unknown as Owner)
    : null;
}

/** Oldest first. They are for people: whatever stands there is text. */
export function readEvents(connection: Connection): SidecarEvent[] {
  const rows = connection.all("SELECT at, what, detail FROM event ORDER BY id");
  return rows.map(({ at, what, detail }) => ({
    at: String(at),
    what: String(what),
    detail: String(detail),
  }));
}

// --- internal ---

type Fields = Record<string, unknown>;
type Rule = (value: unknown) => boolean;

function wrongWith(state: Fields): string | null {
  if (state["format"] !== FORMAT && state["format"] !== BEFORE) {
    return `its format is ${state["format"]}, this Lockstep reads ${FORMAT}`;
  }
  const wrong = Object.entries(rules).find(([name, holds]) => !holds(state[name]));
  return wrong ? `its field ${wrong[0]} makes no sense` : null;
}

const rules: Readonly<Partial<Record<keyof SidecarState, Rule>>> = {
  databaseId: (value) => value === null || isText(value),
  copyId: isText,
  role: (value) => value === "primary" || value === "replica",
  timeline: isCount,
  generation: orNull((value) => isWords(value, "salt1", "salt2") && isBase(value["base"])),
  folded: orNull(
    ({ position, file, sums }) => isPosition(position) && isFingerprint(file) && isSums(sums),
  ),
  folding: (value) => typeof value === "boolean",
  apart: (value) => Array.isArray(value) && value.every(isText),
  detached: (value) => Array.isArray(value) && value.every(isDetached),
  resync: orNull((value) => isWords(value, "salt1", "salt2") && isPosition(value["to"])),
  streams: (value) =>
    value === undefined || (isFields(value) && Object.values(value).every(isCount)),
  deputy: (value) => value === undefined || value === null || isCount(value) || isText(value),
  leftAt: (value) =>
    value === undefined || (isFields(value) && Object.values(value).every(arePositions)),
  stream: (value) => value === undefined || value === null || isText(value),
};

function orNull(holds: (value: Fields) => boolean): Rule {
  return (value) => value === null || (isFields(value) && holds(value));
}

function isBase(value: unknown): boolean {
  return value === null || isPosition(value);
}

function isPosition(value: unknown): boolean {
  return (
    isFields(value) &&
    isCount(value["timeline"]) &&
    isWords(value, "salt1", "salt2", "frame", "sum1", "sum2")
  );
}

function arePositions(value: unknown): boolean {
  return Array.isArray(value) && value.every(isPosition);
}

function isDetached(value: unknown): boolean {
  const isPlain = isFields(value) && [value["path"], value["since"], value["code"]].every(isText);
  return isPlain && isBase(value["position"]);
}

function isFingerprint(value: unknown): boolean {
  const isDigits: Rule = (digits) => isText(digits) && /^-?\d+$/.test(digits);
  return isFields(value) && ["size", "mtimeNs", "inode"].every((name) => isDigits(value[name]));
}

/** A record made before there were any has none. */
function isSums(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (!isFields(value) || !isCount(value["pages"])) return false;
  const { total } = value;
  return total === null || (isText(total) && /^[0-9a-f]{16}$/.test(total));
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function isWords(value: Fields, ...names: string[]): boolean {
  return names.every((name) => value[name] === Number(value[name]) >>> 0);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
