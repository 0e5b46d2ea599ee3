/** A reporter for node:test: one line of JSON per test, named by its place in the file. */
import type { TestEvent } from "node:test/reporters";

export interface Outcome {
  readonly name: string;
  readonly ok: boolean;
  readonly error: string | null;
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const place: string[] = [];
  for await (const { type, data } of events) {
    if (type === "test:start") {
      place.length = data.nesting;
      place.push(data.name);
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details.type === "suite" || data.skip !== undefined) continue;
    const ok = type === "test:pass";
    const cause = ok ? null : data.details.error.cause;
    const error = ok ? null : ((cause as Error | undefined)?.stack ?? String(cause));
    const name = [...place.slice(0, data.nesting), data.name].join(" › ");
    yield `${JSON.stringify({ name, ok, error } satisfies Outcome)}\n`;
  }
}
