/** The bar of a copy that is made out of a stream: bytes of its snapshot, then messages. */
import type { FollowProgress } from "../standby/follow.ts";
import type { Io } from "./io.ts";
import { speedometer } from "./speed.ts";

export function stageBar(io: Io): (progress: FollowProgress) => void {
  const speed = speedometer();
  return ({ phase, done, total }) => {
    if (phase === "snapshot") {
      const bytesPerSecond = speed(done);
      io.progress({ what: phase, bytesDone: done, bytesTotal: total, bytesPerSecond });
    } else io.progress({ what: phase, step: "messages", stepsDone: done, stepsTotal: total });
  };
}
