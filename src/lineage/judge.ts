/**
 * Which copies of a page have rotted? Copies in one position hold one content, so what the sums of one
 * copy say of a page holds for all: it takes one checksum that fits one page.
 *
 * Nothing is called rotten without a checksum. If none is known, or checksums vouch for different pages,
 * the copies differ, and that is all that can be said.
 */
export type Verdict =
  /** All are equal, and as their checksums say, if any is known. */
  | { readonly is: "sound"; readonly entry: number }
  /** `from`, the number of a copy, is as the checksum says; those of `rotten` are not. */
  | {
      readonly is: "rotten";
      readonly entry: number;
      readonly rotten: readonly number[];
      readonly from: number;
    }
  /** No copy is as its checksum says. */
  | { readonly is: "lost"; readonly entry: number }
  | { readonly is: "different"; readonly entry: 0 };

/**
 * @param pages the checksum of the page as it is, by copy
 * @param entries the checksum that the copy's sums have for it; 0 if not known
 * @param equal are the pages equal, byte for byte?
 */
export function judge(
  pages: readonly number[],
  entries: readonly number[],
  equal: boolean,
): Verdict {
  const known = new Set(entries.filter((entry) => entry !== 0));
  if (known.size === 0) {
    return equal ? { is: "sound", entry: pages[0] as number } : { is: "different", entry: 0 };
  }
  const fitting = [...known].filter((entry) => pages.includes(entry));
  if (fitting.length > 1) return { is: "different", entry: 0 };
  const [entry] = fitting;
  if (entry === undefined)
    return { is: "lost", entry: known.size === 1 ? ([...known][0] as number) : 0 };
  const rotten = pages.flatMap((page, copy) => (page === entry ? [] : [copy]));
  if (rotten.length === 0) {
    // Two pages of one checksum that differ all the same: not for us to say.
    return equal ? { is: "sound", entry } : { is: "different", entry: 0 };
  }
  return { is: "rotten", entry, rotten, from: pages.indexOf(entry) };
}
