/** The database as it was before Lockstep: none, an empty one, or one with contents of its own. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Random } from "./random.ts";

export interface Paths {
  readonly primary: string;
  readonly replica: string;
  /** A plain database with the same contents, for the oracle. */
  readonly oracle: string;
}

export function prepare(directory: string, random: Random): Paths {
  for (const name of ["main", "replica"]) mkdirSync(join(directory, name));
  const paths = {
    primary: join(directory, "main", "app.db"),
    replica: join(directory, "replica", "app.db"),
    oracle: join(directory, "oracle.db"),
  };
  if (random.oneIn(4)) return paths;

  const db = new DatabaseSync(paths.primary);
  db.exec(`PRAGMA page_size = ${random.pick([512, 1024, 4096, 4096, 4096, 16384, 65536])}`);
  db.exec(`PRAGMA auto_vacuum = ${random.pick([0, 0, 1, 2])}`);
  db.exec(`PRAGMA journal_mode = ${random.pick(["WAL", "DELETE", "TRUNCATE"])}`);
  if (random.oneIn(2)) {
    db.exec("CREATE TABLE before (id INTEGER PRIMARY KEY, data BLOB)");
    const insert = db.prepare("INSERT INTO before (data) VALUES (?)");
    db.exec("BEGIN");
    for (let i = random.below(300); i > 0; i--) insert.run(random.bytes(random.below(8000)));
    db.exec("COMMIT");
  } else db.exec("VACUUM");
  db.close();
  copyFileSync(paths.primary, paths.oracle);
  return paths;
}
