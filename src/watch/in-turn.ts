/**
 * What looks at disks in the background does so one after the other, for whichever database of the thread. A look at
 * a disk that hangs holds a thread of libuv's pool until that answers; there are four, and the primary's syncs and the
 * application need them. So it is one that can be lost, and no look begins meanwhile.
 */
type Look = () => Promise<void>;

const waiting = new Set<Look>();
let isLooking = false;

/** Has it called when those before it are done: once, however often it is asked for until then. */
export function inTurn(look: Look): void {
  waiting.add(look);
  if (!isLooking) void lookAround();
}

/** It is not called any more, if it has not begun. */
export function withdraw(look: Look): void {
  waiting.delete(look);
}

// --- internal ---

async function lookAround(): Promise<void> {
  isLooking = true;
  for (const look of waiting) {
    waiting.delete(look);
    await look();
  }
  isLooking = false;
}
