/**
 * For letting go: one thing that cannot be closed must not leave the next one locked.
 */

/** Runs every step, whatever the others throw; returns the first error, or null. */
export function everyStep(steps: readonly (() => void)[]): { readonly error: unknown } | null {
  let first: { readonly error: unknown } | null = null;
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      first ??= { error };
    }
  }
  return first;
}
