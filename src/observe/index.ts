/**
 * `lockstep/observe`: what is to be seen of a replication, for people and for other programs.
 */
import "../node-version.ts";
import type { ReplicationHandle } from "../observe.ts";
import { Recorder } from "../serve/recorder.ts";
import { type Served, type ServeOptions, serve } from "../serve/server.ts";

export type {
  Failure,
  RecordedEvent,
  Sample,
  Snapshot,
  SnapshotReplica,
} from "../serve/snapshot.ts";

export interface ObserveOptions extends Partial<ServeOptions> {}

export async function observe(handle: ReplicationHandle, options: ServeOptions): Promise<Served> {
  return serve(handle, options, new Recorder(handle));
}
