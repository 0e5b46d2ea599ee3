/**
 * A replicated connection, as little of one as the tests need: by the drop-ins' own way, through
 * the hub.
 */
import { type DriverName, loadDriver } from "../../src/driver.ts";
import { type HubClient, openHub } from "../../src/gate/hub.ts";
import type { Replication } from "../../src/options.ts";

export interface Database {
  exec(sql: string): void;
  all(sql: string): unknown[];
  close(): void;
}

export type Options = Pick<Replication, "replicas"> & Partial<Replication>;

const defaults = {
  replicaTimeout: 60_000,
  restoreMissing: false,
  checkpointBytes: 8 << 20,
  onProgress: null,
};

export function openReplicated(driver: DriverName, path: string, options: Options): Database {
  const hub = openHub(driver, path, { ...defaults, ...options });
  const native = loadDriver(driver).open(path);
  const client: HubClient = {
    exec: (sql) => native.exec(sql),
    onFence: () => {},
    closeNative: () => native.close(),
  };
  hub.connect(client);
  const gated = <T>(work: () => T): T => {
    if (hub.failure) throw hub.failure;
    const result = work();
    hub.gate();
    return result;
  };
  return {
    exec: (sql) => gated(() => native.exec(sql)),
    all: (sql) => gated(() => native.all(sql)),
    close: () => hub.disconnect(client, () => native.close()),
  };
}
