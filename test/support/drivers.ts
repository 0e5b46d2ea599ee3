/**
 * Drivers for tests that do one thing after the other with each of them. Where it makes no difference to
 * what is tested which one it is, `npm test` takes one; `npm run test:drivers` takes both.
 */
import type { DriverName } from "../../src/driver.ts";

export const DRIVERS: readonly DriverName[] = ["node:sqlite", "better-sqlite3"];

/** This one, or with DRIVERS=both in the environment every one. */
export function driversOr(usual: DriverName): readonly DriverName[] {
  return process.env["DRIVERS"] === "both" ? DRIVERS : [usual];
}
