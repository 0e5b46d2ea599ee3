/** Segments for tests: a header with what a test does not care about filled in. */
import type { SegmentHeader } from "../../src/stream/segment.ts";

export function headerOf(change: Partial<SegmentHeader> = {}): SegmentHeader {
  return {
    kind: 1,
    writer: "0123456789abcdef",
    databaseId: "01234567-89ab-cdef-0123-456789abcdef",
    timeline: 1,
    pageSize: 512,
    ...{ salt1: 11, salt2: 22, first: 1, frames: 1 },
    before: { sum1: 1, sum2: 2 },
    after: { sum1: 3, sum2: 4 },
    base: null,
    ends: true,
    place: 1,
    ...change,
  };
}
