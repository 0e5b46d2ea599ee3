/** What a command's help says, read by the command itself: help is the one list of options. */

/** Options that every command has, whether its help names them or not. */
export const COMMON = ["--json", "--quiet", "--help"] as const;

/** The long options that a help text names, `--json` for instance, each once. */
export function optionsIn(usage: string): string[] {
  const named = usage.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
  return [...new Set([...named, ...COMMON])];
}

/** The first argument that is an option, and none that the help text names; null if all are known. */
export function unknownOption(args: readonly string[], usage: string): string | null {
  const end = args.indexOf("--");
  const known = optionsIn(usage);
  const names = (end < 0 ? args : args.slice(0, end)).map((arg) => arg.replace(/=.*$/s, ""));
  return names.find((name) => /^--./.test(name) && !known.includes(name)) ?? null;
}

/** Takes options of every command out of its arguments: what they say is not the command's to know. */
export function takeFlags(args: readonly string[], ...flags: string[]): [boolean, string[]] {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const rest = args.filter((arg, at) => at >= end || !flags.includes(arg));
  return [rest.length < args.length, rest];
}
