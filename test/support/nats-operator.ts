/**
 * Servers in operator mode: an operator vouches for accounts, and those for users, whom no server knows: each shows
 * what his account has signed. As `nsc` makes it, but that the accounts stand in the servers' configuration.
 */
import fs from "node:fs";
import path from "node:path";
import {
  createAccount,
  createOperator,
  createUser,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
  type KeyPair,
} from "@nats-io/jwt";
import type { NatsCluster } from "./nats.ts";

export class Operator {
  readonly #files: string;
  readonly #operator = createOperator();
  readonly #app = createAccount();
  readonly #system = createAccount();
  /** The application's account, as the servers have it. */
  #shown = "";

  /** @param files where the users' credentials are written */
  constructor(files: string) {
    this.#files = files;
  }

  /** What the servers' configuration says, in place of accounts with passwords. */
  async config(): Promise<string> {
    const system = this.#system.getPublicKey();
    const operator = await encodeOperator("test", this.#operator, { system_account: system });
    return `operator: ${operator}
system_account: ${system}
resolver: MEMORY
resolver_preload {
  ${system}: ${await this.#account("SYS", this.#system)}
  ${this.#app.getPublicKey()}: ${(this.#shown = await this.#account("APP", this.#app))}
}`;
  }

  /** The application's account does not vouch for this user any more. */
  async revoke({ servers }: NatsCluster, { key }: User): Promise<void> {
    const revocations = { [key]: Math.floor(Date.now() / 1000) };
    const now = await this.#account("APP", this.#app, revocations);
    for (const server of servers) server.reload(this.#shown, now);
    this.#shown = now;
  }

  /**
   * A user of the application's account, or of another.
   * @param validFor in seconds. Default: for ever
   */
  async user(
    name: string,
    { of = this.#app, validFor }: { of?: KeyPair; validFor?: number } = {},
  ): Promise<User> {
    const key = createUser();
    const exp = Math.floor(Date.now() / 1000) + (validFor ?? 0);
    const token = await encodeUser(name, key, of, {}, validFor === undefined ? {} : { exp });
    const file = path.join(this.#files, `${name}.creds`);
    fs.writeFileSync(file, fmtCreds(token, key));
    const secrets = [token, Buffer.from(key.getSeed()).toString("latin1")];
    return { file, key: key.getPublicKey(), secrets };
  }

  async systemUser(name: string): Promise<User> {
    return await this.user(name, { of: this.#system });
  }

  async #account(
    name: string,
    key: KeyPair,
    revocations: Record<string, number> = {},
  ): Promise<string> {
    const limits = name === "SYS" ? UNLIMITED : { ...UNLIMITED, ...JETSTREAM };
    return await encodeAccount(name, key, { limits, revocations }, { signer: this.#operator });
  }
}

export interface User {
  /** His credentials. */
  readonly file: string;
  /** His public key. */
  readonly key: string;
  /** What may be seen nowhere. */
  readonly secrets: readonly string[];
}

// --- internal ---

const UNLIMITED = {
  ...{ subs: -1, data: -1, payload: -1, conn: -1, leaf: -1, imports: -1, exports: -1 },
  wildcards: true,
};
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
