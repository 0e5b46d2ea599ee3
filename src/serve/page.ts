/**
 * The page that a browser shows: plain files, the same for everybody. What is so just now the page asks
 * for by itself, at `status.json` and `events`.
 */
import fs from "node:fs";
import { extname, join } from "node:path";

export interface Asset {
  /** For the header `content-type`. */
  readonly type: string;
  readonly body: Buffer;
}

const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** Beside this file, in the sources as in what is built. */
const ASSETS = join(import.meta.dirname, "assets");

/**
 * All of them, read when the server starts: an update of the package under a running process cannot mix
 * two versions, and a file that is missing shows then, not when somebody needs the page.
 */
const assets = new Map(
  fs
    .readdirSync(ASSETS, { recursive: true, encoding: "utf8" })
    .filter((name) => endingOf(name) in TYPES)
    .map((name) => [pathOf(name), read(name)]),
);

/** What is at a path of the server's, such as `/` or `/page.css`; null if the page has nothing there. */
export function page(path: string): Asset | null {
  return assets.get(path) ?? null;
}

// --- internal ---

function endingOf(name: string): string {
  return extname(name).slice(1);
}

function pathOf(name: string): string {
  return name === "page.html" ? "/" : `/${name.replaceAll("\\", "/")}`;
}

function read(name: string): Asset {
  return { type: TYPES[endingOf(name)] as string, body: fs.readFileSync(join(ASSETS, name)) };
}
