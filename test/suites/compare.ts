/** compare.ts LIST: compares the pairs of copies in a list, writes the verdicts in its place. */
import { readFileSync, writeFileSync } from "node:fs";
import { verify } from "../../src/verify.ts";

export interface Verdict {
  readonly primary: string;
  readonly identical: boolean;
  readonly error: string | null;
}

if (import.meta.main) {
  const list = process.argv[2] ?? "";
  const verdicts: Verdict[] = [];
  for (const [primary, replica] of JSON.parse(readFileSync(list, "utf8")) as [string, string][]) {
    try {
      const { identical } = await verify(primary, replica);
      verdicts.push({ primary, identical, error: null });
    } catch (error) {
      verdicts.push({ primary, identical: false, error: String(error) });
    }
  }
  writeFileSync(list, JSON.stringify(verdicts));
}
