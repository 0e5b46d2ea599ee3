/** Random programs: what an application does in each of its lives, how each ends, what happens then. */
import fc from "fast-check";
import type { Kill } from "./life.ts";
import type { Act } from "./model.ts";

const bytes = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 9000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 100_000, max: 3_000_000 }) },
);
const few = fc.integer({ min: 1, max: 900 });

/** What the application does while it has the database open. */
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ put: fc.integer({ min: 1, max: 4 }), bytes }) },
  {
    weight: 3,
    arbitrary: fc.record({
      transaction: fc.integer({ min: 1, max: 300 }),
      bytes: few,
      end: fc.constantFrom("COMMIT" as const, "COMMIT" as const, "ROLLBACK" as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      savepoint: fc.integer({ min: 1, max: 200 }),
      undone: fc.boolean(),
      nested: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ update: fc.integer({ min: 1, max: 9 }), bytes: few }) },
  { weight: 2, arbitrary: fc.record({ remove: fc.nat(90) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      schema: fc.constantFrom("create", "fill", "drop", "index", "no index", "both"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ version: fc.nat(1000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      maintain: fc.constantFrom(
        ...["VACUUM", "ANALYZE", "REINDEX", "PRAGMA incremental_vacuum(3)"],
        ...["BEGIN; UPDATE t SET data = ''; ROLLBACK", "PRAGMA optimize", "PRAGMA cache_size = 3"],
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ attached: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 1, arbitrary: fc.constant({ reader: true } as const) },
  { weight: 2, arbitrary: fc.constant({ durable: true } as const) },
);

const kill: fc.Arbitrary<Kill> = fc.oneof(
  fc.record({ afterStep: fc.nat(20) }),
  fc.record({ afterMs: fc.nat(60) }),
);

/**
 * How a life ends. "past": cut off after so many commits that nobody acknowledged. "torn": so, and a
 * disk had lied: that copy's log has lost its end.
 */
const end = fc.oneof(
  fc.constant("close" as const),
  fc.record({ past: fc.nat(3) }),
  fc.record({ torn: fc.nat(3), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ kill }),
);

/** What happens before the next life. Which copy: a number, taken modulo what there is. */
const between = fc.oneof(
  { weight: 6, arbitrary: fc.constant("nothing" as const) },
  { weight: 1, arbitrary: fc.record({ emptyReplica: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ restored: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.constant("primary missing" as const) },
  { weight: 1, arbitrary: fc.constant("roles swapped" as const) },
  { weight: 1, arbitrary: fc.record({ noRecord: fc.nat(3) }) },
);

const life = fc.record({
  acts: fc.array(fc.tuple(act, fc.constantFrom(0, 0, 1)), { maxLength: 9 }),
  durability: fc.constantFrom("commit" as const, "commit" as const, "barrier" as const),
  checkpointBytes: fc.constantFrom(20_000, 65_536, 300_000, 8 << 20),
  /** Replicas that are left out, a bit each. */
  away: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) }),
  end,
  between,
});

export const program = fc.record({
  pageSize: fc.constantFrom(512, 4096, 4096, 65536),
  autoVacuum: fc.constantFrom("NONE", "FULL", "INCREMENTAL"),
  driver: fc.constantFrom("node:sqlite" as const, "better-sqlite3" as const),
  replicas: fc.integer({ min: 1, max: 3 }),
  lives: fc.array(life, { minLength: 2, maxLength: 6 }),
});

export type Program = typeof program extends fc.Arbitrary<infer T> ? T : never;
export type LifePlan = Program["lives"][number];
