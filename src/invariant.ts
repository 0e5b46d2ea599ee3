/**
 * What must hold, one fact a call; `facts` are what the bug report would ask for.
 * A violated invariant is our bug, never the world's fault: nobody catches it, the process stops.
 */
export class InvariantError extends Error {
  override get name(): string {
    return "InvariantError";
  }
}

export function invariant(
  holds: boolean,
  what: string,
  facts: Record<string, unknown> = {},
): asserts holds {
  if (!holds) {
    throw new InvariantError(`Lockstep invariant violated: ${what} ${JSON.stringify(facts)}`);
  }
}
