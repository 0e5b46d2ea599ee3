/**
 * Reads ahead: a source is asked for what comes next before anybody wants it, up to so many bytes, so that fetching
 * and working overlap. What it gives, in which order, and what goes wrong come as they would from the source.
 */

/** Reading begins at once, and ends with the last item, an error, or `stop`. */
export class Ahead<T> implements AsyncIterable<T> {
  readonly #source: AsyncIterable<T>;
  readonly #sizeOf: (item: T) => number;
  readonly #limit: number;
  readonly #items: T[] = [];
  readonly #reading: Promise<void>;
  #bytes = 0;
  #hasEnded = false;
  #isStopped = false;
  #failure: { readonly error: unknown } | null = null;
  /** Ends the wait of whoever waits: the reader for room, or the other one for something to come. */
  #wake: () => void = () => {};

  /** @param limit how many bytes may wait here; it is exceeded by one item at most */
  constructor(source: AsyncIterable<T>, sizeOf: (item: T) => number, limit: number) {
    this.#source = source;
    this.#sizeOf = sizeOf;
    this.#limit = limit;
    this.#reading = this.#read();
  }

  /** The items, once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        if (this.#items.length > 0) {
          const item = this.#items.shift() as T;
          this.#bytes -= this.#sizeOf(item);
          this.#wake();
          yield item;
        } else if (!this.#hasEnded) await this.#change();
        else if (this.#failure) throw this.#failure.error;
        else return;
      }
    } finally {
      await this.stop();
    }
  }

  /** Nothing is read any more once this has resolved; the source's own time for an answer bounds it. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#items.length = 0;
    this.#wake();
    await this.#reading;
  }

  async #read(): Promise<void> {
    try {
      for await (const item of this.#source) {
        if (this.#isStopped) return;
        this.#items.push(item);
        this.#bytes += this.#sizeOf(item);
        this.#wake();
        while (this.#bytes >= this.#limit && !this.#isStopped) await this.#change();
        if (this.#isStopped) return;
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#hasEnded = true;
      this.#wake();
    }
  }

  /** Only one of the two waits at a time: there is nothing, or too much. */
  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}
