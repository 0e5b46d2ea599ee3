/**
 * Scripts that complete the command line of `lockstep`: its commands, and a command's options where a
 * word begins with a dash; else files, as the shell itself does. They are whole: nothing is run when
 * somebody presses the tabulator.
 */

/** What follows a command: its options, and words that are no files. */
export interface Words {
  readonly options: readonly string[];
  readonly words: readonly string[];
}

export type Shell = "bash" | "zsh" | "fish";

export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** @param commands each command with what may follow it */
export function completionScript(shell: Shell, commands: ReadonlyMap<string, Words>): string {
  return { bash, zsh, fish }[shell](commands);
}

// --- internal ---

type Commands = ReadonlyMap<string, Words>;

const GENERAL = ["--help", "--version"];

function bash(commands: Commands): string {
  return `# lockstep's completion for bash: eval "$(lockstep completion bash)"
_lockstep() {
  local word=\${COMP_WORDS[COMP_CWORD]} options='' words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    options='${GENERAL.join(" ")}'
    words='${[...commands.keys()].join(" ")}'
  else
    case \${COMP_WORDS[1]} in
${cases(commands, ({ options, words }) => `options='${options.join(" ")}' words='${words.join(" ")}'`, "      ")}
    esac
  fi
  case $word in
    -*) COMPREPLY=( $(compgen -W "$options" -- "$word") ) ;;
    *) COMPREPLY=( $(compgen -W "$words" -- "$word") ) ;;
  esac
}
complete -o bashdefault -o default -F _lockstep lockstep`;
}

function zsh(commands: Commands): string {
  return `#compdef lockstep
# lockstep's completion for zsh: eval "$(lockstep completion zsh)", after compinit
_lockstep() {
  local -a options plain
  if (( CURRENT == 2 )); then
    options=(${GENERAL.join(" ")})
    plain=(${[...commands.keys()].join(" ")})
  else
    case $words[2] in
${cases(commands, ({ options, words }) => `options=(${options.join(" ")}) plain=(${words.join(" ")})`, "      ")}
    esac
  fi
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $options
  elif (( $#plain )); then
    compadd -- $plain
  else
    _files
  fi
}
compdef _lockstep lockstep`;
}

function fish(commands: Commands): string {
  const names = [...commands.keys()].join(" ");
  const lines = [
    "# lockstep's completion for fish: lockstep completion fish | source",
    `complete -c lockstep -n __fish_use_subcommand -f -a '${names}'`,
    ...GENERAL.map(
      (option) => `complete -c lockstep -n __fish_use_subcommand -l ${option.slice(2)}`,
    ),
  ];
  for (const [name, { options, words }] of commands) {
    const after = `complete -c lockstep -n '__fish_seen_subcommand_from ${name}'`;
    lines.push(...options.map((option) => `${after} -l ${option.slice(2)}`));
    if (words.length > 0) lines.push(`${after} -f -a '${words.join(" ")}'`);
  }
  return lines.join("\n");
}

function cases(commands: Commands, body: (words: Words) => string, indent: string): string {
  return [...commands].map(([name, words]) => `${indent}${name}) ${body(words)} ;;`).join("\n");
}
