/**
 * Imported before anything makes a file: nothing here is about what a disk does, and in memory there
 * are many times as many cases.
 */
import fs from "node:fs";

const MEMORY = "/dev/shm";

if (process.env["TMPDIR"] === undefined && fs.existsSync(MEMORY)) process.env["TMPDIR"] = MEMORY;
