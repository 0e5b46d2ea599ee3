/** A reporter for node:test: one line of JSON for each test that fails. */
import type { TestEvent } from "node:test/reporters";

export interface Failure {
  readonly test: string;
  readonly message: string;
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type !== "test:fail" || data.details.type === "suite") continue;
    const { cause } = data.details.error;
    const message = String((cause as Error | undefined)?.message ?? cause).split("\n")[0] ?? "";
    yield `${JSON.stringify({ test: data.name, message } satisfies Failure)}\n`;
  }
}
