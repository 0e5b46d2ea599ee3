/**
 * A strict reader of the text that Prometheus scrapes: it refuses what the format forbids, and what the
 * convention does. Returns the samples by name.
 */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function readMetrics(text: string): Map<string, Sample[]> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const samples = new Map<string, Sample[]>();
  const families = new Set<string>();
  let family = "";
  let type = "";
  let help = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (comment) {
      const [, what, name = "", rest = ""] = comment;
      if (what === "HELP") {
        if (families.has(name)) throw new Error(`${name} is there twice`);
        [help, type, family] = [name, "", ""];
        continue;
      }
      if (help !== name) throw new Error(`${name} has a TYPE without a HELP before it`);
      if (!["counter", "gauge", "histogram"].includes(rest))
        throw new Error(`${name} is a ${rest}`);
      if ((rest === "counter") !== name.endsWith("_total")) throw new Error(`${name} is a ${rest}`);
      [family, type] = [name, rest];
      families.add(name);
      continue;
    }
    const { name, sample } = readSample(line);
    const belongs =
      type === "histogram"
        ? /^(.*)_(bucket|sum|count)$/.exec(name)?.[1] === family
        : name === family;
    if (family === "" || !belongs) throw new Error(`${name} stands in the family ${family}`);
    const known = samples.get(name) ?? [];
    const key = JSON.stringify(Object.entries(sample.labels).sort());
    if (known.some(({ labels }) => JSON.stringify(Object.entries(labels).sort()) === key)) {
      throw new Error(`${line}: is there twice`);
    }
    if (type !== "gauge" && sample.value < 0) throw new Error(`${line}: is negative`);
    samples.set(name, [...known, sample]);
  }
  for (const name of families) checkHistogram(name, samples);
  return samples;
}

function readSample(line: string): { name: string; sample: Sample } {
  const parts = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (!parts) throw new Error(`no sample: ${line}`);
  const [, name = "", inBraces = "", number = ""] = parts;
  if (!/^(?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/.test(number)) {
    throw new Error(`no number: ${line}`);
  }
  const labels: Record<string, string> = {};
  let rest = inBraces;
  while (rest !== "") {
    const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,(?=.)|$)/.exec(rest);
    if (!pair) throw new Error(`no labels: ${line}`);
    const [whole, label = "", value = ""] = pair;
    if (label in labels) throw new Error(`${label} twice: ${line}`);
    labels[label] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    rest = rest.slice(whole.length);
  }
  return { name, sample: { labels, value: Number(number.replace("Inf", "Infinity")) } };
}

/** Buckets rise with their bounds, and the last, +Inf, is the count. */
function checkHistogram(name: string, samples: ReadonlyMap<string, readonly Sample[]>): void {
  const buckets = samples.get(`${name}_bucket`);
  if (!buckets) return;
  const series = new Map<string, [bound: number, count: number][]>();
  for (const { labels, value } of buckets) {
    const { le, ...others } = labels;
    if (le === undefined) throw new Error(`a bucket of ${name} has no bound`);
    const key = JSON.stringify(Object.entries(others).sort());
    const bound = le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);
    series.set(key, [...(series.get(key) ?? []), [bound, value]]);
  }
  for (const part of ["sum", "count"]) {
    const found = samples.get(`${name}_${part}`) ?? [];
    if (found.length !== series.size) throw new Error(`${name} has not one ${part} a series`);
  }
  for (const { labels, value } of samples.get(`${name}_count`) ?? []) {
    const bounds = series.get(JSON.stringify(Object.entries(labels).sort())) ?? [];
    bounds.forEach(([bound, count], i) => {
      const [before, fewer] = bounds[i - 1] ?? [Number.NEGATIVE_INFINITY, 0];
      if (!(bound > before)) throw new Error(`the bounds of ${name} do not rise at ${bound}`);
      if (count < fewer) throw new Error(`the buckets of ${name} fall at ${bound}`);
    });
    const [bound, count] = bounds.at(-1) ?? [0, 0];
    if (bound !== Number.POSITIVE_INFINITY) throw new Error(`${name} has no bucket +Inf`);
    if (count !== value) throw new Error(`${name}: +Inf has ${count}, the count is ${value}`);
  }
}
