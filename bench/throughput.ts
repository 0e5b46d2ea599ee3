/** Many callers at once, in one process. */
import { percentile } from "./figures.ts";
import type { Case, Figures } from "./workload.ts";

/** For some seconds all callers loop; a quarter of that comes before, and is not counted. */
export async function throughput(
  { x: callers, scale }: Pick<Case, "x" | "scale">,
  call: (caller: number) => Promise<unknown>,
): Promise<Figures> {
  const seconds = scale.quick ? 0.4 : 3;
  const loops = async (milliseconds: number): Promise<number[]> => {
    const took: number[] = [];
    const end = performance.now() + milliseconds;
    const loop = async (_: unknown, caller: number) => {
      for (let before = performance.now(); before < end; ) {
        await call(caller);
        const after = performance.now();
        took.push(after - before);
        before = after;
      }
    };
    await Promise.all(Array.from({ length: callers }, loop));
    return took;
  };
  await loops(250 * seconds);
  const began = performance.now();
  const took = await loops(1000 * seconds);
  const perSecond = (took.length / (performance.now() - began)) * 1000;
  const sorted = took.sort((a, b) => a - b);
  return { perSecond, p50: percentile(sorted, 50), p99: percentile(sorted, 99) };
}
