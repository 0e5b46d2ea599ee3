/**
 * A drop-in's prototype: the driver's, with methods that do more if the database is replicated.
 */
import type { ReplicationHandle } from "../observe.ts";
import { type Connection, connectionOf } from "./connection.ts";
import { type Method, override } from "./prototypes.ts";

/** A method's work on a replicated database; `native` is the driver's method, not yet called. */
export type Replicated<Database> = (
  connection: Connection,
  db: Database,
  args: unknown[],
  // biome-ignore lint/suspicious/noExplicitAny: whatever the driver's method returns
  native: () => any,
) => unknown;

export function prototypeOf<Database extends object>(
  dropIn: object,
  native: Database,
  methods: Readonly<Record<PropertyKey, Replicated<Database>>>,
): Database {
  const prototype = Object.create(native) as Database;
  const entries = Reflect.ownKeys(methods).map((name) => {
    const method = Reflect.get(native, name) as Method;
    const replicated = methods[name as string] as Replicated<Database>;
    return [name, gated(method, replicated)] as const;
  });
  override(prototype, native, Object.fromEntries(entries));
  Object.defineProperty(prototype, "constructor", {
    value: dropIn,
    writable: true,
    configurable: true,
  });
  Object.defineProperty(prototype, "replication", {
    get(this: Database): ReplicationHandle | null {
      return connectionOf(this)?.replication ?? null;
    },
    configurable: true,
  });
  return prototype;
}

/** A read, or what only prepares one. */
export function reading(connection: Connection, _db: unknown, _args: unknown[], native: Method) {
  connection.check();
  return native();
}

function gated<Database>(native: Method, replicated: Replicated<Database>): Method {
  return function (...args) {
    const connection = connectionOf(this);
    if (!connection) return native.apply(this, args);
    return replicated(connection, this, args, () => native.apply(this, args));
  };
}
