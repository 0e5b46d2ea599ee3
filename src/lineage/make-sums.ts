/**
 * The sums of a copy that is being made: of the bytes that are copied, or, if the source has sums, those.
 * Rot in a source that has sums thus stays rot, in the copy too.
 */
import { checksumOf, SumsFile, type SumsRecord, SumsWriter } from "./sums.ts";

export interface SumsWanted {
  /** The copies that are to have them. */
  readonly of: readonly string[];
  /** The copy that has them already; null: none. */
  readonly from: string | null;
}

/** What a copy costs nothing for: without sums it is a copy all the same, so failures end in null. */
export class SumsMaker {
  #writer: SumsWriter | null = null;
  readonly #pageSize: number;
  #source: SumsFile | null = null;
  #pages = 0;

  constructor(wanted: SumsWanted, pageSize: number, mode: number) {
    this.#pageSize = pageSize;
    this.#try(() => {
      if (wanted.from !== null) this.#source = SumsFile.open(wanted.from, "r");
      this.#writer = new SumsWriter(wanted.of, pageSize, mode);
    });
  }

  /** The next whole pages. */
  add(bytes: Uint8Array): void {
    const size = this.#pageSize;
    const count = Math.floor(bytes.length / size);
    this.#try(() => {
      const entries = this.#source?.read(this.#pages + 1, count);
      for (let i = 0; i < count && this.#writer; i++) {
        const page = this.#pages + 1 + i;
        const entry = entries?.[i] ?? checksumOf(page, bytes.subarray(i * size, (i + 1) * size));
        this.#writer.add(entry);
      }
    });
    this.#pages += count;
  }

  /** @returns what all of them have now; null if they could not be made */
  finish(): SumsRecord | null {
    this.#source?.close();
    let made: SumsRecord | null = null;
    this.#try(() => {
      made = this.#writer?.finish() ?? null;
    });
    return made;
  }

  #try(work: () => void): void {
    try {
      work();
    } catch {
      this.#writer?.abandon();
      this.#writer = null;
    }
  }
}
