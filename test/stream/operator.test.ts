/** Servers in operator mode: who has credentials is let in, and nobody else; and no secret of theirs is told. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { before, describe, type TestContext, test } from "node:test";
import { createAccount } from "@nats-io/jwt";
import { codes, type LockstepError } from "../../src/errors.ts";
import { openStandby } from "../../src/index.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { check, create } from "../../src/stream/nats-admin.ts";
import { lockstep, lockstepJson } from "../cli/lockstep.ts";
import { scratch } from "../scratch.ts";
import { equal } from "../standby/failovers.ts";
import { type NatsCluster, startNats, withoutNats } from "../support/nats.ts";
import { Operator, type User } from "../support/nats-operator.ts";
import { fill, soon } from "./messages.ts";
import { Streamed } from "./streamed.ts";

describe("credentials that an operator's account has signed", { skip: withoutNats() }, () => {
  let files: string;
  let operator: Operator;
  let cluster: NatsCluster;
  let app: User;
  let system: User;
  /** Of everybody. */
  const secrets: string[] = [];
  const ends: (() => unknown)[] = [];
  const ending = { after: (end?: unknown) => void ends.push(end as () => unknown) };
  let places = 0;

  before(async () => {
    files = scratch(ending);
    operator = new Operator(files);
    cluster = await startNats(ending, { accounts: await operator.config() });
    app = known(await operator.user("app"));
    system = known(await operator.systemUser("system"));
  });
  test.after(async () => {
    for (const end of ends.reverse()) await end();
  });

  function known(user: User): User {
    secrets.push(...user.secrets);
    return user;
  }

  async function made(): Promise<string> {
    const name = `operated${++places}`;
    await create(cluster.urlOf(name, { creds: app.file }), {}, soon());
    return name;
  }

  async function open(t: TestContext, name: string, creds: string): Promise<NatsLog> {
    const log = await NatsLog.open(cluster.urlOf(name, { creds }), soon());
    t.after(() => log.close());
    return log;
  }

  /** The error, in which no secret is. */
  async function refused(promise: Promise<unknown>): Promise<LockstepError> {
    const error = await promise.then(
      () => assert.fail("it was let in"),
      (each: LockstepError) => each,
    );
    silent(`${error.stack}${JSON.stringify(error)}`);
    return error;
  }

  function silent(text: string): void {
    // Nor a good part of one.
    for (const secret of secrets) {
      for (let at = 0; at < secret.length; at += 20) {
        assert.ok(!text.includes(secret.slice(at, at + 20)), text);
      }
    }
  }

  const notIn = /The servers do not let this user in/;

  test("init, commits, follow, restore and promote, with nothing but files of credentials", async (t) => {
    const name = `operated${++places}`;
    const url = cluster.urlOf(name, { creds: app.file, systemCreds: system.file });
    const init = lockstepJson("init", url);
    assert.deepEqual([init.status, init.json.unsafe], [0, []], "they say that they sync");
    const root = fs.realpathSync(scratch(t));
    const streamed = new Streamed(root, url);
    await streamed.life((db) => streamed.put(db, 20, 3000));

    const db = streamed.open();
    const standby = await openStandby(url, path.join(root, "open.db"));
    streamed.put(db, 5);
    silent(JSON.stringify(db.replication?.status));
    db.close();
    standby.close();
    await standby.stopped;
    const followed = path.join(root, "followed.db");
    const restored = path.join(root, "restored.db");
    for (const args of [
      ["follow", "--once", url, followed],
      ["restore", url, restored],
      ["status", streamed.primary, url],
    ]) {
      const { status, stdout, stderr } = lockstep(...args);
      assert.equal(status, 0, stderr);
      silent(stdout + stderr);
    }
    await equal(streamed.primary, followed);
    await equal(streamed.primary, restored);
    const promoted = lockstep("promote", url, followed);
    assert.equal(promoted.status, 0, promoted.stderr);
    silent(promoted.stdout + promoted.stderr);
  });

  test("a user of another account, of no account, or with somebody else's key is refused", async () => {
    const name = await made();
    const stranger = known(await operator.user("stranger", { of: createAccount() }));
    const mixed = path.join(files, "mixed.creds");
    const [token] = fs.readFileSync(app.file, "utf8").split("-----BEGIN USER");
    const [, key] = fs.readFileSync(stranger.file, "utf8").split("-----BEGIN USER");
    fs.writeFileSync(mixed, `${token}-----BEGIN USER${key}`);
    const attempts = [{ creds: stranger.file }, { creds: mixed }, {}];
    for (const options of attempts) {
      const url = cluster.urlOf(name, options);
      const error = await refused(NatsLog.open(url, soon()));
      assert.equal(error.code, codes.REPLICA_IO);
      assert.match(error.message, notIn);
      const { status, json } = lockstepJson("init", url);
      assert.deepEqual([status, json.error.code], [1, codes.REPLICA_IO]);
    }
    // He is one of the servers', and may do something else there.
    const other = await refused(NatsLog.open(cluster.urlOf(name, { creds: system.file }), soon()));
    assert.equal(other.code, codes.REPLICA_IO);
    assert.match(other.message, /JetStream not enabled for account/);
  });

  test("a file without credentials is named at once, and nothing of what it holds", async () => {
    const whole = fs.readFileSync(app.file, "utf8");
    const [, seed = ""] = app.secrets;
    const contents = {
      cut: whole.slice(0, whole.length / 2),
      seedless: whole.replace(seed, `${seed.slice(0, 30)}!${seed.slice(31)}`),
      seed,
    };
    for (const [name, text] of Object.entries(contents)) {
      const file = path.join(files, name);
      fs.writeFileSync(file, text);
      const open = NatsLog.open(cluster.urlOf("any", { creds: file }), soon());
      const error = await refused(open);
      assert.equal(error.code, codes.BAD_OPTION, name);
      assert.match(error.message, new RegExp(`\`creds\` .*${file}`));
    }
    const file = path.join(files, "half");
    fs.writeFileSync(file, seed.slice(0, 30));
    const byKey = await refused(NatsLog.open(cluster.urlOf("any", { nkey: file }), soon()));
    assert.equal(byKey.code, codes.BAD_OPTION);
    assert.match(byKey.message, /`nkey` /);
  });

  test("whether servers sync is said to a user of the system account, and to nobody else", async () => {
    const name = await made();
    const checked = (systemCreds?: string): Promise<unknown> => {
      const who = systemCreds === undefined ? {} : { systemCreds };
      return check(cluster.urlOf(name, { creds: app.file, ...who }), [], soon());
    };
    assert.deepEqual(await checked(system.file), []);
    const unasked = await refused(checked());
    assert.equal(unasked.code, codes.UNSAFE);
    assert.match(unasked.what, /^[^;]*sync_interval of n\d, n\d, n\d, which cannot be asked[^;]*$/);
    const stranger = known(await operator.user("nosystem", { of: createAccount() }));
    const missing = path.join(files, "missing");
    for (const [file, code, said] of [
      [stranger.file, codes.REPLICA_IO, /do not let the user of their system account in/],
      [app.file, codes.REPLICA_IO, /is none of their system account/],
      [missing, codes.BAD_OPTION, /`systemCreds` .*missing/],
    ] as const) {
      const error = await refused(checked(file));
      assert.equal(error.code, code);
      assert.match(error.message, said);
    }
  });

  test("credentials that are replaced before they end: the connection stays", async (t) => {
    const name = await made();
    const short = known(await operator.user("short", { validFor: 3 }));
    const log = await open(t, name, short.file);
    const writer = await open(t, name, app.file);
    let broke = 0;
    log.link.onBreak(() => broke++);
    const back = returns(log);
    known(await operator.user("short"));
    await back;
    assert.equal(broke, 1, "they ended");
    await fill(writer, 2);
    assert.equal((await log.ends()).last, 2);
    // And after any other break: the client has not given up.
    const again = returns(log);
    await log.link.nc.reconnect();
    await again;
    assert.equal((await log.ends()).last, 2);
  });

  test("credentials that end: that is said, as when they are shown anew", async (t) => {
    const name = await made();
    const short = known(await operator.user("ending", { validFor: 2 }));
    const log = await open(t, name, short.file);
    const lost = new Promise<LockstepError>((resolve) => {
      log.onLoss = resolve;
    });
    for (const error of [
      await refused(lost.then((each) => Promise.reject(each))),
      await refused(log.append(new Uint8Array(1), 0, soon())),
      await refused(NatsLog.open(cluster.urlOf(name, { creds: short.file }), soon())),
    ]) {
      const { cause } = error;
      const first = cause instanceof Error && "code" in cause ? (cause as LockstepError) : error;
      assert.equal(first.code, codes.REPLICA_IO);
      assert.match(first.message, notIn);
    }
  });

  test("credentials that are revoked, while their user writes", async (t) => {
    const name = await made();
    const user = known(await operator.user("revoked"));
    const root = fs.realpathSync(scratch(t));
    const streamed = new Streamed(
      root,
      cluster.urlOf(name, { creds: user.file, systemCreds: system.file }),
    );
    const db = streamed.open();
    streamed.put(db, 3);
    const log = await open(t, name, user.file);
    const lost = new Promise<LockstepError>((resolve) => {
      log.onLoss = resolve;
    });
    await operator.revoke(cluster, user);
    const error = await refused(lost.then((each) => Promise.reject(each)));
    assert.equal(error.code, codes.REPLICA_IO);
    assert.match(error.message, notIn);
    const url = cluster.urlOf(name, { creds: user.file });
    assert.equal((await refused(NatsLog.open(url, soon()))).code, codes.REPLICA_IO);
    assert.throws(
      () => streamed.put(db),
      ({ code, message, stack }: LockstepError) => {
        silent(`${message}${stack}`);
        return code === codes.REPLICA_IO;
      },
    );
    db.close();
    // The others go on.
    const other = streamed.clone("other");
    const again = new Streamed(
      root,
      cluster.urlOf(name, { creds: app.file, systemCreds: system.file }),
      "other",
    );
    again.acknowledged = other.acknowledged;
    await again.life((each) => again.put(each, 2));
  });
});

// --- internal ---

/** Resolves when its connection has come back. */
async function returns(log: NatsLog): Promise<void> {
  for await (const { type } of log.link.nc.status()) if (type === "reconnect") return;
}
