/** `lockstep completion`: prints a script that completes the command line in a shell. */
import { parseArgs } from "node:util";
import { completionScript, SHELLS, type Words } from "../completion.ts";
import { type Io, UsageError } from "../io.ts";
import type { Commands } from "../main.ts";
import { optionsIn } from "../usage.ts";

export const usage = `Usage: lockstep completion bash|zsh|fish

Prints a script for the shell that completes commands and options. It asks nothing when it is used:
print it anew after an update.

  --json   {"shell": string, "script": string}

Examples:
  eval "$(lockstep completion bash)"                       # in ~/.bashrc
  eval "$(lockstep completion zsh)"                        # in ~/.zshrc, after compinit
  lockstep completion fish > ~/.config/fish/completions/lockstep.fish

Exit status: 0 printed, 1 failed, 2 wrong usage.`;

export async function run(args: string[], io: Io, commands: Commands): Promise<0 | 1> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" } },
  });
  const shell = SHELLS.find((each) => each === positionals[0]);
  if (shell === undefined || positionals.length > 1) {
    throw new UsageError(`completion takes the name of a shell: ${SHELLS.join(", ")}.`);
  }
  const found = new Map<string, Words>();
  for (const [name, load] of Object.entries(commands)) {
    const command = await load();
    const words = name === "completion" ? SHELLS : [];
    found.set(name, { options: optionsIn(command.usage), words });
  }
  const script = completionScript(shell, found);
  if (values.json) io.json({ shell, script });
  else io.print(script);
  return 0;
}
