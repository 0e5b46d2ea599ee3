/** All targets by name. */
import "../support/memory.ts";
import type { Ending } from "../scratch.ts";
import type { Target } from "./fuzzer.ts";
import { commandsTarget } from "./targets/commands.ts";
import { decideTarget } from "./targets/decide.ts";
import { dsnTarget } from "./targets/dsn.ts";
import { indexTarget } from "./targets/index.ts";
import { logTarget } from "./targets/log.ts";
import { optionsTarget } from "./targets/options.ts";
import { recordTarget } from "./targets/record.ts";
import { startTarget } from "./targets/start.ts";

const targets = {
  log: logTarget,
  index: indexTarget,
  record: recordTarget,
  decide: decideTarget,
  dsn: dsnTarget,
  options: optionsTarget,
  start: startTarget,
  commands: commandsTarget,
};

/** What a process that tries does not survive; whoever started it has to notice. */
const canaries = {
  hang: () =>
    canary("hang", () => {
      for (;;);
    }),
  crash: () => canary("crash", () => process.abort()),
};

export type TargetName = keyof typeof targets;
export const targetNames = Object.keys(targets) as TargetName[];

/** Makes a target for as long as `use` runs. */
export async function withTarget<T>(
  name: TargetName,
  use: (target: Target<unknown>) => Promise<T>,
): Promise<T> {
  const ends: (() => unknown)[] = [];
  const ending = { after: (end: () => unknown) => void ends.push(end) } as Ending;
  const all: Record<string, (t: Ending) => unknown> = { ...targets, ...canaries };
  const make = all[name];
  if (!make) throw new Error(`targets: ${targetNames.join(", ")}`);
  try {
    return await use(make(ending) as Target<unknown>);
  } finally {
    for (const end of ends.reverse()) end();
  }
}

function canary(name: string, check: () => void): Target<object> {
  return { name, corpus: [{ name }], mutate: (input) => input, check, unguided: true };
}
