/** The unix socket: nobody else's from its first instant, and never in the way of the next process. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { codes } from "../../src/errors.ts";
import { listenOnSocket } from "../../src/serve/socket.ts";
import { scratch } from "../scratch.ts";

const mode = (file: string): number => fs.statSync(file).mode & 0o777;

async function listens(t: TestContext, file: string): Promise<() => void> {
  const server = net.createServer((socket) => {
    socket.on("error", () => {}); // who only looks whether somebody listens hangs up at once
    socket.end("here");
  });
  t.after(() => server.close());
  return listenOnSocket(server, file);
}

/** A process that listens there with Node.js alone, and dies without a word. */
async function leaveBehind(file: string): Promise<void> {
  const code = `require("net").createServer().listen(${JSON.stringify(file)}, () => console.log("on"))`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "close");
}

async function answerOf(file: string): Promise<string> {
  let text = "";
  for await (const chunk of net.connect(file).setEncoding("utf8")) text += chunk;
  return text;
}

test("it is bound where only its user can look, and has its mode before it has its name", async (t) => {
  const directory = scratch(t);
  fs.chmodSync(directory, 0o777);
  const file = path.join(directory, "a.sock");
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  const seen: string[] = [];
  const { chmodSync, linkSync } = fs;
  t.mock.method(fs, "chmodSync", (name: string, bits: number) => {
    seen.push(`bound in a directory of mode ${mode(path.dirname(name)).toString(8)}`);
    assert.ok(!fs.existsSync(file));
    chmodSync(name, bits);
  });
  t.mock.method(fs, "linkSync", (from: string, to: string) => {
    seen.push(`named with mode ${mode(from).toString(8)}`);
    linkSync(from, to);
  });
  const remove = await listens(t, file);
  assert.deepEqual(seen, ["bound in a directory of mode 700", "named with mode 600"]);
  assert.equal(mode(file), 0o600);
  assert.deepEqual(fs.readdirSync(directory), ["a.sock"], "nothing else is left");
  assert.equal(await answerOf(file), "here");
  remove();
  assert.deepEqual(fs.readdirSync(directory), []);
});

test("whoever watches the directory sees no other mode", async (t) => {
  const directory = scratch(t);
  const file = path.join(directory, "a.sock");
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  const modes = new Set<number>();
  const code = `
    const fs = require("fs"); const [, file] = process.argv; console.log("on");
    const seen = new Set(); process.stdin.on("data", () => { console.log([...seen].join()); process.exit(); });
    (function look() {
      const end = Date.now() + 5;
      while (Date.now() < end) { try { seen.add(fs.statSync(file).mode & 0o777); } catch {} }
      setImmediate(look);
    })();`;
  const child = spawn(process.execPath, ["-e", code, file], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  for (let i = 0; i < 20; i++) (await listens(t, file))();
  await listens(t, file);
  await answerOf(file);
  await new Promise((resolve) => setTimeout(resolve, 50));
  child.stdin.end("said");
  const [line] = await once(child.stdout.setEncoding("utf8"), "data");
  for (const each of String(line).trim().split(",")) modes.add(Number(each));
  assert.deepEqual([...modes], [0o600]);
});

test("what a dead process left behind is replaced", async (t) => {
  const file = path.join(scratch(t), "a.sock");
  await leaveBehind(file);
  assert.ok(fs.existsSync(file));
  await listens(t, file);
  assert.equal(await answerOf(file), "here");
  assert.equal(mode(file), 0o600);
});

test("one that is listened on is refused, and stays", async (t) => {
  const file = path.join(scratch(t), "a.sock");
  const remove = await listens(t, file);
  await assert.rejects(listens(t, file), { code: codes.ENDPOINT, what: /another process listens/ });
  assert.equal(await answerOf(file), "here");
  remove();
});

test("a file that is no socket is refused, and stays; so is a directory that is missing", async (t) => {
  const directory = scratch(t);
  const file = path.join(directory, "a.sock");
  fs.writeFileSync(file, "mine");
  await assert.rejects(listens(t, file), { code: codes.ENDPOINT, what: /no socket/ });
  assert.equal(fs.readFileSync(file, "utf8"), "mine");
  const missing = path.join(directory, "missing", "a.sock");
  await assert.rejects(listens(t, missing), { code: codes.ENDPOINT, what: /ENOENT/ });
  assert.deepEqual(fs.readdirSync(directory), ["a.sock"]);
});

test("a path that is too long for a socket is refused, not cut off", async (t) => {
  const file = path.join(scratch(t), "a".repeat(100));
  await assert.rejects(listens(t, file), { code: codes.BAD_OPTION, what: /too long/ });
});

test("one that another process has put in its place since is not removed", async (t) => {
  const file = path.join(scratch(t), "a.sock");
  const remove = await listens(t, file);
  fs.unlinkSync(file);
  await listens(t, file);
  remove();
  assert.equal(await answerOf(file), "here");
});
