/**
 * axe-core looks at the page in each of its states, light and dark, on a phone and on a screen, and finds
 * nothing. It is put into the page past the page's own policy, which allows no such thing.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { Browser, noChromium, type Tab } from "./browser.ts";
import { detached, failed, healthy, rejoining, type Snapshot } from "./snapshots.ts";
import { Source } from "./source.ts";

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const STATES: [name: string, level: string, snapshot: () => Snapshot][] = [
  ["healthy", "good", healthy],
  ["catching up", "warning", rejoining],
  ["red", "bad", detached],
  ["fenced", "bad", failed],
  ["connection lost", "lost", healthy],
];

let browser: Browser;

/** What axe finds, one line an element. */
async function violations(tab: Tab): Promise<string[]> {
  await tab.evaluate(`${axe}; undefined`);
  const found = await tab.evaluate("axe.run().then(({ violations }) => violations)");
  return found.flatMap((each: { id: string; nodes: { html: string; failureSummary: string }[] }) =>
    each.nodes.map(({ html, failureSummary }) => `${each.id}: ${html} ${failureSummary}`),
  );
}

describe("axe-core finds nothing", { skip: noChromium }, () => {
  before(() => {
    browser = Browser.launch();
  });
  after(() => browser.close());

  for (const [name, level, snapshot] of STATES) {
    test(name, async () => {
      const source = await Source.start(snapshot());
      const tab = await browser.open();
      await tab.send("Page.setBypassCSP", { enabled: true });
      await tab.goto(source.url);
      await tab.until(`!document.querySelector("#report").hidden`);
      await tab.evaluate(`document.querySelector("details").open = true`);
      if (level === "lost") source.hang(true);
      await tab.until(`document.body.dataset.level === "${level}"`);
      for (const dark of [false, true]) {
        for (const width of [360, 1280]) {
          await tab.show({ width, dark });
          assert.deepEqual(
            await violations(tab),
            [],
            `${dark ? "dark" : "light"}, ${width} pixels`,
          );
        }
      }
      await tab.close();
      await source.stop();
    });
  }

  test("but it would: an image without a text, and grey on grey", async () => {
    const source = await Source.start(healthy());
    const tab = await browser.open();
    await tab.send("Page.setBypassCSP", { enabled: true });
    await tab.goto(source.url);
    await tab.until(`!document.querySelector("#report").hidden`);
    await tab.evaluate(`{
      document.querySelector("main").append(document.createElement("img"));
      document.querySelector("#what").style.color = "#aaa";
    }`);
    const found = await violations(tab);
    assert.ok(found.some((each) => each.startsWith("image-alt:")));
    assert.ok(found.some((each) => each.startsWith("color-contrast:")));
    await tab.close();
    await source.stop();
  });
});
