/** What both drop-ins' `openStandby` share: the follower runs before its copy is opened, and not longer than that fails. */
import { Follower, type FollowerOptions } from "../standby/follower.ts";

/**
 * Starts to follow, and opens the copy once it has come to what was the stream's end.
 * @param options the driver's, and how to follow
 */
export async function startStandby<Options extends object, Opened>(
  stream: string,
  path: string,
  options: Options & FollowerOptions,
  open: (own: Omit<Options, keyof FollowerOptions>, follower: Follower) => Opened,
): Promise<Opened> {
  const { keys, force, signal, onProgress, onFailure, ...own } = options;
  const following = { keys, force, signal, onProgress, onFailure };
  const follower = await Follower.start(stream, path, following);
  try {
    return open(own as Omit<Options, keyof FollowerOptions>, follower);
  } catch (error) {
    follower.stop();
    await follower.stopped;
    throw error;
  }
}
