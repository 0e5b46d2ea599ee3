/** Each trial runs in a process of its own, which prints its figures as JSON. */
import { execFileSync } from "node:child_process";
import { arch, cpus, platform, release } from "node:os";
import { join } from "node:path";

export function trial<Figures>(script: string, ...args: (string | number)[]): Figures {
  const path = join(import.meta.dirname, script);
  const output = execFileSync(process.execPath, [path, ...args.map(String)], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(output) as Figures;
}

/** In which surroundings the figures hold. */
export function machine(): Record<string, string> {
  return {
    date: new Date().toISOString(),
    node: process.version,
    sqlite: process.versions["sqlite"] ?? "",
    system: `${platform()} ${release()} ${arch()}`,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? ""}`,
  };
}
