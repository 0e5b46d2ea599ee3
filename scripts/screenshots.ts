/**
 * `npm run screenshots`: the pictures of docs/page.md, taken of the page itself in a real Chromium, with
 * reports from test/page/snapshots.ts at a fixed moment.
 */
import fs from "node:fs";
import { join } from "node:path";
import { Browser, noChromium } from "../test/page/browser.ts";
import { detached, healthy, type Snapshot } from "../test/page/snapshots.ts";
import { Source } from "../test/page/source.ts";
import { shrink } from "./png.ts";

const FOLDER = join(import.meta.dirname, "../docs/images");
const BYTES_MAX = 150_000;
const NOW = Date.parse("2026-07-11T03:19:24Z");

interface Picture {
  readonly name: string;
  readonly snapshot: Snapshot;
  readonly dark: boolean;
  readonly width: number;
  /** What shows that it is drawn. */
  readonly level: "good" | "bad" | "lost";
}

const PICTURES: Picture[] = [
  { name: "healthy-light", snapshot: healthy({}, NOW), dark: false, width: 1280, level: "good" },
  { name: "healthy-dark", snapshot: healthy({}, NOW), dark: true, width: 1280, level: "good" },
  { name: "red-light", snapshot: detached(NOW), dark: false, width: 1280, level: "bad" },
  { name: "red-dark", snapshot: detached(NOW), dark: true, width: 1280, level: "bad" },
  { name: "phone-red", snapshot: detached(NOW), dark: true, width: 360, level: "bad" },
  { name: "lost-light", snapshot: healthy({}, NOW), dark: false, width: 1280, level: "lost" },
];

if (noChromium) throw new Error(`No pictures: ${noChromium}`);
fs.mkdirSync(FOLDER, { recursive: true });
const browser = Browser.launch();
for (const picture of PICTURES) await take(picture);
await browser.close();

async function take({ name, snapshot, dark, width, level }: Picture): Promise<void> {
  const source = await Source.start(snapshot);
  source.at = snapshot.at;
  const tab = await browser.open();
  await tab.send("Emulation.setTimezoneOverride", { timezoneId: "Europe/Berlin" });
  await tab.show({ width, dark });
  await tab.goto(source.url);
  await tab.until(`!document.querySelector("#report").hidden`);
  if (level === "lost") await source.vanish();
  await tab.until(`document.body.dataset.level === "${level}"`);
  const height = await tab.evaluate("document.documentElement.scrollHeight");
  await tab.show({ width, dark, height });
  const png = shrink(await tab.screenshot());
  if (png.length > BYTES_MAX) throw new Error(`${name} has ${png.length} bytes of ${BYTES_MAX}`);
  fs.writeFileSync(join(FOLDER, `page-${name}.png`), png);
  console.log(`docs/images/page-${name}.png ${width} × ${height}, ${png.length} bytes`);
  await tab.close();
  await source.stop();
}
