/**
 * Style as a test. Each rule reads the files as text; code is searched without its comments.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { dirname, join, posix } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { codes } from "../src/errors.ts";

/**
 * Who may import whom: a file imports from its own row and from the rows above it, never from below.
 * A name that ends in a slash is a folder. The most specific name decides.
 */
const LAYERS = [
  ["invariant", "errors", "node-version", "child-process"],
  ["wal/"], // the file format: knows neither threads nor other files of ours
  [
    "address",
    "application",
    "shortage",
    "node-version",
    "driver",
    "options",
    "dsn",
    "histogram",
    "metrics",
    "warning",
    "channels",
    "observe",
  ],
  ["targets/"],
  ["lineage/"],
  ["stream/"], // the commits of a database as messages, and where these lie
  ["gate/slots", "gate/ring", "gate/messages"], // what both threads speak
  ["mirror/"], // what a worker thread does
  ["watch/"], // looks for what is not wrong yet
  ["gate/"], // what the committing thread does
  ["verify/", "verify", "restore/", "restore", "scrub/", "scrub", "status", "sync"],
  ["standby/"], // copies out of a stream
  ["drill/", "drill", "replicate/", "replicate"],
  ["replica/"], // reads a copy that others write
  ["dropin/"], // what both drop-ins share
  ["serve/", "observe/"], // shows a replication to others
  ["index", "better-sqlite3"],
  ["bench/", "bench"], // measures what applications use
  ["cli/"],
];

/** Files that nothing imports, each with what starts it. */
const STARTED_BY_HAND: Record<string, string> = {
  "cli/main": "bin/lockstep.cjs",
};

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 80;

/** What is longer, each with its reason and its length today: it may shrink, not grow. */
const LONGER: Record<string, { lines: number; reason: string }> = {};

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const IGNORED = new Set(["node_modules", "dist", ".git", ".cache"]);

const files = [...new Set(["**/*", ".*", ".ci/*"].flatMap(filesOf))].sort();

function filesOf(pattern: string): string[] {
  return fs
    .globSync(pattern, { cwd: root, exclude: (entry) => IGNORED.has(entry) })
    .filter((path) => !path.endsWith(".tgz"))
    .filter((path) => fs.statSync(join(root, path), { throwIfNoEntry: false })?.isFile())
    .map((path) => path.replaceAll("\\", "/"));
}

const read = (path: string): string => fs.readFileSync(join(root, path), "utf8");

/** The modules of src by name: the path without `src/` and `.ts`. */
const modules = new Map(
  files
    .filter((path) => /^src\/.*\.ts$/.test(path))
    .map((path) => [path.slice("src/".length, -".ts".length), withoutComments(read(path))]),
);
const pages = files.filter((path) => path.endsWith(".md"));

interface Reference {
  readonly to: string;
  /** Leaves nothing behind at run time. */
  readonly typeOnly: boolean;
  /** `to` is where the name starts; the rest is computed at run time. */
  readonly prefix: boolean;
}

/** The files of ours that `name` imports or starts. */
function references(name: string): Reference[] {
  const found: Reference[] = [];
  const add = (specifier: string, typeOnly: boolean, prefix = false): void => {
    if (!specifier.startsWith(".")) return;
    const to = posix.join(posix.dirname(name), specifier.replace(/\.[jt]s$/, ""));
    found.push({ to, typeOnly, prefix });
  };
  const code = modules.get(name) ?? "";
  const statements = /^(?:import|export)\s+(type\s)?[^;"]*?from\s+"([^"]+)"|^import\s+"([^"]+)"/gm;
  for (const [, type, from, bare] of code.matchAll(statements)) {
    add((from ?? bare) as string, type !== undefined);
  }
  const started = /(?:\bimport\(|\bnew URL\()\s*["'`](\.[^"'`$]*)(["'`]|\$)/g;
  for (const [, to, end] of code.matchAll(started)) add(to as string, false, end === "$");
  return found;
}

/** Blanks comments out, keeping lines as they are. */
function withoutComments(code: string): string {
  const stringOrComment =
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return code.replace(stringOrComment, (match) =>
    match.startsWith("/") ? match.replace(/[^\n]/g, " ") : match,
  );
}

function layerOf(name: string): number {
  let best = { length: 0, layer: -1 };
  LAYERS.forEach((row, layer) => {
    for (const entry of row) {
      const matches = entry.endsWith("/") ? name.startsWith(entry) : name === entry;
      if (matches && entry.length > best.length) best = { length: entry.length, layer };
    }
  });
  return best.layer;
}

const none = (problems: string[], rule: string): void =>
  assert.equal(problems.length, 0, `${rule}:\n  ${problems.join("\n  ")}\n`);

describe("imports", () => {
  test("every file of src has its place in LAYERS", () => {
    const lost = [...modules.keys()].filter((name) => layerOf(name) < 0);
    none(lost, "Give these a row in LAYERS");
  });

  test("they point one way", () => {
    const wrong: string[] = [];
    for (const name of modules.keys()) {
      for (const { to, prefix } of references(name)) {
        // What is started by name (a worker, a command) is no import; the next test follows it.
        if (!prefix && layerOf(to) > layerOf(name)) wrong.push(`${name} imports ${to}`);
      }
    }
    none(wrong, "A file imports from a row below its own");
  });

  test("they resolve", () => {
    const broken: string[] = [];
    for (const name of modules.keys()) {
      for (const { to, prefix } of references(name)) {
        const found = prefix ? [...modules.keys()].some((m) => m.startsWith(to)) : modules.has(to);
        if (!found) broken.push(`${name} names ${to}`);
      }
    }
    none(broken, "No such file");
  });

  test("there are no cycles", () => {
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (name: string, path: string[]): void => {
      if (path.includes(name)) {
        cycles.push([...path.slice(path.indexOf(name)), name].join(" -> "));
        return;
      }
      if (done.has(name)) return;
      for (const { to, typeOnly, prefix } of references(name)) {
        if (!typeOnly && !prefix) visit(to, [...path, name]);
      }
      done.add(name);
    };
    for (const name of modules.keys()) visit(name, []);
    none(cycles, "Import cycles");
  });

  test("every file is reached from the package's entry points", () => {
    const { exports } = JSON.parse(read("package.json"));
    const entries = Object.values<{ default?: string }>(exports)
      .map((entry) => entry.default?.match(/^\.\/dist\/(.*)\.js$/)?.[1])
      .filter((entry) => entry !== undefined);
    const reached = new Set<string>();
    const visit = (name: string): void => {
      if (reached.has(name)) return;
      reached.add(name);
      for (const { to, prefix } of references(name)) {
        if (!prefix) visit(to);
        else for (const each of modules.keys()) if (each.startsWith(to)) visit(each);
      }
    };
    for (const entry of [...entries, ...Object.keys(STARTED_BY_HAND)]) visit(entry);
    none(
      [...modules.keys()].filter((name) => !reached.has(name)),
      "Nothing uses these files",
    );
  });

  test("only gate/slots.ts calls Atomics", () => {
    const callers = [...modules].filter(([, code]) => /\bAtomics\s*\./.test(code));
    none(
      callers.map(([name]) => name).filter((name) => name !== "gate/slots"),
      "Give the cell a name in gate/slots.ts",
    );
  });
});

describe("length", () => {
  /** The formatter's indentation tells where a function ends: at the next `}` as deep as its start. */
  function functionsOf(code: string): { name: string; lines: number }[] {
    const lines = code.split("\n");
    const found: { name: string; lines: number }[] = [];
    lines.forEach((line, start) => {
      const opens = /^(\s*)(?:[^\s].*)?(?:=> \{|\)(?:: .+)? \{)$/.exec(line);
      if (!opens || /^\s*(?:\} )?(?:if|else|for|while|switch|catch|do|try)\b/.test(line)) return;
      const indent = opens[1] as string;
      let first = start;
      if (/^\s*\)/.test(line)) {
        do first--;
        while (first > 0 && !new RegExp(`^${indent}\\S`).test(lines[first] as string));
      }
      const end = lines.findIndex((each, at) => at > start && each.startsWith(`${indent}}`));
      const name = /([#\w]+)\s*[=(<]/.exec((lines[first] as string).replace(/^\s*export /, ""));
      found.push({ name: name?.[1] ?? `line ${first + 1}`, lines: end - first + 1 });
    });
    return found;
  }

  const measured: { what: string; lines: number; max: number }[] = [];
  for (const [name, code] of modules) {
    measured.push({
      what: name,
      lines: read(`src/${name}.ts`).split("\n").length - 1,
      max: FILE_LINES_MAX,
    });
    for (const each of functionsOf(code)) {
      measured.push({ what: `${name} ${each.name}`, lines: each.lines, max: FUNCTION_LINES_MAX });
    }
  }

  test(`files have at most ${FILE_LINES_MAX} lines, functions ${FUNCTION_LINES_MAX}`, () => {
    none(
      measured
        .filter(({ what, lines, max }) => lines > (LONGER[what]?.lines ?? max))
        .map(
          ({ what, lines, max }) => `${what} has ${lines} lines of ${LONGER[what]?.lines ?? max}`,
        ),
      "Too long",
    );
  });

  test("LONGER lists only what is longer", () => {
    none(
      Object.keys(LONGER).filter(
        (what) => !measured.some((each) => each.what === what && each.lines > each.max),
      ),
      "Take these off the list",
    );
  });

  test("a function's length is measured from its first line to its last", () => {
    const code = ["function f(", "  a: number,", "): void {", "  if (a) {", "  }", "}"].join("\n");
    assert.deepEqual(functionsOf(code), [{ name: "f", lines: 6 }]);
  });
});

describe("words", () => {
  // A class of one character keeps a pattern from finding itself.
  const patterns: [RegExp, string][] = [
    [/\bFIXM[E]\b|\bXX[X]\b/, "unfinished work"],
    [/(?<![\w.$}])\/wor[k]\/|\/tmp\/explor[e]/, "a path of one machine"],
    [/\bag[e]nts?\b/i, "a word that is not about the project"],
    [/\b(?:this|previous|next|earlier|last) ses[s]ion\b/i, "a word that is not about the project"],
  ];
  for (const [pattern, what] of patterns) {
    test(`no file has ${what}: ${pattern.source}`, () => {
      const found: string[] = [];
      for (const path of files) {
        if (path === "package-lock.json" || path.endsWith(".png")) continue;
        read(path)
          .split("\n")
          .forEach((line, at) => {
            if (pattern.test(line)) found.push(`${path}:${at + 1} ${line.trim().slice(0, 80)}`);
          });
      }
      none(found, `Found ${what}`);
    });
  }
});

describe("pages", () => {
  /** The headings outside of code blocks. */
  function headings(path: string): { level: number; text: string }[] {
    const prose = read(path).replace(/^(```|~~~)[\s\S]*?^\1/gm, "");
    return [...prose.matchAll(/^(#{1,6}) +(.+?) *#*$/gm)].map(([, marks, text]) => ({
      level: (marks as string).length,
      text: text as string,
    }));
  }

  /** The anchors that a page's headings get where it is published. */
  function anchors(path: string): Set<string> {
    const all = new Set<string>();
    for (const { text } of headings(path)) {
      const plain = text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
      const anchor = plain.replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
      let unique = anchor;
      for (let n = 1; all.has(unique); n++) unique = `${anchor}-${n}`;
      all.add(unique);
    }
    for (const [, id] of read(path).matchAll(/<a (?:id|name)="([^"]+)"/g)) all.add(id as string);
    return all;
  }

  test("each has exactly one H1", () => {
    none(
      pages.filter((path) => headings(path).filter(({ level }) => level === 1).length !== 1),
      "One title a page",
    );
  });

  test("relative links lead to a file and a heading", () => {
    const broken: string[] = [];
    for (const path of pages) {
      const text = read(path)
        .replace(/^(```|~~~)[\s\S]*?^\1/gm, "")
        .replace(/`[^`\n]*`/g, "");
      const links = /\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)|^\[[^\]]+\]: +(\S+)/gm;
      for (const [, inline, reference] of text.matchAll(links)) {
        const link = (inline ?? reference) as string;
        if (/^[a-z][a-z+.-]*:/i.test(link)) continue;
        const [file = "", anchor] = link.split("#");
        const target = file === "" ? path : posix.join(posix.dirname(path), decodeURI(file));
        if (!fs.existsSync(join(root, target))) broken.push(`${path}: ${link}`);
        else if (anchor && target.endsWith(".md") && !anchors(target).has(anchor)) {
          broken.push(`${path}: ${link} (no such heading)`);
        }
      }
    }
    none(broken, "Broken links");
  });

  const errorsPage = "docs/errors.md";
  const missing = files.includes(errorsPage) ? false : `${errorsPage} is not written yet`;
  test("docs/errors.md has one heading for each code, and no other code", { skip: missing }, () => {
    const named = headings(errorsPage).flatMap(({ text }) => text.match(/\bERR_\w+/g) ?? []);
    assert.deepEqual(named.sort(), Object.values(codes).sort());
  });
});

describe("the lockfile", () => {
  const lock = JSON.parse(read("package-lock.json"));

  test("names no registry", () => {
    none(
      Object.entries<{ resolved?: string }>(lock.packages)
        .filter(([, entry]) => entry.resolved !== undefined)
        .map(([path]) => path),
      "Change dependencies with `npm run lock`",
    );
  });

  test("keeps npm from warning of the machine's own Node and from compiling what comes compiled", () => {
    const entry = lock.packages["node_modules/better-sqlite3"];
    assert.deepEqual(
      { gypfile: entry.gypfile, script: entry.hasInstallScript },
      { gypfile: false, script: undefined },
      "Change dependencies with `npm run lock`",
    );
    const entries = Object.entries<{ engines?: { node?: string } }>(lock.packages);
    none(
      entries
        .filter(([path, { engines }]) => path !== "" && !takes20(engines?.node))
        .map(([path, { engines }]) => `${path}: ${engines?.node}`),
      "npm warns of these on a machine whose Node is 20; see scripts/lock.ts",
    );
  });

  test("names the binaries for every platform that a tool has, not only for one", () => {
    const known = new Set(
      Object.keys(lock.packages).map((path) => path.split("node_modules/").pop()),
    );
    const entries = Object.values<{ optionalDependencies?: Record<string, string> }>(lock.packages);
    none(
      entries
        .flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
        .filter((name) => !known.has(name)),
      "The registry had no such package; take a version for which it has all",
    );
  });

  test("is of this package.json: no runtime dependency, the same ranges", () => {
    const manifest = JSON.parse(read("package.json"));
    assert.equal(manifest.dependencies, undefined);
    assert.deepEqual(lock.packages[""].devDependencies, manifest.devDependencies);
    assert.deepEqual(lock.packages[""].peerDependencies, manifest.peerDependencies);
  });
});

/** Does a range of versions, as these packages write them, have Node.js 20 in it? */
function takes20(range = "*"): boolean {
  return range.split("||").some((each) => {
    const [, from, major] = /^\s*(>=)?\s*\^?(\d+|\*)/.exec(each) ?? [];
    return major === "*" || (from ? Number(major) <= 20 : Number(major) === 20);
  });
}
