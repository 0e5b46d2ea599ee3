/** Libraries in C that a process is started with (LD_PRELOAD): built when they are needed, and kept. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { basename, join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const CACHE = join(ROOT, "node_modules/.cache/lockstep");

/** The library's path, or why there is none: tests that need it are skipped with this reason. */
export type Library = { readonly path: string } | { readonly reason: string };

export function buildLibrary(source: string): Library {
  const file = relative(ROOT, source);
  if (process.platform !== "linux") return { reason: `${file} is for Linux only` };
  const digest = createHash("sha256").update(fs.readFileSync(source)).digest("hex").slice(0, 16);
  const path = join(CACHE, `${basename(source, ".c")}-${digest}.so`);
  if (fs.existsSync(path)) return { path };
  fs.mkdirSync(CACHE, { recursive: true });
  const fresh = `${path}.${process.pid}`;
  const compiler = process.env["CC"] ?? "cc";
  const args = ["-O1", "-shared", "-fPIC", "-o", fresh, source, "-ldl"];
  const { status, error, stderr } = spawnSync(compiler, args, { encoding: "utf8" });
  if (error) return { reason: `there is no C compiler (${compiler}) to build ${file}` };
  if (status !== 0) return { reason: `${file} does not compile here: ${stderr}` };
  fs.renameSync(fresh, path);
  return { path };
}

/** For `test(name, { skip }, …)`. */
export function skipWithout(library: Library): string | false {
  return "reason" in library ? library.reason : false;
}
