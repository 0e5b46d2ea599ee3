/**
 * Why a test of a driver's own suite cannot pass with a replica attached. Each entry names what the
 * test's title or error matches, and says which promise of ours it goes against.
 */
const reasons: readonly (readonly [test: RegExp, error: RegExp, reason: string])[] = [];

export function reasonFor(test: string, error: string): string | null {
  return reasons.find(([title, text]) => title.test(test) && text.test(error))?.[2] ?? null;
}
