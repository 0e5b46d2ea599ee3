/** The names of streams on NATS: what they mean, and that no message repeats a secret. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { codes, type LockstepError } from "../../src/errors.ts";
import { isNatsUrl, parseNatsUrl } from "../../src/stream/nats-url.ts";

function refusal(url: string): LockstepError {
  try {
    parseNatsUrl(url);
  } catch (error) {
    assert.equal((error as LockstepError).code, codes.BAD_OPTION);
    return error as LockstepError;
  }
  assert.fail(`${url} was taken`);
}

test("what is a NATS URL", () => {
  for (const url of ["nats://h/n", "tls://h/n", "NATS://h/n"]) assert.ok(isNatsUrl(url));
  for (const path of ["./nats:/x", "/nats", "nats", "sqlite3:///a"]) assert.ok(!isNatsUrl(path));
});

test("servers, who, name and options", () => {
  const place = parseNatsUrl(
    "nats://app:p%40s%2Fs%3A%3F@n1:4333,n2,[::1]:4222/orders?inbox=_X&monitor=http://n1:8222/,https://n2&system=sys:a%26:b",
  );
  assert.deepEqual(place.servers, ["n1:4333", "n2:4222", "[::1]:4222"]);
  assert.deepEqual([place.user, place.password, place.token], ["app", "p@s/s:?", null]);
  assert.deepEqual([place.name, place.inbox, place.tls], ["orders", "_X", null]);
  assert.deepEqual(place.monitor, ["http://n1:8222", "https://n2"]);
  assert.deepEqual(place.system, { user: "sys", password: "a&:b" });
  assert.equal(place.shown, "nats://n1:4333,n2:4222,[::1]:4222/orders");
});

test("a token, a file of credentials, encryption", () => {
  const token = parseNatsUrl("nats://t0ken@h/n");
  assert.deepEqual([token.user, token.token], [null, "t0ken"]);
  const files = parseNatsUrl("tls://h/n?creds=/a/b%20c&nkey=/k");
  assert.deepEqual([files.creds, files.nkey], ["/a/b c", "/k"]);
  assert.deepEqual(files.tls, { ca: null, cert: null, key: null });
  const tls = parseNatsUrl("nats://h/n?cert=/c&key=/k&ca=/a").tls;
  assert.deepEqual(tls, { ca: "/a", cert: "/c", key: "/k" });
});

describe("malformed, and no secret is repeated", () => {
  const wrong = [
    "nats://app:s3cret@h",
    "nats://app:s3cret@h/",
    "nats://app:s3cret@/n",
    "nats://app:s3cret@h/a.b",
    "nats://app:s3cret@h/a/b",
    `nats://app:s3cret@h/${"x".repeat(65)}`,
    "nats://app:s3cret@h:x/n",
    "nats://app:s3cret@h,/n",
    "nats://app:s3cret%@h/n",
    "nats://app:s3cret@h/n?",
    "nats://app:s3cret@h/n?other=s3cret",
    "nats://app:s3cret@h/n?creds=",
    "nats://h/n?system=s3cret",
    "nats://h/n?monitor=s3cret",
    "nats://h/n?system=a:s3cret&system=b:s3cret",
    "nats://h/n?cert=/s3cret",
    "nats://h/n?system=%s3cret",
    "nats:/app:s3cret@h/n",
  ];
  for (const url of wrong) {
    test(url, () => {
      if (url.endsWith("?")) {
        assert.equal(parseNatsUrl(url).name, "n"); // an empty query says nothing
        return;
      }
      const { message, stack } = refusal(url);
      assert.ok(!`${message}${stack}`.includes("s3cret"), message);
    });
  }
});
