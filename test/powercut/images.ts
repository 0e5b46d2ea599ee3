/**
 * What databases hold, by their bytes as SQLite gives them (`serialize`, which applies the log). Equal ones
 * hold the same and are as sound: only the first is read row by row, and checked.
 */
import { hash } from "node:crypto";
import { type Contents, contentsOf } from "../crash/contents.ts";
import type { Connection } from "../crash/perform.ts";
import { type Examined, integrityOf } from "../support/files.ts";
import { crcsOf } from "../support/sums.ts";

export class Images implements Examined {
  readonly #contents = new Map<string, Contents>();
  readonly #integrity = new Map<string, string>();
  readonly #crcs = new Map<string, Uint32Array>();

  contentsOf(db: Connection): Contents {
    return once(this.#contents, db.serialize(), () => contentsOf(db));
  }

  integrity(file: string, bytes: Uint8Array): string {
    return once(this.#integrity, bytes, () => integrityOf(file));
  }

  crcs(bytes: Uint8Array, pageSize: number): Uint32Array {
    return once(this.#crcs, bytes, () => crcsOf(bytes, pageSize));
  }
}

// --- internal ---

function once<Value>(known: Map<string, Value>, bytes: Uint8Array, find: () => Value): Value {
  const key = hash("sha1", bytes, "base64");
  const value = known.get(key) ?? find();
  known.set(key, value);
  return value;
}
