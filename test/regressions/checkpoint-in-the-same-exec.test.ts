/**
 * One exec() that commits and then folds or truncates the log hid the commit from the gate: the log
 * was empty again when it was looked at, and exec() returned.
 */
import { test } from "node:test";
import { Scene } from "../support/scene.ts";

for (const mode of ["", "(FULL)", "(RESTART)", "(TRUNCATE)"]) {
  test(`a commit and PRAGMA wal_checkpoint${mode} in one exec reach the replica`, (t) => {
    const scene = Scene.make(t);
    scene.life((db) => db.put());
    scene.life((db) => {
      db.exec("PRAGMA busy_timeout=100"); // a checkpoint waits so long for the read mark, in vain
      for (let n = 100; n < 102; n++) {
        db.exec(`INSERT INTO t VALUES(${n}, zeroblob(10)); PRAGMA wal_checkpoint${mode}`);
        scene.acknowledged.set(n, 10);
        const burned = scene.crashImage();
        burned.acknowledged.set(n, 10);
        burned.life(); // both copies, as a kill -9 now would leave them, hold it
      }
    });
  });
}
