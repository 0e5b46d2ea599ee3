/** What a suite gets for `node:sqlite`. */
import * as ours from "../../src/index.ts";
import { attach } from "./attach.ts";

export * from "node:sqlite";
export const DatabaseSync = attach(ours.DatabaseSync);
