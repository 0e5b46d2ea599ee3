/**
 * Damage to what a record says, not to how it is kept: SQLite has no checksum that would tell. Values
 * of the wrong kind, fields that are missing, numbers that are almost right.
 */
import { DatabaseSync } from "node:sqlite";
import type { Random } from "../crash/random.ts";

/** Changes one thing that the record at `file` says; leaves it alone if SQLite cannot read it. */
export function forgeRecord(file: string, random: Random): void {
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(file);
    db.exec("PRAGMA synchronous=OFF");
    random.pick([change, change, change, field, field, field, rename, remove, history])(db, random);
  } catch {
    // It is no database any more, or was emptied before.
  } finally {
    db?.close();
  }
}

const VALUES = [null, 0, -1, 1.5, 2 ** 40, "", "x", [], {}, [null], true, false, "7"];

type Forgery = (db: DatabaseSync, random: Random) => void;

const change: Forgery = (db, random) => {
  const value = random.oneIn(4) ? random.pick(["{", "nul", "", "\0"]) : aValue(random);
  db.prepare("UPDATE state SET value = ? WHERE key = ?").run(value, aKey(db, random));
};

/** A field somewhere inside of a value. */
const field: Forgery = (db, random) => {
  const key = random.pick(["folded", "generation", "resync", aKey(db, random)]);
  const row = db.prepare("SELECT value FROM state WHERE key = ?").get(key);
  const whole = JSON.parse(String(row?.["value"])) as Record<string, unknown>;
  let inside = whole;
  for (;;) {
    const name = random.pick(Object.keys(inside ?? {}));
    const next = inside[name];
    if (typeof next === "object" && next !== null && !random.oneIn(4)) {
      inside = next as Record<string, unknown>;
      continue;
    }
    if (random.oneIn(4)) delete inside[name];
    else
      inside[name] = typeof next === "number" && random.oneIn(2) ? next + 1 : random.pick(VALUES);
    break;
  }
  db.prepare("UPDATE state SET value = ? WHERE key = ?").run(JSON.stringify(whole), key);
};

const rename: Forgery = (db, random) => {
  db.prepare("UPDATE state SET key = key || 'x' WHERE key = ?").run(aKey(db, random));
};

const remove: Forgery = (db, random) => {
  if (random.oneIn(3)) db.exec(`DROP TABLE ${random.pick(["state", "history", "event"])}`);
  else db.prepare("DELETE FROM state WHERE key = ?").run(aKey(db, random));
};

const history: Forgery = (db, random) => {
  const column = random.pick(["timeline", "salt1", "frame", "sum2", "at"]);
  const value = random.pick(["x", -1, 2 ** 40, 1.5]);
  db.prepare(`UPDATE history SET ${column} = ? WHERE id % 2 = ?`).run(value, random.below(2));
};

function aKey(db: DatabaseSync, random: Random): string {
  const keys = db.prepare("SELECT key FROM state ORDER BY key").all();
  return String(random.pick(keys)?.["key"]);
}

function aValue(random: Random): string {
  return JSON.stringify(random.pick(VALUES));
}
