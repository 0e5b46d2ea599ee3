/** The seed of a random test: printed in its name, and taken from the environment to replay it. */
export const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** How often; a long run says so in the environment. */
export function runs(usual: number): number {
  return Number(process.env["RUNS"] ?? usual);
}
