/** Either driver, as the original or as our drop-in. Only what is asked for is loaded. */
import type { ReplicationOptions } from "../../src/options.ts";
import type { Connection } from "./perform.ts";

export type DriverName = "node:sqlite" | "better-sqlite3";

export const driverNames: readonly DriverName[] = ["node:sqlite", "better-sqlite3"];

/** The original: opens a file as any program would. */
export async function plain(driver: DriverName): Promise<(path: string) => Connection> {
  const Database = await classOf(driver, {
    "node:sqlite": "node:sqlite",
    "better-sqlite3": driver,
  });
  return (path) => new Database(path);
}

export type OpenReplicated = (path: string, options: ReplicationOptions) => Connection;

/** Ours. */
export async function replicated(driver: DriverName): Promise<OpenReplicated> {
  const Database = await classOf(driver, {
    "node:sqlite": "../../src/index.ts",
    "better-sqlite3": "../../src/better-sqlite3.ts",
  });
  return (path, options) => new Database(path, options);
}

type Class = new (path: string, options?: ReplicationOptions) => Connection;

async function classOf(driver: DriverName, modules: Record<DriverName, string>): Promise<Class> {
  const module = (await import(modules[driver])) as { DatabaseSync: Class; default: Class };
  return driver === "node:sqlite" ? module.DatabaseSync : module.default;
}
