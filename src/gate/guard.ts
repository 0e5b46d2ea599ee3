/**
 * The guard: read-only, and always in a read transaction once it has begun. While frames of the log are not
 * in the file it holds one of SQLite's read marks 1 to 4: the log cannot restart. When all are it holds
 * mark 0: the log may restart, but nobody can fold what is written then, so that it cannot restart
 * once more before it was seen here. Being read-only it never folds and unlinks the log when it is closed.
 *
 * Among programs that write as well there are two of it, in turns: the next transaction begins before
 * the last one ends, so that there is no moment without a mark.
 */
import { type Connection, READ } from "../driver.ts";
import { everyStep } from "./every-step.ts";

export class Guard {
  /** Is it in a read transaction? */
  held = false;
  /** May it be at mark 0? */
  mayBeAtZero = true;
  #holder: Connection;
  #other: Connection | null;

  /** @param other a second connection, if others write as well; else null */
  constructor(holder: Connection, other: Connection | null) {
    this.#holder = holder;
    this.#other = other;
  }

  /** Begins the read transaction anew, at the log's present end. */
  hold(): void {
    this.mayBeAtZero = true;
    if (this.#other) return void this.tryHold(() => true);
    if (this.held) this.#holder.exec("COMMIT");
    this.held = false;
    begin(this.#holder);
    this.held = true;
  }

  /**
   * The same, but not at mark 0 where others might fold at any moment.
   * @param isBehind is it sure by now that not all was folded when the transaction began? Else the last one stays
   * @returns has it moved, and is sure not to be at mark 0?
   */
  holdOffZero(isBehind: () => boolean): boolean {
    if (!this.#other) this.hold();
    else if (this.tryHold(isBehind)) this.mayBeAtZero = false;
    else return false;
    return this.#other !== null;
  }

  /** With two connections: begins anew, and leaves the last one only if that is found right then. */
  tryHold(isRight: () => boolean): boolean {
    const next = this.#other as Connection;
    begin(next);
    if (!isRight()) {
      next.exec("COMMIT");
      return false;
    }
    if (this.held) this.#holder.exec("COMMIT");
    this.held = true;
    [this.#holder, this.#other] = [next, this.#holder];
    return true;
  }

  /** Whichever connection is left last unlinks nothing: both are read-only. */
  close(): void {
    this.held = false;
    const failed = everyStep([() => this.#holder.close(), () => this.#other?.close()]);
    if (failed) throw failed.error;
  }
}

function begin(connection: Connection): void {
  connection.exec("BEGIN"); // durable: the read mark
  try {
    connection.all(READ);
  } catch (error) {
    connection.exec("ROLLBACK");
    throw error;
  }
}
