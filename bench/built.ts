/**
 * Lockstep as it is installed: JavaScript in dist/, built by run.ts before anything is measured. From
 * the sources every thread would strip their types first, which costs time and memory of its own.
 */
import type * as Entry from "../src/better-sqlite3.ts";
import type * as Restore from "../src/restore.ts";

const load = (name: string): Promise<unknown> =>
  import(new URL(`../dist/${name}.js`, import.meta.url).href);

export const { default: Replicated } = (await load("better-sqlite3")) as typeof Entry;
export const { restore } = (await load("restore")) as typeof Restore;
