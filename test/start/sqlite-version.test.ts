/** Who has a SQLite that loses commits is told, once, in which versions it does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { warnOfVersion } from "../../src/gate/sqlite-version.ts";

test("each bug is told once, of the versions that have it", (t) => {
  const told: string[] = [];
  t.mock.method(process, "emitWarning", (message: string, { code }: { code: string }) => {
    assert.match(
      message,
      /^the driver brings SQLite 3\.\d+\.\d+, in which .* Mended in 3\.5[01]\.\d/,
    );
    told.push(code);
  });
  const tells = (version: string): string[] => {
    told.length = 0;
    warnOfVersion(version, "the driver");
    return [...told];
  };
  for (const version of ["3.51.3", "3.50.7", "3.50.8", "3.53.4", "3.100.0", "4.0.0"]) {
    assert.deepEqual(tells(version), [], version);
  }
  assert.deepEqual(tells("3.50.2"), ["LOCKSTEP_WAL_RESET_BUG"]);
  assert.deepEqual(tells("3.44.6"), ["LOCKSTEP_UNSUMMED_BUG"]);
  assert.deepEqual(tells("3.9.1"), [], "once");
});
