/** `npm start -- DATABASE REPLICA --listen ADDRESS`: the first live copy of a real database, and on from there. */
import { LockstepError } from "../src/index.ts";
import { observe } from "../src/observe/index.ts";
import { type Follower, replicate } from "../src/replicate.ts";
import { LiveLine } from "./terminal.ts";

const STATUS_MS = 500;

/** Mirrors what any program commits, shows it at `listen`, until SIGINT or SIGTERM. */
export async function follow(database: string, replica: string, listen: string): Promise<0 | 1> {
  try {
    const follower = await replicate(database, [replica]);
    try {
      const observation = await observe(follower.replication, { listen });
      const { address } = observation;
      console.log("Following  whatever any program commits, until you press Ctrl-C");
      console.log(
        listen.includes("/")
          ? `Listening  at ${address}`
          : `The page   http://${address}/ (POST http://${address}/durable waits until both copies have all)`,
      );
      await untilStopped(follower);
      await observation.close();
    } finally {
      await follower.stop();
    }
    console.log("Stopped    both copies are in step");
    return 0;
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    console.error(`${error.code}\n  ${error.what}.\n  ${error.state}.\n  Next: ${error.next}.`);
    return 1;
  }
}

/** @throws LockstepError what ended it */
async function untilStopped(follower: Follower): Promise<void> {
  const live = new LiveLine();
  const { replication } = follower;
  const warn = (what: string): void => live.finish(`Warning    ${what}`);
  replication.on("warning", ({ what }) => warn(what));
  for (const { what } of replication.status.warnings) warn(what);
  const show = (): string => {
    const { replicas, lastLagMs, commits, primary } = follower.status;
    const isWhole = replicas.every(({ state }) => state === "mirroring");
    const state = isWhole ? "in step" : "OUT OF STEP";
    const log = (primary.logBytes / 1e6).toFixed(1);
    return `Status     ${state}, ${commits} commits seen, the last on both after ${lastLagMs.toFixed(0)} ms, log ${log} MB`;
  };
  const ticking = setInterval(() => live.update(show()), STATUS_MS);
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  try {
    await Promise.race([stopped, follower.ended]);
  } finally {
    clearInterval(ticking);
    live.finish(show());
  }
}
