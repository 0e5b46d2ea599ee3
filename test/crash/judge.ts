/** Does what the checks found keep the promises? Pure: a list of what does not. */
import type { CheckJob, CheckReport } from "./check.ts";
import type { Contents } from "./contents.ts";

export function judge(job: CheckJob, report: CheckReport): string[] {
  const { reopened, replica, primary, restored, shell, expected } = report;
  const digest = (found: number): string | undefined => expected[found - job.lo];
  return [
    ...contents(job, digest, "(a) reopened", reopened),
    ...contents(job, digest, "(b) the replica alone", replica),
    ...contents(job, digest, "(c) the primary alone", primary),
    ...contents(job, digest, "(d) the replica, restored", restored),
    ...(shell !== null && shell !== "ok" ? [`(b) the sqlite3 command says: ${shell}`] : []),
    ...(reopened.identical ? [] : ["(a) verify finds the reopened copies different"]),
    ...(reopened.sameBytes ? [] : ["(a) the closed files differ byte for byte"]),
  ];
}

/** @param digestOf what a plain database holds after so many transactions; asked from lo to hi */
export function contents(
  { lo, hi }: Pick<CheckJob, "lo" | "hi">,
  digestOf: (found: number) => string | undefined,
  name: string,
  copy: Contents | null,
): string[] {
  // Before the first acknowledgement a copy need not exist.
  if (copy === null) return lo === 0 ? [] : [`${name}: no file, but ${lo} were acknowledged`];
  if (copy.integrity !== "ok") return [`${name}: not sound: ${copy.integrity}`];
  const { found } = copy;
  if (found < lo) return [`${name}: ${lo} were acknowledged, ${found} are found`];
  if (found > hi) return [`${name}: holds ${found}, but only ${hi} were ever begun`];
  if (copy.digest !== digestOf(found)) return [`${name}: ${found} found, contents differ`];
  return [];
}
