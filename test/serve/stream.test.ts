/** Server-sent events: a snapshot each second, and what happens at once. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { type TestContext, test } from "node:test";
import { Trio } from "../degrade/trio.ts";
import type { Any } from "../dropin/pair.ts";
import { served } from "./ask.ts";
import { Still } from "./handle.ts";

interface Message {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Any;
}

/** What comes, read as a browser does: fields of a line each, an empty line ends a message. */
async function listen(
  t: TestContext,
  address: string,
  lastEventId?: string,
): Promise<{ next(): Promise<Message>; of(event: string): Promise<Message>; close(): void }> {
  const port = Number(address.split(":")[1]);
  const headers = lastEventId ? { "Last-Event-ID": lastEventId } : {};
  const request = http.get({ host: "127.0.0.1", port, path: "/events", headers });
  t.after(() => request.destroy());
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers["content-type"], "text/event-stream; charset=utf-8");
  const chunks = response.setEncoding("utf8")[Symbol.asyncIterator]();
  let text = "";
  const next = async (): Promise<Message> => {
    while (!text.includes("\n\n")) {
      const { value, done } = await chunks.next();
      if (done) throw new Error("the stream has ended");
      text += value;
    }
    const end = text.indexOf("\n\n");
    const lines = text.slice(0, end).split("\n");
    text = text.slice(end + 2);
    const fields = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s)));
    if (fields["data"] === undefined) return next(); // only `retry`
    return { event: fields["event"], id: fields["id"], data: JSON.parse(fields["data"]) };
  };
  return {
    next,
    async of(event) {
      for (;;) {
        const message = await next();
        if (message.event === event) return message;
      }
    },
    close: () => request.destroy(),
  };
}

test("a snapshot at once and each second; an event, and what is so then, at once", async (t) => {
  const trio = new Trio(t, "node:sqlite");
  const db = trio.open();
  const { address } = await served(t, db.replication);
  await trio.put(db, 1);
  // That all copies of a test are on one disk is said once, and not in the middle of this.
  if (db.replication.status.warnings.length === 0) await once(db.replication, "warning");
  const stream = await listen(t, address);
  const first = await stream.next();
  assert.equal(first.event, "snapshot");
  assert.equal(first.data.healthy, true);
  const began = performance.now();
  assert.equal((await stream.of("snapshot")).data.healthy, true);
  const took = performance.now() - began;
  assert.ok(took > 300 && took < 3000, `${took} ms`);

  const replica = trio.replicas[0];
  trio.pullOut("one");
  while (trio.states(db)[0] === "mirroring") await trio.put(db, 1);
  const degraded = await stream.of("event");
  assert.deepEqual(
    [degraded.data.level, degraded.data.what],
    ["error", `Commits go on without ${replica}`],
  );
  const { data: snapshot } = await stream.next();
  assert.equal(snapshot.healthy, false);
  assert.equal(snapshot.replicas[0].state, "detached");
  assert.deepEqual(snapshot.events.at(-1), degraded.data);
  stream.close();

  trio.putBack("one");
  await trio.untilRejoined(db, replica);
  const again = await listen(t, address, degraded.id);
  const missed = await again.next();
  assert.deepEqual([missed.event, missed.data.what], ["event", `${replica} holds all again`]);
  assert.equal((await again.next()).event, "snapshot");
  trio.closeAndCompare(db);
});

test("an id of another process, or of none, brings the snapshot only", async (t) => {
  const { recorder, address } = await served(t, new Still().handle);
  recorder.note("info", "one", "a\nb");
  for (const id of ["00000000-0", "x", "-1", undefined]) {
    const stream = await listen(t, address, id);
    const { event, data } = await stream.next();
    assert.equal(event, "snapshot");
    assert.equal(data.events[0].detail, "a\nb");
    stream.close();
  }
});

test("without listeners nothing is put together", async (t) => {
  const still = new Still();
  const { recorder, address } = await served(t, still.handle);
  const stream = await listen(t, address);
  await stream.next();
  assert.equal(recorder.listeners.size, 1);
  stream.close();
  while (recorder.listeners.size > 0) await new Promise(setImmediate);
  const another = await listen(t, address);
  recorder.note("info", "later", "");
  assert.equal((await another.of("event")).data.what, "later", "and then again");
});

test("who reads nothing misses snapshots and holds nothing up", async (t) => {
  const still = new Still();
  const { recorder, address } = await served(t, still.handle);
  const port = Number(address.split(":")[1]);
  const request = http.get({ host: "127.0.0.1", port, path: "/events" });
  t.after(() => request.destroy());
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  response.pause();
  const quick = await listen(t, address);
  const large = "x".repeat(1 << 20);
  response.on("error", () => {}); // it is let go
  for (let i = 0; i < 30; i++) {
    const event = { at: "", level: "info", what: String(i), detail: large } as const;
    for (const tell of recorder.listeners) tell(event, i); // and no snapshot has them
    assert.equal((await quick.of("event")).data.what, String(i));
  }
  const closed = new Promise((resolve) => response.once("close", resolve));
  response.resume();
  await closed;
});

test("more than 64 are refused, and room is made by who leaves", async (t) => {
  const { address } = await served(t, new Still().handle);
  const streams = [];
  for (let i = 0; i < 64; i++) streams.push(await listen(t, address));
  await assert.rejects(listen(t, address), /503/);
  streams[0]?.close();
  let left = false;
  while (!left)
    left = await listen(t, address).then(
      () => true,
      () => false,
    );
});

test("the streams end when the server stops", async (t) => {
  const { close, address } = await served(t, new Still().handle);
  const stream = await listen(t, address);
  await stream.next();
  const began = performance.now();
  await close();
  assert.ok(performance.now() - began < 5000);
  await assert.rejects(stream.of("event"), /has ended/);
});
