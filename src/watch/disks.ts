/** What is to be known of the places where the copies of a database lie, whoever asks. */
import { type Place, placeOf } from "./file-system.ts";
import * as say from "./say.ts";

/** By copy, in their order; of one that cannot be looked at just now there is nothing. */
export async function placesOf(copies: readonly string[]): Promise<ReadonlyMap<string, Place>> {
  const places = new Map<string, Place>();
  for (const copy of copies) {
    const place = await placeOf(copy);
    if (place) places.set(copy, place);
  }
  return places;
}

/**
 * @param lowSpaceBytes see `Limits`
 * @param isLow was there too little room on a copy's file system before?
 */
export function aboutDisks(
  [primary, ...replicas]: readonly [primary: string, ...string[]],
  places: ReadonlyMap<string, Place>,
  lowSpaceBytes: number | null,
  isLow: (copy: string) => boolean = () => false,
): say.Keyed[] {
  const found: say.Keyed[] = [];
  for (const [copy, place] of places) {
    found.push(...say.aboutPlace(copy, place));
    found.push(...say.aboutSpace(copy, place, lowSpaceBytes, isLow(copy)));
  }
  const disk = places.get(primary)?.disk;
  for (const replica of replicas) {
    if (disk === undefined || places.get(replica)?.disk !== disk) continue;
    found.push(say.sameDisk(replica, primary));
  }
  return found;
}
