/**
 * The public types of better-sqlite3, as far as the drop-in passes them on. They are told here, and
 * not taken from @types/better-sqlite3, so that a program compiles without that package; a test
 * keeps the two assignable to each other.
 */
import type { ReplicationHandle } from "../observe.ts";
import type { ReplicationOptions } from "../options.ts";

// biome-ignore lint/suspicious/noExplicitAny: functions of any shape, as in the original's types
export type AnyFunction = (...params: any[]) => unknown;
type ArgumentTypes<F extends AnyFunction> = F extends (...args: infer A) => unknown ? A : never;
type ElementOf<T> = T extends (infer E)[] ? E : T;

export interface SqliteErrorConstructor {
  new (message: string, code: string): Error & { code: string };
  readonly prototype: Error & { code: string };
}

/** The driver's options, and Lockstep's. */
export interface Options extends ReplicationOptions {
  readonly?: boolean | undefined;
  fileMustExist?: boolean | undefined;
  timeout?: number | undefined;
  verbose?: ((message?: unknown, ...additionalArgs: unknown[]) => void) | undefined;
  nativeBinding?: string | undefined;
  /** With a file descriptor in place of the path: that of its journal. */
  journalFd?: number | undefined;
}

export interface RunResult {
  changes: number;
  lastInsertRowid: number | bigint;
}

export interface ColumnDefinition {
  name: string;
  column: string | null;
  table: string | null;
  database: string | null;
  type: string | null;
}

export interface PragmaOptions {
  simple?: boolean | undefined;
}

export interface SerializeOptions {
  attached?: string;
}

export interface RegistrationOptions {
  varargs?: boolean | undefined;
  deterministic?: boolean | undefined;
  safeIntegers?: boolean | undefined;
  directOnly?: boolean | undefined;
}

export interface AggregateOptions<T = unknown> extends RegistrationOptions {
  start?: T | (() => T);
  // biome-ignore lint/suspicious/noConfusingVoidType: a step may return nothing
  step: (total: T, next: ElementOf<T>) => T | void;
  inverse?: ((total: T, dropped: T) => T) | undefined;
  result?: ((total: T) => unknown) | undefined;
}

export interface VirtualTableOptions {
  rows: (...params: unknown[]) => Generator;
  columns: string[];
  parameters?: string[] | undefined;
  safeIntegers?: boolean | undefined;
  directOnly?: boolean | undefined;
}

export interface BackupMetadata {
  totalPages: number;
  remainingPages: number;
}

export interface BackupOptions {
  progress: (info: BackupMetadata) => number;
}

export interface Statement<BindParameters extends unknown[] = unknown[], Result = unknown> {
  database: Database;
  source: string;
  reader: boolean;
  readonly: boolean;
  busy: boolean;

  run(...params: BindParameters): RunResult;
  get(...params: BindParameters): Result | undefined;
  all(...params: BindParameters): Result[];
  iterate(...params: BindParameters): IterableIterator<Result>;
  pluck(toggleState?: boolean): this;
  expand(toggleState?: boolean): this;
  raw(toggleState?: boolean): this;
  bind(...params: BindParameters): this;
  columns(): ColumnDefinition[];
  safeIntegers(toggleState?: boolean): this;
}

/** A statement for parameters that are given as a list, or as one object. */
export type StatementFor<Parameters, Result> = Parameters extends unknown[]
  ? Statement<Parameters, Result>
  : Statement<[Parameters], Result>;

export interface Transaction<F extends AnyFunction> {
  (...params: ArgumentTypes<F>): ReturnType<F>;
  default(...params: ArgumentTypes<F>): ReturnType<F>;
  deferred(...params: ArgumentTypes<F>): ReturnType<F>;
  immediate(...params: ArgumentTypes<F>): ReturnType<F>;
  exclusive(...params: ArgumentTypes<F>): ReturnType<F>;
}

/**
 * A database of better-sqlite3, replicated if it is opened with replicas. What the driver throws
 * passes through; what Lockstep adds is a LockstepError.
 */
export interface Database {
  /** Its replication, while it is open; null if it is not replicated. */
  readonly replication: ReplicationHandle | null;

  memory: boolean;
  readonly: boolean;
  name: string;
  open: boolean;
  inTransaction: boolean;

  // biome-ignore lint/complexity/noBannedTypes: as in the original's types
  prepare<BindParameters extends unknown[] | {} = unknown[], Result = unknown>(
    source: string,
  ): StatementFor<BindParameters, Result>;
  transaction<F extends AnyFunction>(fn: F): Transaction<F>;
  exec(source: string): this;
  pragma(source: string, options?: PragmaOptions): unknown;
  function(name: string, cb: AnyFunction): this;
  function(name: string, options: RegistrationOptions, cb: AnyFunction): this;
  aggregate<T>(name: string, options: AggregateOptions<T>): this;
  loadExtension(path: string): this;
  close(): this;
  defaultSafeIntegers(toggleState?: boolean): this;
  backup(destinationFile: string, options?: BackupOptions): Promise<BackupMetadata>;
  table(name: string, options: VirtualTableOptions): this;
  unsafeMode(unsafe?: boolean): this;
  serialize(options?: SerializeOptions): Buffer;
}

export interface DatabaseConstructor {
  /**
   * Opens a database, and with replicas brings all copies together first.
   * @param filename as for the driver, or a DSN: `sqlite3:///main.db:/replica.db`
   * @throws LockstepError, any code of the start
   */
  new (filename?: string | Buffer, options?: Options): Database;
  (filename?: string, options?: Options): Database;
  prototype: Database;
  SqliteError: SqliteErrorConstructor;
}
