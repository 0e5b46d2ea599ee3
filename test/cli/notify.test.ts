/** What systemd is told arrives at a real socket of its kind; without one nothing is done. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { notify } from "../../src/cli/notify.ts";
import { scratch } from "../scratch.ts";

/** Prints each datagram that arrives, and first that it listens. */
const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    for line in s.recv(4096).decode().splitlines():
        print(line, flush=True)
`;

const missing = ["python3", "systemd-notify"].find((name) => spawnSync(name, ["--version"]).error);
const skip = missing ? `there is no ${missing}` : false;

test("a service says that it is ready, and how it is", { skip }, async (t) => {
  const socket = path.join(scratch(t), "notify");
  const listener = spawn("python3", ["-c", LISTENER, socket], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => listener.kill());
  const lines = createInterface(listener.stdout)[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, "listening");
  process.env["NOTIFY_SOCKET"] = socket;
  t.after(() => delete process.env["NOTIFY_SOCKET"]);

  await notify("READY=1", "STATUS=2 copies in step");
  const heard = [(await lines.next()).value, (await lines.next()).value];
  assert.deepEqual(heard.sort(), ["READY=1", "STATUS=2 copies in step"]);

  listener.kill();
  await once(listener, "exit");
  await assert.rejects(notify("STOPPING=1"), /systemd-notify/);
});

test("who was not asked says nothing", async () => {
  assert.equal(process.env["NOTIFY_SOCKET"], undefined);
  await notify("READY=1");
});
