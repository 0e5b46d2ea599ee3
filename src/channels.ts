/**
 * What Node's `diagnostics_channel` is told: every channel, and what its messages have. Nothing is put
 * together while nobody subscribes. Messages are published on the thread that has the database open.
 */
import { channel } from "node:diagnostics_channel";
import type { LockstepError } from "./errors.ts";
import type { Warning } from "./warning.ts";

/** Of every message: the primary's path. */
interface OfPrimary {
  readonly primary: string;
}

export interface ChannelMessages {
  /**
   * Commits are on every copy. With durability `commit` one message a write; with `barrier` one a round,
   * and `durationMs` is how long its first caller waited.
   */
  "lockstep:commit": OfPrimary & {
    /** How many that were, and what they took in the log. */
    readonly commits: number;
    readonly bytes: number;
    readonly durationMs: number;
  };
  /** Every copy has synced its log: how long that took, the primary's and all replicas' at the same time. */
  "lockstep:sync": OfPrimary & { readonly position: string; readonly durationMs: number };
  /** Every copy's file holds all of the log, which now starts anew. */
  "lockstep:checkpoint": OfPrimary;
  /** A checkpoint was put off, for so long now. */
  "lockstep:checkpoint-postponed": OfPrimary & {
    readonly because: string;
    readonly sinceMs: number;
  };
  /** From now on commits go on without this replica. */
  "lockstep:degraded": OfPrimary & { readonly replica: string; readonly error: LockstepError };
  /** The replica holds all again. */
  "lockstep:rejoined": OfPrimary & { readonly replica: string };
  /** Nothing more is acknowledged. */
  "lockstep:failed": OfPrimary & { readonly error: LockstepError };
  /** A page of a copy is not as it was written. */
  "lockstep:rot": OfPrimary & {
    readonly copy: string;
    readonly page: number;
    readonly owner: string | null;
  };
  /** It is in every copy's log as it was written. */
  "lockstep:healed": OfPrimary & {
    readonly copy: string;
    readonly page: number;
    readonly owner: string | null;
    readonly healedFrom: string | null;
  };
  /** Something should be known. */
  "lockstep:warning": OfPrimary & Warning;
  /** It is over. */
  "lockstep:warning-over": OfPrimary & Warning;
}

export type ChannelName = keyof ChannelMessages;

export const channels = {
  commit: channel("lockstep:commit"),
  sync: channel("lockstep:sync"),
  checkpoint: channel("lockstep:checkpoint"),
  "checkpoint-postponed": channel("lockstep:checkpoint-postponed"),
  degraded: channel("lockstep:degraded"),
  rejoined: channel("lockstep:rejoined"),
  failed: channel("lockstep:failed"),
  rot: channel("lockstep:rot"),
  healed: channel("lockstep:healed"),
  warning: channel("lockstep:warning"),
  "warning-over": channel("lockstep:warning-over"),
} as const;
