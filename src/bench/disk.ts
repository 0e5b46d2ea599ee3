/**
 * The disks' own limit: a thread a directory writes a commit's bytes and syncs them, all at the same
 * time; a commit is done when all are. That is what Lockstep does, without SQLite and without care.
 */
import { extname } from "node:path";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from "node:worker_threads";
import { allocate, type SharedMemory, Slots, states } from "../gate/slots.ts";

/** What a thread is told. It posts what the system said if that was an error. */
export interface DiskThreadData {
  readonly index: number;
  readonly directory: string;
  readonly bytesPerCommit: number;
  readonly memory: SharedMemory;
  readonly port: MessagePort;
}

export interface DiskFailure {
  readonly message: string;
  readonly code: string | undefined;
}

/** How long it may take to write the files and sync them before anything is measured. */
const READY_MS = 60_000;

export class Disks {
  readonly bytesPerCommit: number;
  readonly #memory: SharedMemory;
  readonly #slots: Slots;
  readonly #ports: MessagePort[] = [];
  #commits = 0;

  /** Blocks until every thread has its file. */
  constructor(directories: readonly string[], bytesPerCommit: number) {
    this.bytesPerCommit = bytesPerCommit;
    this.#memory = allocate(directories.length, 0); // of the ring only HEAD is used: it counts commits
    this.#slots = new Slots(this.#memory);
    directories.forEach((directory, index) => {
      this.#start(index, directory);
    });
    const deadline = performance.now() + READY_MS;
    this.#await((index) => {
      if (performance.now() > deadline) throw new Error(`no thread writes ${directories[index]}`);
      return this.#slots.state(index) === states.ATTACHED;
    });
  }

  /** Returns when every disk has it. */
  commit(): void {
    this.#slots.publish(++this.#commits, true);
    this.#await((index) => this.#slots.tail(index) === this.#commits);
  }

  close(): void {
    for (const index of this.#ports.keys()) this.#slots.giveUp(index);
    this.#slots.wakeWorkers();
  }

  #start(index: number, directory: string): void {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    this.#ports.push(port1);
    const { bytesPerCommit } = this;
    const memory = this.#memory;
    const workerData: DiskThreadData = { index, directory, bytesPerCommit, memory, port: port2 };
    new Worker(new URL(`./disk-thread${extname(import.meta.url)}`, import.meta.url), {
      workerData,
      transferList: [port2],
      execArgv: [],
    });
  }

  #await(done: (index: number) => boolean): void {
    this.#ports.forEach((port, index) => {
      for (;;) {
        const seen = this.#slots.bell();
        if (this.#slots.state(index) === states.FAILED) {
          const posted = receiveMessageOnPort(port) as { message: DiskFailure };
          throw Object.assign(new Error(posted.message.message), { code: posted.message.code });
        }
        if (done(index)) return;
        this.#slots.waitForBell(seen, Number.POSITIVE_INFINITY);
      }
    });
  }
}
