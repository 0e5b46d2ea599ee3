/**
 * What a command that runs for long was told, in three places: options, the environment, and one file.
 * What an earlier one says of a setting counts, and only that.
 *
 *   option       --replica-timeout 10000
 *   environment  LOCKSTEP_REPLICA_TIMEOUT=10000; of a setting with several values one a line
 *   file         --config FILE, or LOCKSTEP_CONFIG:
 *
 *     line := "" | "#" anything | name "=" value        spaces around name and value do not count
 *
 *     primary = /var/lib/app/app.db
 *     replica = /mnt/backup/app.db       one line for each
 *     replica-timeout = 10000
 *
 * A command's arguments have names here, too: PRIMARY and REPLICA… are `primary` and `replica`. A name
 * that is not known is an error wherever it stands, and so is a value that makes no sense: it says where.
 */
import fs from "node:fs";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { UsageError } from "./io.ts";

export class Settings {
  readonly #values: ReadonlyMap<string, Setting>;

  constructor(values: ReadonlyMap<string, Setting>) {
    this.#values = values;
  }

  /** Of a flag. */
  is(name: string): boolean {
    return (
      this.read(name, (text) => {
        if (text !== "true" && text !== "false")
          throw new Error(`must be true or false, not ${text}`);
        return text === "true";
      }) ?? false
    );
  }

  /** All values of a setting, in their order. */
  all(name: string): readonly string[] {
    return this.#values.get(name)?.values.map(({ text }) => text) ?? [];
  }

  /**
   * The value of a setting, read by `parse`; undefined if nobody said it.
   * @throws UsageError what `parse` throws, and where the value stands
   */
  read<Value>(name: string, parse: (text: string) => Value): Value | undefined {
    const value = this.#values.get(name)?.values.at(-1);
    if (value === undefined) return undefined;
    try {
      return parse(value.text);
    } catch (error) {
      throw new UsageError(
        `${value.where}: ${name} ${(error as Error).message}, not ${value.text}`,
      );
    }
  }
}

/** @throws UsageError, or what `parseArgs` throws of an option that it does not know */
export function readSettings(
  args: string[],
  options: ParseArgsOptionsConfig,
  positionals: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Settings {
  const known: Known = new Map([["config", { multiple: false }]]);
  for (const [name, { multiple = false }] of Object.entries(options)) known.set(name, { multiple });
  positionals.forEach((name, i) => {
    known.set(name, { multiple: i === positionals.length - 1 });
  });
  const said = fromArgs(args, { ...options, config: { type: "string" } }, positionals);
  merge(said, fromEnvironment(env, known));
  const config = said.get("config")?.values[0];
  if (config) merge(said, fromFile(config, known));
  return new Settings(said);
}

// --- internal ---

interface Setting {
  readonly values: readonly Value[];
}

interface Value {
  readonly text: string;
  /** `app.conf:3`, LOCKSTEP_REPLICA, the command line. */
  readonly where: string;
}

/** By name: may it be said more than once? */
type Known = Map<string, { readonly multiple: boolean }>;

const COMMAND_LINE = "the command line";

function fromArgs(
  args: string[],
  options: ParseArgsOptionsConfig,
  names: readonly string[],
): Map<string, Setting> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const said = new Map<string, Setting>();
  for (const [name, value] of Object.entries(values)) {
    const texts = [value].flat().map((each) => ({ text: String(each), where: COMMAND_LINE }));
    said.set(name, { values: texts });
  }
  names.forEach((name, i) => {
    const last = i === names.length - 1;
    const texts = positionals.slice(i, last ? undefined : i + 1);
    if (texts.length > 0) {
      said.set(name, { values: texts.map((text) => ({ text, where: COMMAND_LINE })) });
    }
  });
  return said;
}

function fromEnvironment(env: NodeJS.ProcessEnv, known: Known): Map<string, Setting> {
  const said = new Map<string, Setting>();
  for (const [name, { multiple }] of known) {
    const where = `LOCKSTEP_${name.toUpperCase().replaceAll("-", "_")}`;
    const text = env[where];
    if (text === undefined || text === "") continue;
    const texts = multiple ? text.split("\n").filter((line) => line !== "") : [text];
    said.set(name, { values: texts.map((each) => ({ text: each, where })) });
  }
  return said;
}

function fromFile({ text: file, where }: Value, known: Known): Map<string, Setting> {
  const said = new Map<string, { values: Value[] }>();
  for (const [i, line] of contentOf(file, where).split(/\r?\n/).entries()) {
    const at = `${file}:${i + 1}`;
    const { name, text } = /^\s*(?<name>[^\s=]+)\s*=\s*(?<text>.*?)\s*$/.exec(line)?.groups ?? {};
    if (/^\s*(#|$)/.test(line)) continue;
    if (name === undefined || !text) throw new UsageError(`${at}: a line is NAME = VALUE`);
    const setting = known.get(name);
    if (!setting || name === "config") {
      const names = [...known.keys()]
        .filter((each) => each !== "config")
        .sort()
        .join(", ");
      throw new UsageError(`${at}: there is no setting ${name}; there are ${names}`);
    }
    const before = said.get(name)?.values ?? [];
    const first = before[0];
    if (first && !setting.multiple)
      throw new UsageError(`${at}: ${name} is said in ${first.where}`);
    said.set(name, { values: [...before, { text, where: at }] });
  }
  return said;
}

function contentOf(file: string, where: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`${where}: the file cannot be read: ${(error as Error).message}`);
  }
}

/** What was said first counts. */
function merge(said: Map<string, Setting>, more: ReadonlyMap<string, Setting>): void {
  for (const [name, setting] of more) if (!said.has(name)) said.set(name, setting);
}
