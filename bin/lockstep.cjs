#!/usr/bin/env node
// Kept in the syntax of old Node.js versions: it is what tells them that they are too old.
"use strict";

const required = [22, 13];
const found = process.versions.node.split(".").map(Number);

if (found[0] < required[0] || (found[0] === required[0] && found[1] < required[1])) {
  console.error(
    "ERR_LOCKSTEP_NODE_VERSION: lockstep needs Node.js " +
      required.join(".") +
      " or newer, this is " +
      process.versions.node +
      " (" +
      process.execPath +
      "). Nothing was opened. Install a newer Node.js, or put it first on the PATH.",
  );
  process.exitCode = 1;
} else {
  import("../dist/cli/main.js").catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}
