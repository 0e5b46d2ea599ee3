/**
 * Calls what the application gave us to be told: what it throws is its own affair, not that of the work under way.
 * It is thrown again where nothing of ours is on the stack, as an event's listener that failed would be.
 */
export function tellApplication(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
