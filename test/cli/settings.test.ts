/** Settings from options, the environment and a file: which of them counts, and how an error says where. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { UsageError } from "../../src/cli/io.ts";
import { readSettings, type Settings } from "../../src/cli/settings.ts";
import { scratch } from "../scratch.ts";

const OPTIONS = {
  "replica-timeout": { type: "string" },
  json: { type: "boolean" },
} as const;

function read(args: string[], env: NodeJS.ProcessEnv = {}): Settings {
  return readSettings(args, OPTIONS, ["primary", "replica"], env);
}

function configFile(t: TestContext, ...lines: string[]): string {
  const file = path.join(scratch(t), "app.conf");
  fs.writeFileSync(file, lines.join("\n"));
  return file;
}

const timeoutOf = (settings: Settings): number | undefined =>
  settings.read("replica-timeout", (text) => {
    const value = Number(text);
    if (!Number.isInteger(value)) throw new Error(`must be an integer, not ${text}`);
    return value;
  });

test("a file says all there is to say; comments, empty lines and spaces do not count", (t) => {
  const file = configFile(
    t,
    ...["# the ledger", "", "primary = /var/lib/a b.db  ", "\treplica=/mnt/b/a.db", "json = true"],
    ...["replica = /mnt/c/a=b.db", "replica-timeout = 10000", ""],
  );
  const settings = read(["--config", file]);
  assert.deepEqual(settings.all("primary"), ["/var/lib/a b.db"]);
  assert.deepEqual(settings.all("replica"), ["/mnt/b/a.db", "/mnt/c/a=b.db"]);
  assert.equal(settings.is("json"), true);
  assert.equal(timeoutOf(settings), 10_000);
});

test("an option counts before the environment, and that before the file", (t) => {
  const file = configFile(t, "replica = /file", "replica-timeout = 1", "primary = /file");
  const env = { LOCKSTEP_REPLICA: "/env/a\n/env/b", LOCKSTEP_REPLICA_TIMEOUT: "2" };
  const all = read(["--config", file, "--replica-timeout", "3", "/line"], env);
  assert.deepEqual(all.all("primary"), ["/line"]);
  assert.deepEqual(all.all("replica"), ["/env/a", "/env/b"]);
  assert.equal(timeoutOf(all), 3);
  assert.equal(timeoutOf(read([], { ...env, LOCKSTEP_CONFIG: file })), 2);
  assert.equal(timeoutOf(read([], { LOCKSTEP_CONFIG: file })), 1);
  assert.equal(timeoutOf(read([])), undefined);
  assert.equal(read([]).is("json"), false);
});

test("what makes no sense is an error that says where it stands", (t) => {
  const wrong: [lines: string[], error: RegExp][] = [
    [["replcia = /mnt"], /app\.conf:1: there is no setting replcia; there are json, primary, /],
    [["# x", "replica"], /app\.conf:2: a line is NAME = VALUE/],
    [["replica ="], /app\.conf:1: a line is NAME = VALUE/],
    [["primary = /a", "", "primary = /b"], /app\.conf:3: primary is said in .*app\.conf:1/],
    [["config = other.conf"], /app\.conf:1: there is no setting config/],
    [["json = yes"], /app\.conf:1: json must be true or false, not yes/],
    [["replica-timeout = 1s"], /app\.conf:1: replica-timeout must be an integer, not 1s/],
  ];
  for (const [lines, error] of wrong) {
    const file = configFile(t, ...lines);
    const act = (): unknown => {
      const settings = read(["--config", file]);
      return [settings.is("json"), timeoutOf(settings)];
    };
    assert.throws(
      act,
      (thrown: Error) => thrown instanceof UsageError && error.test(thrown.message),
    );
  }
  assert.throws(() => read([], { LOCKSTEP_CONFIG: "/none.conf" }), /LOCKSTEP_CONFIG: .*ENOENT/);
  const env = { LOCKSTEP_REPLICA_TIMEOUT: "soon" };
  assert.throws(() => timeoutOf(read([], env)), /LOCKSTEP_REPLICA_TIMEOUT: .* not soon/);
  assert.throws(() => timeoutOf(read(["--replica-timeout", "x"])), /the command line: .* not x/);
});
