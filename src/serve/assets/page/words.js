/** Figures, times and names in words. */

/** @param {number} value */
export const count = (value) => value.toLocaleString("en");

/** 1 frame, 2 frames. @param {number} value @param {string} one */
export const some = (value, one) => `${count(value)} ${one}${value === 1 ? "" : "s"}`;

/** Three digits at most, as many as tell something. @param {number} value */
export function short(value) {
  if (value === 0 || value >= 100) return count(Math.round(value));
  if (value >= 10) return String(Number(value.toFixed(1)));
  return String(Number(value.toPrecision(2)));
}

/** @param {number} value */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${short(value)} ${units[unit]}`;
}

/** @param {number} ms */
export function latency(ms) {
  if (ms < 0.9995) return `${short(Math.round(ms * 1000))} µs`;
  return ms < 1000 ? `${short(ms)} ms` : `${short(ms / 1000)} s`;
}

/** A time span, by its largest unit. @param {number} ms */
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return some(Math.round(seconds), "second");
  if (seconds < 100 * 60) return some(Math.round(seconds / 60), "minute");
  if (seconds < 48 * 3600) return some(Math.round(seconds / 3600), "hour");
  return some(Math.round(seconds / 86_400), "day");
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const CLOCK_SHORT = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** The time of day; with its date if that is not today's. @param {string | number} at @param {number} now */
export function moment(at, now, { seconds = true } = {}) {
  const date = new Date(at);
  const clock = (seconds ? CLOCK : CLOCK_SHORT).format(date);
  const day = DAY.format(date);
  return day === DAY.format(now) ? clock : `${day}, ${clock}`;
}

/** A sentence as it stands alone. Errors come without a full stop. @param {string} text */
export const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);

/**
 * A text in which nothing can hide: what is not to be seen, or turns the direction of what is, is named.
 * @param {string} text
 */
export const visible = (text) =>
  text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (char) => `\\u{${char.charCodeAt(0).toString(16)}}`,
  );

/** A path as an argument of a command that may be pasted into a shell. @param {string} path */
export const argument = (path) =>
  /^[\w./@%+=:,-]+$/.test(path) && !path.startsWith("-")
    ? path
    : `'${path.replaceAll("'", `'\\''`)}'`;
