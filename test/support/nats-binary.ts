/**
 * A `nats-server` that can sync before it acknowledges, and is new enough for what docs/nats.md
 * promises: the one on the PATH, or one in the project's own cache, or Debian's package of it, which
 * is unpacked there. Nothing is installed on the machine.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** The oldest server that is taken. */
const OLDEST = [2, 14, 0] as const;
/** The suite of Debian whose package is fetched. */
const SUITE = "forky";

const CACHE = path.join(import.meta.dirname, "../../node_modules/.cache/nats");

export type Found =
  | { readonly path: string; readonly version: string }
  | { readonly path: null; readonly why: string };

/** Looks once a process. */
export function natsServer(): Found {
  return (found ??= find());
}

/** For `skip` of a test: why it does not run, or false. @throws under CI (the variable `CI` is set): there they have to run */
export function withoutNats(): string | false {
  const server = natsServer();
  if (server.path !== null) return false;
  if (process.env["CI"]) throw new Error(server.why);
  return server.why;
}

// --- internal ---

let found: Found | undefined;

function find(): Found {
  for (const each of ["nats-server", cached()]) {
    const version = each === null ? null : versionOf(each);
    if (each !== null && version !== null) return { path: each, version };
  }
  try {
    fetchPackage();
  } catch (error) {
    const why = `no nats-server >= ${OLDEST.join(".")}: none on the PATH, and Debian's could not be fetched`;
    return { path: null, why: `${why} (${(error as Error).message})` };
  }
  const fetched = cached();
  const version = fetched === null ? null : versionOf(fetched);
  if (fetched !== null && version !== null) return { path: fetched, version };
  return { path: null, why: `Debian ${SUITE} has no nats-server >= ${OLDEST.join(".")}` };
}

function cached(): string | null {
  const [file] = fs.globSync("*/usr/*bin/nats-server", { cwd: CACHE });
  return file === undefined ? null : path.join(CACHE, file);
}

/** Null if it does not run or is too old. */
function versionOf(file: string): string | null {
  const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" });
  const [, version] = /v(\d+\.\d+\.\d+)/.exec(stdout ?? "") ?? [];
  if (version === undefined) return null;
  const parts = version.split(".").map(Number);
  for (const [i, least] of OLDEST.entries()) {
    if (parts[i] !== least) return (parts[i] as number) > least ? version : null;
  }
  return version;
}

/** By apt, with a configuration of its own: the machine's mirror and keys, another suite. */
function fetchPackage(): void {
  fs.mkdirSync(CACHE, { recursive: true });
  const work = fs.mkdtempSync(path.join(CACHE, "fetch-"));
  try {
    fs.writeFileSync(path.join(work, "sources.list"), `${sourceLine()}\n`);
    for (const each of ["state/lists/partial", "cache/archives/partial", "debs"]) {
      fs.mkdirSync(path.join(work, each), { recursive: true });
    }
    const options = Object.entries({
      "Dir::State": `${work}/state`,
      "Dir::State::status": "/dev/null",
      "Dir::Cache": `${work}/cache`,
      "Dir::Etc::sourcelist": `${work}/sources.list`,
      "Dir::Etc::sourceparts": "-",
      "Dir::Etc::preferences": "-",
      "Dir::Etc::preferencesparts": "-",
      "APT::Sandbox::User": "",
      "Acquire::Languages": "none",
      "Acquire::Retries": "2",
    }).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    command("apt-get", [...options, "update"], work);
    command("apt-get", [...options, "download", "nats-server"], path.join(work, "debs"));
    const [deb] = fs.globSync("*.deb", { cwd: path.join(work, "debs") });
    if (deb === undefined) throw new Error("apt-get download left no package");
    const unpacked = path.join(work, "unpacked");
    command("dpkg", ["-x", path.join(work, "debs", deb), unpacked], work);
    // Another process may have been faster: then its package stays.
    const place = path.join(CACHE, deb.replace(/\.deb$/, ""));
    if (!fs.existsSync(place)) fs.renameSync(unpacked, place);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** Debian's mirror as the machine knows it, with our suite. */
function sourceLine(): string {
  const etc = "/etc/apt";
  const parts = fs.existsSync(`${etc}/sources.list.d`)
    ? fs.readdirSync(`${etc}/sources.list.d`)
    : [];
  for (const name of parts.filter((each) => each.endsWith(".sources"))) {
    for (const stanza of fs
      .readFileSync(`${etc}/sources.list.d/${name}`, "utf8")
      .split(/\n\s*\n/)) {
      const field = (key: string): string | undefined =>
        new RegExp(`^${key}:\\s*(\\S+)`, "im").exec(stanza)?.[1];
      const uri = field("URIs");
      if (uri === undefined || !/\/debian\/?$/.test(uri)) continue;
      const keyring = field("Signed-By");
      const signed = keyring?.startsWith("/") ? `[signed-by=${keyring}] ` : "";
      return `deb ${signed}${uri} ${SUITE} main`;
    }
  }
  const lists = [`${etc}/sources.list`, ...parts.map((each) => `${etc}/sources.list.d/${each}`)];
  for (const file of lists.filter((each) => each.endsWith(".list") && fs.existsSync(each))) {
    const line = /^deb\s+(\[[^\]]*\]\s+)?(\S+\/debian\/?)\s/m.exec(fs.readFileSync(file, "utf8"));
    if (line) return `deb ${line[1] ?? ""}${line[2]} ${SUITE} main`;
  }
  throw new Error("the machine has no source of Debian's packages");
}

function command(name: string, args: string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(name, args, {
    ...{ cwd, encoding: "utf8", timeout: 120_000 },
    env: { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${name}: ${stderr.trim().split("\n").pop() ?? "failed"}`);
}
