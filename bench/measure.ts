/**
 * Goes through a workload's cases. In each round every way is tried at every place of the axis; the
 * ways take turns, and nobody always comes after the same neighbour.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { arch, cpus, platform, release } from "node:os";
import { join } from "node:path";
import Plain from "better-sqlite3";
import type { Report, Sample } from "./report.ts";
import { type Case, type Figures, type Scale, Unavailable, type Workload } from "./workload.ts";

export function measure(
  name: string,
  workload: Workload,
  scale: Scale,
  scratch: string,
  note: (line: string) => void,
): Report {
  const samples: Sample[] = [];
  const unavailable: Record<string, string> = {};
  const shared = mkdtempSync(join(scratch, `${name}-`));
  const order = Object.keys(workload.ways);
  const places = workload.axis?.values(scale) ?? [0];
  const rounds = workload.rounds?.(scale) ?? scale.rounds;
  for (let round = 0; round < rounds; round++) {
    for (const x of places) {
      for (const way of order) {
        if (way in unavailable) continue;
        if (!(workload.applies?.(way, x, round, scale) ?? true)) continue;
        const directory = join(shared, `trial-${way}`);
        mkdirSync(directory);
        const result = run(name, workload, { way, x, round, scale, directory, shared, scratch });
        rmSync(directory, { recursive: true });
        if ("unavailable" in result) unavailable[way] = String(result.unavailable);
        else samples.push({ way, x, round, figures: result });
      }
      order.push(order.shift()!);
    }
    note(`${name}: round ${round + 1} of ${rounds}`);
  }
  rmSync(shared, { recursive: true });
  return {
    workload: name,
    title: workload.title,
    ...machine(),
    scale: { ...scale, rounds },
    axis: workload.axis ? { label: workload.axis.label, values: places } : null,
    ways: workload.ways,
    figures: workload.figures,
    charts: workload.charts,
    unavailable,
    samples,
  };
}

function run(name: string, workload: Workload, one: Case): Figures | { unavailable: string } {
  const script = join(import.meta.dirname, "process.ts");
  const step = (what: "prepare" | "trial", environment: Record<string, string>) =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [...(workload.flags ?? []), script, name, what, JSON.stringify(one)],
        {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "inherit"],
          env: { ...process.env, ...environment },
        },
      ),
    ) as Figures | { unavailable: string };
  try {
    const environment = workload.environment?.(one) ?? {};
    if (workload.prepare) {
      const prepared = step("prepare", {});
      if ("unavailable" in prepared) return prepared;
    }
    return step("trial", environment);
  } catch (error) {
    if (error instanceof Unavailable) return { unavailable: error.message };
    throw error;
  }
}

/** In which surroundings the figures hold. */
function machine() {
  return {
    date: new Date().toISOString(),
    node: process.version,
    sqlite: new Plain(":memory:").prepare("SELECT sqlite_version()").pluck().get() as string,
    system: `${platform()} ${release()} ${arch()}`,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? ""}`,
  };
}
