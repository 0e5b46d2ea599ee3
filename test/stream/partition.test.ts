/**
 * Networks that come apart, for real: three servers, each in a network namespace of its own, and the primary outside. What it
 * acknowledged is in the stream once, whatever was under way when a link was cut; commits go on as long as the primary
 * reaches a majority of the servers, and these one another.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, afterEach, before, describe, type TestContext, test } from "node:test";
import type { DatabaseSync } from "../../src/index.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { scratch } from "../scratch.ts";
import { Networks, withoutNamespaces } from "../support/namespaces.ts";
import { type Json, type NatsCluster, startNats, until, withoutNats } from "../support/nats.ts";
import { soon } from "./messages.ts";
import { Streamed } from "./streamed.ts";

describe("a primary whose servers are in networks of their own", {
  skip: withoutNats() || withoutNamespaces(),
}, () => {
  let networks: Networks;
  let cluster: NatsCluster;
  let places = 0;
  const ends: (() => unknown)[] = [];

  before(async () => {
    networks = Networks.make(3);
    ends.push(() => networks.remove());
    const ending = { after: (end: unknown) => void ends.push(end as () => unknown) };
    cluster = await startNats(ending, { hosts: networks.hosts });
  });
  afterEach(async () => {
    networks.heal();
    networks.fast();
    await cluster.ready();
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  async function place(t: TestContext): Promise<Streamed> {
    const url = cluster.url(`apart${++places}`, { monitor: cluster.monitor });
    await create(url, {}, soon());
    return new Streamed(fs.realpathSync(scratch(t)), url);
  }

  /** Has the server lead that the primary is connected to. @returns its place among all */
  async function leadThere({ address }: Streamed): Promise<number> {
    const stream = `LOCKSTEP_apart${places}`;
    const { servers } = cluster;
    const connected = await Promise.all(servers.map((each) => each.ask("connz")));
    const there = connected.findIndex(({ connections }) =>
      connections.some((each: { name?: string }) => each.name === "lockstep"),
    );
    const log = await NatsLog.open(address, soon());
    const preferred = JSON.stringify({ placement: { preferred: servers[there]?.name } });
    await until(30_000, "that server to lead", async () => {
      if ((await cluster.leaderOf(stream)) === servers[there]) return true;
      const { nc } = log.link;
      await nc.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, preferred).catch(() => {});
      return false;
    });
    await log.close();
    return there;
  }

  /**
   * All servers name one leader of the stream, and one end: one that was cut off while it led says for a while, to whoever begins
   * to read, that the stream ends where it was left.
   */
  async function agreed(): Promise<void> {
    const stream = `LOCKSTEP_apart${places}`;
    await until(60_000, "the servers to agree", async () => {
      const all = await Promise.all(
        cluster.servers.map((each) => each.ask("jsz?accounts=1&streams=1").catch(() => null)),
      );
      const said = all.map((each) => {
        const streams = (each?.["account_details"] ?? []).flatMap(
          (a: Json) => a.stream_detail ?? [],
        );
        const found = streams.find(({ name }: Json) => name === stream);
        return found && `${found.cluster.leader} ${found.state.last_seq}`;
      });
      return said[0] !== undefined && said.every((each) => each === said[0]);
    });
  }

  /** Commits, and has `meanwhile` happen while one is under way. */
  async function put(streamed: Streamed, db: DatabaseSync, meanwhile: () => void): Promise<void> {
    streamed.put(db, 3, 3000);
    const first = db.replication?.durable();
    meanwhile();
    await first;
    for (let i = 0; i < 10; i++) {
      streamed.put(db, 2, 1000);
      await db.replication?.durable();
    }
  }

  for (const [name, cut] of [
    ["the leader is cut off from the others, and all are there for the primary", "cluster"],
    ["the primary is cut off from the leader only", "client"],
  ] as const) {
    test(`${name}: commits go on`, async (t) => {
      const streamed = await place(t);
      const db = streamed.open({ durability: "barrier", replicaTimeout: 60_000 });
      t.after(() => db.isOpen && db.close());
      const leader = await leadThere(streamed);
      await put(streamed, db, () => networks.cut(leader, cut));
      await put(streamed, db, () => networks.heal());
      await cluster.ready();
      await put(streamed, db, () => {});
      db.close();
      await agreed();
      await streamed.assertEqual();
      assert.ok(!(await streamed.messages()).includes("void"));
    });
  }

  test("the primary is cut off from all: in doubt, and the next start finds out", async (t) => {
    const streamed = await place(t);
    const db = streamed.open({ durability: "barrier", replicaTimeout: 3000 });
    t.after(() => db.isOpen && db.close());
    await put(streamed, db, () => {});
    const { acknowledged } = streamed;
    streamed.put(db, 1, 3000);
    const doubtful = db.replication?.durable();
    for (const server of [0, 1, 2]) networks.cut(server, "client");
    await assert.rejects(Promise.resolve(doubtful), { code: "ERR_LOCKSTEP_IN_DOUBT" });
    db.close();
    networks.heal();
    await streamed.life((again) => {
      const [row] = again.prepare("SELECT max(n) AS n FROM t").all();
      assert.ok([acknowledged, acknowledged + 1].includes(Number(row?.["n"])), JSON.stringify(row));
      streamed.acknowledged = Number(row?.["n"]);
      streamed.put(again, 3);
    });
  });

  test("every link is slow: commits are, too", async (t) => {
    const streamed = await place(t);
    const db = streamed.open({ durability: "barrier", replicaTimeout: 60_000 });
    t.after(() => db.isOpen && db.close());
    const slow = (): void => {
      const how = networks.slow();
      if (how === null) t.skip("tc can neither delay (netem) nor limit (tbf) here");
      else t.diagnostic(`tc: ${how}`);
    };
    await put(streamed, db, slow);
    await put(streamed, db, () => networks.fast());
    db.close();
    await streamed.assertEqual();
  });
});
