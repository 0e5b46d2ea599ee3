/** Encrypted connections and nkeys: who is let in, and whom we let ourselves be let in by. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { before, describe, test } from "node:test";
import { nkeys } from "@nats-io/transport-node";
import { codes, type LockstepError } from "../../src/errors.ts";
import { NatsLog } from "../../src/stream/nats.ts";
import { create } from "../../src/stream/nats-admin.ts";
import { scratch } from "../scratch.ts";
import { type NatsCluster, startNats, withoutNats } from "../support/nats.ts";
import { fill, soon } from "./messages.ts";

const noOpenssl = spawnSync("openssl", ["version"]).status === 0 ? false : "no openssl here";

describe("encrypted", { skip: withoutNats() || noOpenssl }, () => {
  let files: string;
  let server: NatsCluster;
  const ends: (() => unknown)[] = [];
  const ending = { after: (end?: unknown) => void ends.push(end as () => unknown) };
  const user = nkeys.createUser();

  before(async () => {
    files = scratch(ending);
    for (const authority of ["ca", "other"]) certify(files, authority, null);
    for (const name of ["server", "client"]) certify(files, name, "ca");
    fs.writeFileSync(path.join(files, "seed"), `${Buffer.from(user.getSeed()).toString()}\n`);
    const file = (name: string): string => JSON.stringify(path.join(files, name));
    server = await startNats(ending, {
      servers: 1,
      users: `{ nkey: ${user.getPublicKey()} }`,
      config: `tls { cert_file: ${file("server.pem")}, key_file: ${file("server.key")}
        ca_file: ${file("ca.pem")}, verify: true }`,
    });
  });
  test.after(async () => {
    for (const end of ends.reverse()) await end();
  });

  /** By its name: the client checks certificates against names. */
  const url = (query: Record<string, string>, asUser = true): string =>
    server
      .url("secure", query)
      .replace("127.0.0.1", "localhost")
      .replace(/\/\/[^@]*@/, (who) => (asUser ? who : "//"));

  const options = (ca = "ca") => ({
    ca: path.join(files, `${ca}.pem`),
    cert: path.join(files, "client.pem"),
    key: path.join(files, "client.key"),
  });

  async function refused(url: string): Promise<LockstepError> {
    return await NatsLog.open(url, AbortSignal.timeout(2000)).then(
      () => assert.fail("it was let in"),
      (error: LockstepError) => error,
    );
  }

  test("with a certificate, by password or nkey", async (t) => {
    await create(url(options()), { replicas: 1 }, soon());
    const byKey = url({ ...options(), nkey: path.join(files, "seed") }, false);
    for (const each of [url(options()), byKey]) {
      const log = await NatsLog.open(each, soon());
      t.after(() => log.close());
      await fill(log, 2);
    }
  });

  test("not without a certificate, nor to servers that somebody else vouches for", async () => {
    const { ca } = options();
    const without = await refused(url({ ca }));
    assert.equal(without.code, codes.REPLICA_TIMEOUT); // the server hangs up, and does not say why
    const others = await refused(url(options("other")));
    assert.match(others.message, /certificate/i);
  });

  test("not with another key", async () => {
    fs.writeFileSync(path.join(files, "seed2"), nkeys.createUser().getSeed());
    const byKey = url({ ...options(), nkey: path.join(files, "seed2") }, false);
    assert.equal((await refused(byKey)).code, codes.REPLICA_IO);
  });

  test("tls:// does not talk to a server that does not encrypt", async (t) => {
    const plain = await startNats(t, { servers: 1 });
    const { message } = await refused(plain.url("any").replace("nats://", "tls://"));
    assert.match(message, /server does not support 'tls'/);
  });

  test("a file that is not there is named, before anything is opened", async () => {
    const { code, message } = await refused(url({ nkey: "/no/such/file" }));
    assert.equal(code, codes.BAD_OPTION);
    assert.match(message, /`nkey`.*\/no\/such\/file/);
  });
});

// --- internal ---

/** NAME.pem and NAME.key in a directory; an authority's own without one that vouches for it. */
function certify(directory: string, name: string, by: string | null): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const out = ["-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "2"];
  const signed = by === null ? [] : ["-CA", `${by}.pem`, "-CAkey", `${by}.key`];
  const names = by === null ? [] : ["-addext", "subjectAltName=DNS:localhost"];
  const args = ["req", "-x509", ...key, ...out, "-subj", `/CN=${name}`, ...signed, ...names];
  const { status, stderr } = spawnSync("openssl", args, { cwd: directory, encoding: "utf8" });
  assert.equal(status, 0, stderr);
}
