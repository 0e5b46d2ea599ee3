/**
 * The seed of a random test, printed in its name. `npm test` takes the same each time, so that what
 * makes it fail is a change of ours; SEED=N replays another, SEED=random explores. The long runs
 * (docs/reliability.md) have new ones each time.
 */
export const seed = seedOf(process.env["SEED"] ?? "1565566992");

/** How often; a long run says so in the environment. */
export function runs(usual: number): number {
  return Number(process.env["RUNS"] ?? usual);
}

function seedOf(text: string): number {
  return text === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(text);
}
