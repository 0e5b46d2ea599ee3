/**
 * The prototypes of one connection's statements, iterators, tag stores and sessions.
 *
 * These stay the driver's own objects, for only those know when they are busy. They get another
 * prototype, between them and the driver's: that of a writer passes the gate, that of a reader
 * leaves get, all and the rows' next to the driver, so that a read costs what it always did. Fencing
 * fills the readers' prototypes with methods that throw; it reaches every object that was ever made
 * without keeping a list of them.
 */
import type { LockstepError } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { inspectStatement } from "./owned.ts";

// biome-ignore lint/suspicious/noExplicitAny: the driver's methods, called as they were called
export type Method = (this: any, ...args: any[]) => any;
type Methods = Record<PropertyKey, Method>;

/** What a driver's object is, with the prototype that it came with. */
type Kind = "reader" | "writer" | "rows" | "written rows" | "tag store" | "session";

export class Prototypes {
  readonly #connection: Connection;
  /** Ours by the driver's, of which Node.js makes a new one for each tag store. */
  readonly #made = new Map<Kind, WeakMap<object, object>>();
  /** Those that do not ask by themselves whether the connection is fenced. */
  readonly #trusting: { kind: Trusting; prototype: object; native: Methods }[] = [];
  #failure: LockstepError | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Makes an object one of ours; returns it. */
  adopt<T extends object>(object: T, kind: Kind): T {
    if (Object.hasOwn(object, "next")) return this.#adoptItself(object);
    const native = Object.getPrototypeOf(object);
    const prototype = this.#made.get(kind)?.get(native) ?? this.#make(kind, native);
    return Object.setPrototypeOf(object, prototype);
  }

  /** Before 22.16 Node.js gave each iterator methods of its own: all of these ask, and may wait. */
  #adoptItself<T extends object>(rows: T): T {
    const native = { ...rows } as Methods;
    override(rows, native, kinds["written rows"](this.#connection, native));
    return rows;
  }

  /** From here on everything but `return` and what closes throws `failure`. */
  fence(failure: LockstepError): void {
    this.#failure = failure;
    for (const { kind, prototype, native } of this.#trusting) {
      override(prototype, native, fenced[kind](failure, native));
    }
  }

  #make(kind: Kind, native: Methods): object {
    const prototype = Object.create(native) as object;
    override(prototype, native, kinds[kind](this.#connection, native));
    if (isTrusting(kind)) {
      if (this.#failure) override(prototype, native, fenced[kind](this.#failure, native));
      this.#trusting.push({ kind, prototype, native });
    }
    const ours = this.#made.get(kind) ?? new WeakMap<object, object>();
    this.#made.set(kind, ours.set(native, prototype));
    return prototype;
  }
}

/** Gives `target` methods that look like those of `native`; skips what `native` does not have. */
export function override(target: object, native: object, methods: Methods): void {
  for (const name of Reflect.ownKeys(methods)) {
    const method = methods[name as string] as Method;
    const original = descriptorOf(native, name);
    if (typeof original?.value !== "function") continue; // an older version of the driver
    for (const property of ["name", "length"]) {
      Object.defineProperty(method, property, { value: original.value[property] });
    }
    Object.defineProperty(target, name, { ...original, value: method });
  }
}

function descriptorOf(object: object | null, name: PropertyKey): PropertyDescriptor | undefined {
  if (object === null) return undefined;
  return (
    Object.getOwnPropertyDescriptor(object, name) ??
    descriptorOf(Object.getPrototypeOf(object), name)
  );
}

// --- what each kind does ---

const kinds: Record<Kind, (connection: Connection, native: Methods) => Methods> = {
  reader: ({ prototypes }, { iterate }) => ({
    iterate(...args) {
      return prototypes.adopt(iterate?.apply(this, args), "rows");
    },
  }),

  writer: (connection, native) => ({
    ...each(["run", "get", "all"], (name) => {
      const method = native[name] as Method;
      return function (...args) {
        return connection.commitOne(() => method.apply(this, args), this);
      };
    }),
    iterate(...args) {
      // To begin anew ends what an abandoned iterator had begun.
      const begin = () => native["iterate"]?.apply(this, args);
      return connection.prototypes.adopt(connection.commit(begin, this), "written rows");
    },
    ...each(["close", Symbol.dispose], (name) => {
      const method = native[name] as Method;
      return function () {
        return connection.release(() => method.apply(this));
      };
    }),
  }),

  rows: () => ({}),

  "written rows": (connection, native) => ({
    next(...args) {
      if (connection.failure) return endWith(connection.failure, native, this);
      return connection.settle(
        () => native["next"]?.apply(this, args),
        ({ done }) => done,
      );
    },
    return(...args) {
      return connection.settle(() => native["return"]?.apply(this, args));
    },
  }),

  "tag store": (connection, native) => {
    const canCommit = inspector(connection.path);
    const { prototypes } = connection;
    return {
      ...each(["run", "get", "all"], (name) => {
        const method = native[name] as Method;
        return function (...args) {
          if (canCommit(args[0]))
            return connection.commitOne(() => method.apply(this, args), args[0]);
          connection.check();
          return method.apply(this, args);
        };
      }),
      iterate(...args) {
        const begin = () => native["iterate"]?.apply(this, args);
        if (canCommit(args[0]))
          return prototypes.adopt(connection.commit(begin, args[0]), "written rows");
        connection.check();
        return prototypes.adopt(begin(), "rows");
      },
      clear() {
        return connection.release(() => native["clear"]?.apply(this));
      },
    };
  },

  session: () => ({}),
};

/** Looks at each template once, unless it could change. */
function inspector(primary: string): (template: unknown) => boolean {
  const known = new WeakMap<object, boolean>();
  return (template) => {
    if (!Array.isArray(template)) return false; // the driver says what is wrong with it
    let canCommit = known.get(template);
    if (canCommit === undefined) {
      canCommit = inspectStatement(template.join("?"), primary);
      if (Object.isFrozen(template)) known.set(template, canCommit);
    }
    return canCommit;
  };
}

// --- what throws when the connection is fenced, of the kinds that do not ask ---

const fenced = {
  reader: (failure: LockstepError): Methods => throwing(["run", "get", "all", "iterate"], failure),
  rows: (failure: LockstepError, native: Methods): Methods => ({
    next() {
      return endWith(failure, native, this);
    },
  }),
  session: (failure: LockstepError): Methods => throwing(["changeset", "patchset"], failure),
};

type Trusting = keyof typeof fenced;

function isTrusting(kind: Kind): kind is Trusting {
  return kind in fenced;
}

/** A loop does not call `return` after a throwing `next`, and the rows would keep it from closing. */
function endWith(failure: LockstepError, native: Methods, rows: unknown): never {
  native["return"]?.apply(rows);
  throw failure;
}

function throwing(names: string[], failure: LockstepError): Methods {
  return each(names, () => () => {
    throw failure;
  });
}

function each<Name extends PropertyKey>(names: Name[], method: (name: Name) => Method): Methods {
  return Object.fromEntries(names.map((name) => [name, method(name)]));
}
