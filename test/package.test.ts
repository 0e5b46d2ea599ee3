/**
 * The package as somebody installs it: packed from a copy of the sources, checked, installed into an
 * empty project, and used there.
 */
import assert from "node:assert/strict";
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const windows = process.platform === "win32";
const work = fs.mkdtempSync(join(tmpdir(), "lockstep-package-"));
const source = join(work, "source");
const project = join(work, "project");
const installed = join(project, "node_modules", "lockstep");

/** What `npm pack` needs; the checkout itself is left as it is. */
const PACKED = ["package.json", "tsconfig.json", "tsconfig.build.json", "src", "bin", "docs"];
const PACKED_PAGES = ["README.md", "LICENSE", "CHANGELOG.md"];

let tarball = "";
let contents: string[] = [];

/** Runs a command with this Node.js first on the PATH, as in an npm script. */
function run(command: string, args: string[], cwd: string): SpawnSyncReturns<string> {
  const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter);
  const env = { ...process.env, PATH };
  return spawnSync(command, args, { cwd, env, encoding: "utf8", shell: windows });
}

/** Runs a command that must succeed and returns what it printed. */
function must(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = run(command, args, cwd);
  assert.equal(status, 0, `${command} ${args.join(" ")}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Runs a command of a development dependency. */
const tool = (name: string, ...args: string[]): string =>
  must(join(root, "node_modules", ".bin", name), args, source);

/** Makes a package of this checkout's node_modules available in the project. */
function lend(name: string): void {
  const to = join(project, "node_modules", name);
  if (fs.existsSync(to)) return;
  fs.mkdirSync(dirname(to), { recursive: true });
  fs.symlinkSync(join(root, "node_modules", name), to, "junction");
}

before(() => {
  fs.mkdirSync(source);
  for (const path of [...PACKED, ...PACKED_PAGES]) {
    if (fs.existsSync(join(root, path))) {
      fs.cpSync(join(root, path), join(source, path), { recursive: true });
    }
  }
  fs.symlinkSync(join(root, "node_modules"), join(source, "node_modules"), "junction");
  must("npm", ["pack", "--pack-destination", work], source);
  const [name] = fs.readdirSync(work).filter((each) => each.endsWith(".tgz"));
  assert.ok(name, "npm pack made a tarball");
  tarball = join(work, name);
  contents = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8" })
    .trim()
    .split(/\r?\n/)
    .map((path) => path.replace(/^package\//, ""));

  fs.mkdirSync(project);
  fs.writeFileSync(join(project, "package.json"), '{ "name": "project", "private": true }\n');
  must("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], project);
});

after(() => fs.rmSync(work, { recursive: true, force: true }));

describe("the tarball", () => {
  test("has code, types, maps and the sources the maps point to", () => {
    for (const entry of ["index", "better-sqlite3", "observe/index", "cli/main"]) {
      for (const ending of [".js", ".js.map", ".d.ts", ".d.ts.map"]) {
        assert.ok(contents.includes(`dist/${entry}${ending}`), `dist/${entry}${ending}`);
      }
      assert.ok(contents.includes(`src/${entry}.ts`), `src/${entry}.ts`);
    }
    for (const map of contents.filter((path) => path.endsWith(".map"))) {
      const { sources } = JSON.parse(fs.readFileSync(join(installed, map), "utf8"));
      for (const each of sources) {
        assert.ok(fs.existsSync(join(installed, dirname(map), each)), `${map} names ${each}`);
      }
    }
  });

  test("has the page's files beside the built code that serves them", async () => {
    const names = contents.filter((path) => path.startsWith("dist/serve/assets/"));
    const sources = contents.filter((path) => path.startsWith("src/serve/assets/"));
    assert.deepEqual(
      names,
      sources.map((path) => path.replace(/^src/, "dist")),
    );
    assert.ok(names.includes("dist/serve/assets/page.html"));
    const { page } = await import(pathToFileURL(join(installed, "dist/serve/page.js")).href);
    assert.match(page("/").body.toString(), /<!doctype html>/);
    assert.match(page("/page/verdict.js").body.toString(), /verdictOf/);
  });

  test("has nothing else", () => {
    const expected =
      /^(?:dist|src|docs)\/|^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/lockstep\.cjs)$/;
    assert.deepEqual(
      contents.filter((path) => !expected.test(path)),
      [],
    );
    assert.deepEqual(
      contents.filter((path) => /\btest\b|\.tgz$|node_modules/.test(path)),
      [],
    );
    for (const page of PACKED_PAGES) assert.ok(contents.includes(page), page);
  });

  test("names no TypeScript file in the built code", () => {
    // Declarations may: TypeScript looks for `x.d.ts` where they say `x.ts`.
    for (const path of contents.filter((each) => /^dist\/.*\.js$/.test(each))) {
      const text = fs.readFileSync(join(installed, path), "utf8");
      assert.doesNotMatch(text, /(?:from|import\(|new URL\()\s*["'`]\.[^"'`]*\.ts["'`]/, path);
    }
  });

  test("publint finds nothing", () => {
    assert.match(tool("publint", "run", tarball, "--strict"), /All good/);
  });

  test("the types resolve for everyone who can import the package", () => {
    // Only ES modules: older resolutions than Node's own for them cannot load the package either.
    tool("attw", tarball, "--profile", "esm-only");
  });
});

describe("installed", () => {
  test("the command runs", () => {
    const bin = join(project, "node_modules", ".bin", windows ? "lockstep.cmd" : "lockstep");
    const help = must(bin, ["--help"], project);
    for (const command of ["sync", "status", "verify", "drill", "restore", "bench"]) {
      assert.match(help, new RegExp(`\\b${command}\\b`));
    }
  });

  test("the bench finds its child process and its threads in the built code", () => {
    const bin = join(installed, "bin", "lockstep.cjs");
    const columns = 30; // where there is no terminal COLUMNS says how wide its table may be
    const { stdout, stderr } = spawnSync(process.execPath, [bin, "bench", "--seconds", "1"], {
      cwd: project,
      env: { ...process.env, COLUMNS: String(columns) },
      encoding: "utf8",
    });
    const lines = stdout.split("\n");
    const from = lines.findIndex((line) => /^ +p50 ms/.test(line));
    const to = lines.findIndex((line, at) => at > from && line === "commits/s");
    assert.ok(from > 0 && to > from, stdout + stderr);
    const drawn = lines.slice(from, to);
    assert.ok(Math.max(...drawn.map(({ length }) => length)) <= columns, drawn.join("\n"));
  });

  const replicate = `
    const db = new DatabaseSync("main.db", { replicas: ["copy.db"], replicaTimeout: 20_000 });
    db.exec("CREATE TABLE t (x); INSERT INTO t VALUES (42)");
    db.close();
    const copy = new DatabaseSync("copy.db");
    console.log(copy.prepare("SELECT x FROM t").get().x);
    copy.close();
  `;

  test("it replicates: the workers and child processes are found in the built code", () => {
    const code = `import { DatabaseSync } from "lockstep"; ${replicate}`;
    assert.equal(must(process.execPath, ["--input-type=module", "-e", code], project).trim(), "42");
  });

  test("it is observed", () => {
    const code = `
      import { DatabaseSync } from "lockstep";
      import { metricsText, observe } from "lockstep/observe";
      const db = new DatabaseSync("seen.db", { replicas: ["seen-copy.db"] });
      const observation = await observe(db, { listen: "127.0.0.1:0" });
      const { status } = await fetch("http://" + observation.address + "/healthz");
      console.log(status, metricsText(observation).includes("lockstep_healthy"));
      await observation.close();
      db.close();
    `;
    const said = must(process.execPath, ["--input-type=module", "-e", code], project);
    assert.equal(said.trim(), "200 true");
  });

  test("the drill finds its child process in the built code", () => {
    const bin = join(installed, "bin", "lockstep.cjs");
    const said = must(process.execPath, [bin, "drill", "main.db", "copy.db"], project);
    assert.match(said, /^proven: /);
  });

  test("it can be required", () => {
    lend("better-sqlite3");
    const code = `
      const { DatabaseSync } = require("lockstep");
      const Database = require("lockstep/better-sqlite3");
      console.log(typeof DatabaseSync, new Database(":memory:").prepare("SELECT 1").pluck().get());
    `;
    assert.equal(must(process.execPath, ["-e", code], project).trim(), "function 1");
  });

  test("a program written against the drop-ins compiles with the originals' types", () => {
    for (const name of ["@types/node", "undici-types", "@types/better-sqlite3", "better-sqlite3"]) {
      lend(name);
    }
    fs.writeFileSync(
      join(project, "program.ts"),
      `import { DatabaseSync } from "lockstep";
       import Database from "lockstep/better-sqlite3";
       import { observe } from "lockstep/observe";
       const node: import("node:sqlite").DatabaseSync = new DatabaseSync("a.db", { replicas: ["b.db"] });
       const better = new Database("a.db", { replicas: ["b.db"], readonly: false });
       const row = better.prepare<[number], { x: number }>("SELECT ? AS x").get(1);
       export const x: number | undefined = row?.x;
       export const seen: Promise<string | null>[] = [observe(better), observe(new DatabaseSync("a.db"))]
         .map(async (each) => (await each).address);
       export const rows: unknown[] = node.prepare("SELECT 1").all();
      `,
    );
    tool(
      "tsc",
      ...["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--types", "node"],
      ...["--skipLibCheck", "false", "--ignoreConfig"],
      join(project, "program.ts"),
    );
  });
});

describe("on a Node.js that is too old", () => {
  const found = oldNode();
  const skip = found === null ? "no such Node.js on the PATH" : false;
  const old = found ?? "";

  test("the command says so", { skip }, () => {
    const { status, stderr } = run(old, [join(installed, "bin/lockstep.cjs"), "--help"], project);
    assert.match(stderr, /ERR_LOCKSTEP_NODE_VERSION: lockstep needs Node\.js 22\.13 or newer/);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.equal(status, 1);
  });

  for (const entry of ["lockstep", "lockstep/better-sqlite3", "lockstep/observe"]) {
    test(`import "${entry}" says so`, { skip }, () => {
      const { status, stderr } = run(old, ["-e", `import("${entry}")`], project);
      assert.match(stderr, /ERR_LOCKSTEP_NODE_VERSION/);
      assert.notEqual(status, 0);
    });
  }

  /** A node on the PATH older than 22.13, the development dependency aside. */
  function oldNode(): string | null {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const path = join(folder, windows ? "node.exe" : "node");
      if (folder.includes("node_modules") || !fs.existsSync(path)) continue;
      const [major, minor] = run(path, ["-p", "process.versions.node"], work)
        .stdout.split(".")
        .map(Number) as [number, number];
      if (major < 22 || (major === 22 && minor < 13)) return path;
    }
    return null;
  }
});
