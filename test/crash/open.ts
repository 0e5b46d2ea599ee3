/** Either driver, as the original or as our drop-in. Only what is asked for is loaded. */
import type { ReplicationOptions } from "../../src/options.ts";
import { betterSqlite3, nodeSqlite } from "../support/installed.ts";
import type { Connection } from "./perform.ts";

export type DriverName = "node:sqlite" | "better-sqlite3";

export const driverNames: readonly DriverName[] = ["node:sqlite", "better-sqlite3"];

/** The original: opens a file as any program would. */
export async function plain(driver: DriverName): Promise<(path: string) => Connection> {
  const Database = classOf(driver, await import(driver));
  return (path) => new Database(path);
}

export type OpenReplicated = (path: string, options: ReplicationOptions) => Connection;

/** Ours. */
export async function replicated(driver: DriverName): Promise<OpenReplicated> {
  const module = driver === "node:sqlite" ? await nodeSqlite() : await betterSqlite3();
  const Database = classOf(driver, module);
  return (path, options) => new Database(path, options);
}

type Class = new (path: string, options?: ReplicationOptions) => Connection;

function classOf(driver: DriverName, module: unknown): Class {
  const { DatabaseSync, default: Better } = module as { DatabaseSync: Class; default: Class };
  return driver === "node:sqlite" ? DatabaseSync : Better;
}
