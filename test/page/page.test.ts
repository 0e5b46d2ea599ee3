/**
 * The page in a real Chromium, under the policy that allows nothing but its own files, with reports that the
 * test makes. After each test: it complained of nothing, and asked no other host for anything.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { Browser, noChromium, type Tab } from "./browser.ts";
import {
  detached,
  failed,
  healthy,
  hostile,
  PRIMARY,
  REPLICA,
  rejoining,
  replica,
  type Snapshot,
} from "./snapshots.ts";
import { Source } from "./source.ts";

let browser: Browser;

interface Opened {
  readonly tab: Tab;
  readonly source: Source;
}

/** Opens the page, waits for its first report, and looks at the end what it complained of. */
async function opened(
  snapshot: Snapshot,
  look: (opened: Opened) => Promise<void>,
  expected: RegExp | null = null,
): Promise<void> {
  const source = await Source.start(snapshot);
  const tab = await browser.open();
  try {
    await tab.show();
    await tab.goto(source.url);
    await tab.until(`!document.querySelector("#report").hidden`);
    await look({ tab, source });
    const complaints = tab.errors.filter((each) => !expected?.test(each));
    assert.deepEqual(complaints, [], "it complained");
    assert.ok(tab.requests.length > 5);
    for (const url of tab.requests) assert.ok(url.startsWith(source.url), `it asked for ${url}`);
  } finally {
    await tab.close();
    await source.stop();
  }
}

const level = (is: string): string => `document.body.dataset.level === "${is}"`;
/** What the browser says when nobody answers: it cannot be kept from saying so. */
const REFUSED = /net::ERR_|Failed to load resource/;

describe("the page", { skip: noChromium }, () => {
  before(() => {
    browser = Browser.launch();
  });
  after(() => browser.close());

  test("all is well: one sentence, and each copy with what it holds", async () => {
    await opened(healthy(), async ({ tab }) => {
      await tab.until(level("good"));
      assert.equal(await tab.text("h1"), "Both copies are in step.");
      assert.equal(await tab.evaluate("document.title"), "In step: app.db");
      assert.match(await tab.text("#link"), /^Live, reported at \d\d:\d\d:\d\d$/);
      const [primary, copy] = await tab.evaluate(
        `[...document.querySelectorAll(".copy")].map((each) => each.innerText)`,
      );
      assert.match(primary, new RegExp(`${PRIMARY}\\s+Takes the writes`));
      assert.match(primary, /7\.4 MiB of 32 MiB\s+23 % of its limit/);
      assert.match(copy, new RegExp(`${REPLICA}\\s+In step`));
      assert.match(copy, /frame 1,874, the same as the primary's/);
      assert.match(copy, /Lag\s+none/);
      assert.match(copy, /p50 1\.3 ms, p99 3\.4 ms/);
      assert.match(copy, /Last proof\s+2 days ago/);
      assert.doesNotMatch(copy, /Last error/);
    });
  });

  test("a replica detaches and comes back: red, amber, green, each announced once", async () => {
    await opened(healthy(), async ({ tab, source }) => {
      await tab.until(level("good"));
      await tab.evaluate(`
        window.said = [];
        new MutationObserver(() => said.push(document.querySelector("#announcement").textContent))
          .observe(document.querySelector("#announcement"), { childList: true, characterData: true, subtree: true });
      `);
      const start = Date.now() - 60_000;
      source.report(detached(Date.now(), 60_000));
      await tab.until(level("bad"), 2000);
      assert.match(await tab.text("h1"), /^The replica \/mnt\/b\/app\.db is out of step since/);
      assert.match(await tab.text("#steps"), /^Mount the replica's disk again/);
      assert.match(await tab.evaluate("document.title"), /^Out of step/);
      const copy = await tab.evaluate(`document.querySelectorAll(".copy")[1].innerText`);
      assert.match(copy, /Detached: commits go on without it/);
      assert.match(copy, /2,228 frames, 8\.8 MiB\s+behind for 60 seconds/);
      assert.match(copy, /Last error\s+ENOENT.*\s+What to do: Mount/);
      // Its figures change with each report; the state does not.
      for (const seconds of [70, 80, 90]) {
        source.report(detached(start + seconds * 1000, seconds * 1000));
        await tab.until(
          `document.querySelectorAll(".copy")[1].innerText.includes("for ${seconds} seconds")`,
        );
      }
      source.report(rejoining());
      await tab.until(level("warning"), 2000);
      assert.match(await tab.text("h1"), /is catching up/);
      source.report(healthy());
      await tab.until(level("good"), 2000);
      const said: string[] = await tab.evaluate("said");
      assert.equal(said.length, 3, said.join("\n"));
      assert.match(said[0] ?? "", /out of step.*ENOENT.*Mount the replica/);
      assert.match(said[1] ?? "", /catching up/);
      assert.match(said[2] ?? "", /^Both copies are in step\./);
    });
  });

  test("a replica that stands in an earlier log: its frame is no measure of how far it is behind", async () => {
    const [gone] = detached().replicas;
    const replicas = [{ ...gone!, position: "1/8f3a61c04be2d974/9000/51c2e6a90d37b48f" }];
    await opened({ ...detached(), replicas }, async ({ tab }) => {
      const copy = await tab.evaluate(`document.querySelectorAll(".copy")[1].innerText`);
      assert.match(copy, /frame 9,000 of an earlier log/);
      assert.match(copy, /at least 2,228 frames, 8\.8 MiB/);
    });
  });

  test("fenced: nothing is acknowledged, and what to do", async () => {
    await opened(failed(), async ({ tab }) => {
      await tab.until(level("bad"));
      assert.match(await tab.text("h1"), /nothing is acknowledged since/);
      assert.match(await tab.text("#todo"), /What to do\s+Make room on the replica's disk/);
      assert.match(await tab.text(".copy .state"), /Fenced: nothing is acknowledged/);
    });
  });

  test("a copy that was never proven, or long ago, is noted; it is no alarm", async () => {
    const replicas = [
      replica({ lastProof: null }),
      replica({ path: "/mnt/c/app.db", lastProof: "2020-01-01T00:00:00Z" }),
    ];
    await opened(healthy({ replicas }), async ({ tab }) => {
      await tab.until(level("good"));
      assert.match(await tab.text("#notes"), /\/mnt\/b\/app\.db was never proven to restore/);
      assert.match(
        await tab.text("#notes"),
        /\/mnt\/c\/app\.db was last proven to restore .* days ago/,
      );
      assert.equal(
        await tab.evaluate(`document.querySelectorAll(".copy dd .warning:not([hidden])").length`),
        2,
      );
    });
  });

  for (const how of ["vanishes", "hangs"] as const) {
    test(`the process ${how}: nothing looks healthy until it is heard again`, async () => {
      await opened(
        healthy(),
        async ({ tab, source }) => {
          await tab.until(level("good"));
          if (how === "hangs") source.hang(true);
          else await source.vanish();
          await tab.until(level("lost"), 6000);
          assert.match(await tab.text("h1"), /^No word from the process since .*\d\d:\d\d:\d\d\.$/);
          assert.match(
            await tab.text("#steps"),
            /lockstep status \/var\/lib\/app\/app\.db \/mnt\/b\/app\.db/,
          );
          assert.match(await tab.text("#link"), /^Connection lost \d+ seconds? ago$/);
          assert.match(await tab.text("#as-of"), /^As last reported at/);
          assert.match(await tab.evaluate("document.title"), /^No connection/);
          assert.match(
            await tab.evaluate(`document.querySelector("link[rel=icon]").href`),
            /icon-lost/,
          );
          assert.equal(await tab.evaluate(`document.querySelectorAll(".mark.good").length`), 0);
          assert.match(await tab.text(".copy:last-child .state"), /^Not known; was: in step$/);
          if (how === "hangs") source.hang(false);
          else await source.listen();
          await tab.until(level("good"));
          assert.equal(await tab.text("#as-of"), "");
        },
        REFUSED,
      );
    });
  }

  test("a connection that stays silent is given up and opened anew", async () => {
    await opened(healthy(), async ({ tab, source }) => {
      source.hang(true);
      await once(source, "listener", { signal: AbortSignal.timeout(20_000) });
      assert.equal(await tab.evaluate("document.body.dataset.level"), "lost");
    });
  });

  test("a page that is opened while the process says nothing does not look healthy", async () => {
    const source = await Source.start(healthy());
    source.hang(true);
    const tab = await browser.open();
    await tab.goto(source.url);
    await tab.until(`document.querySelector("h1")?.textContent === "Waiting for the first report"`);
    assert.equal(await tab.evaluate("document.body.dataset.level"), "lost");
    await tab.until(`document.querySelector("h1").textContent === "No word from the process."`);
    assert.equal(await tab.evaluate(`document.querySelector("#report").hidden`), true);
    await tab.close();
    await source.stop();
  });

  test("a report that makes no sense is no word: the page says why", async () => {
    await opened(
      healthy(),
      async ({ tab, source }) => {
        await tab.until(level("good"));
        source.reportRaw('{"at":"now"}');
        await tab.until(level("lost"), 6000);
        assert.match(await tab.text("#what"), /could not be read: its field "at" makes no sense/);
        source.report(healthy());
        await tab.until(level("good"), 2000);
      },
      /its field "at" makes no sense/,
    );
  });

  test("nor is one that cannot be shown to its end", async () => {
    await opened(
      healthy(),
      async ({ tab, source }) => {
        await tab.until(level("good"));
        source.reportRaw(
          JSON.stringify(healthy({ replicas: [{ ...replica(), position: 5 as never }] })),
        );
        await tab.until(level("lost"), 6000);
        assert.match(await tab.text("#what"), /could not be read: .*split/);
        assert.equal(await tab.evaluate(`document.querySelectorAll(".mark.good").length`), 0);
      },
      /split is not a function/,
    );
  });

  test("markup in a path or a message is shown as text, and nothing in it hides", async () => {
    await opened(hostile(), async ({ tab, source }) => {
      await tab.until(level("bad"));
      const text: string = await tab.evaluate("document.body.innerText");
      assert.ok(text.split(`<img src=x onerror="window.hostile=1"><script>`).length > 8, text);
      assert.ok(text.includes("\\u{202e}gpj.db"));
      assert.equal(await tab.evaluate(`document.querySelectorAll("img, main script").length`), 0);
      source.hang(true);
      await tab.until(level("lost"), 6000);
      assert.equal(await tab.evaluate("typeof window.hostile"), "undefined");
    });
  });

  test("text put in as markup would be refused by the browser itself", async () => {
    await opened(healthy(), async ({ tab }) => {
      const refused = tab.evaluate(`document.body.innerHTML = "<img src=x>"`);
      await assert.rejects(refused, /TrustedHTML/);
      tab.errors.length = 0;
    });
  });

  test("between two reports that say the same, nothing but the time is touched", async () => {
    await opened(healthy(), async ({ tab }) => {
      await tab.until(level("good"));
      const changed: string[] = await tab.evaluate(`new Promise((resolve) => {
        const changed = [];
        const observer = new MutationObserver((records) => {
          for (const { target } of records) changed.push(target.id || target.nodeName);
          if (changed.filter((each) => each === "link").length === 3) resolve(changed);
        });
        observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
      })`);
      assert.deepEqual([...new Set(changed)], ["link"]);
    });
  });

  test("another version of the process brings another version of the page", async () => {
    await opened(healthy(), async ({ tab, source }) => {
      await tab.evaluate("window.old = true");
      source.report(healthy({ version: "0.3.0" }));
      await tab.until(`document.querySelector("#version").textContent === "Lockstep 0.3.0"`).catch(
        // The wait itself may end with the page that is left.
        () => tab.until(`document.querySelector("#version").textContent === "Lockstep 0.3.0"`),
      );
      assert.equal(await tab.evaluate("window.old"), undefined);
    });
  });

  test("the charts: lines with units, a limit, gaps where nothing is known, a text for each", async () => {
    await opened(detached(), async ({ tab }) => {
      await tab.until(`document.querySelectorAll(".chart").length === 5`);
      const names: string[] = await tab.evaluate(
        `[...document.querySelectorAll(".chart > svg")].map((each) => each.getAttribute("aria-label"))`,
      );
      assert.match(
        names[0] ?? "",
        /^Commit latency over the last hour: last p50 .* ms, p99 .* ms; highest p99 .* ms at \d\d:/,
      );
      assert.match(names[1] ?? "", /^Sync latency of \/mnt\/b\/app\.db over the last hour/);
      assert.match(names[4] ?? "", /^Write-ahead log over the last hour: last .* MiB/);
      const units: string[] = await tab.evaluate(
        `[...document.querySelectorAll(".chart")].map((each) => [...each.querySelectorAll(".grid text")].at(-1).textContent)`,
      );
      assert.deepEqual(
        units.map((each) => each.replace(/[\d.,]+ ?/, "")),
        ["ms", "ms", "", "MiB", "MiB"],
      );
      assert.equal(await tab.evaluate(`document.querySelectorAll(".limit").length`), 1);
      const ends: number[] = await tab.evaluate(
        `[...document.querySelectorAll(".chart .low")].map((each) => each.getBBox().x + each.getBBox().width)`,
      );
      assert.ok(ends[1]! < ends[0]! - 40, "what was not measured is not drawn");
      const said = await tab.text(".chart:nth-child(2) .said");
      assert.match(said, /^none since \d\d:\d\d:\d\d$/, "nor said to be the latest");
      assert.match(names[1] ?? "", /: last none since \d\d:\d\d:\d\d;/);
    });
  });

  test("a process that has run for minutes: the axis begins there, not an hour ago", async () => {
    const history = healthy().history.slice(-90);
    await opened(healthy({ history }), async ({ tab }) => {
      await tab.until(`document.querySelectorAll(".chart .low").length === 5`);
      const [line, plot]: number[] = await tab.evaluate(
        `[".low", ".grid line"].map((each) => document.querySelector(".chart " + each).getBBox().width)`,
      );
      assert.ok(line! > plot! * 0.95, `the line takes ${line} of ${plot} pixels`);
    });
  });

  test("one moment is read off all charts, by keyboard and by pointer", async () => {
    await opened(healthy(), async ({ tab }) => {
      const said = `[...document.querySelectorAll(".chart .said")].map((each) => each.textContent)`;
      await tab.until(`${said}.length === 5`);
      const last: string[] = await tab.evaluate(said);
      await tab.evaluate(`document.querySelector("#moment").focus()`);
      for (let i = 0; i < 30; i++) await tab.press("ArrowLeft", "ArrowLeft", 37);
      const earlier: string[] = await tab.evaluate(said);
      for (const [i, text] of earlier.entries()) assert.notEqual(text, last[i]);
      const moment = await tab.evaluate(
        `document.querySelector("#moment").getAttribute("aria-valuetext")`,
      );
      assert.match(moment, /^\d\d:\d\d:\d\d$|, \d\d:\d\d:\d\d$/);
      assert.equal(await tab.text("#moment-said"), moment);
      assert.equal(await tab.evaluate(`document.querySelectorAll(".cursor line").length`), 5);
      await tab.press("End", "End", 35);
      assert.deepEqual(await tab.evaluate(said), last);
      const { x, y } = await tab.evaluate(
        `(() => { const { x, y } = document.querySelector(".chart svg").getBoundingClientRect(); return { x: x + 200, y: y + 60 }; })()`,
      );
      await tab.send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
      assert.notEqual(await tab.text("#moment-said"), "latest");
      await tab.send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y: 1 });
      assert.equal(await tab.text("#moment-said"), "latest");
    });
  });

  test("the last hour as a table: a row for five minutes, a column for each figure", async () => {
    await opened(healthy(), async ({ tab }) => {
      await tab.until(`document.querySelector("#table tbody tr")`);
      const heads: string[] = await tab.evaluate(
        `[...document.querySelectorAll("#table thead th")].map((each) => each.textContent)`,
      );
      assert.deepEqual(heads, [
        ...["Until", "Commits/s", "Bytes/s", "Commit p50", "Commit p99"],
        ...["Sync p50", "Sync p99", "Log"],
      ]);
      const rows: number = await tab.evaluate(
        `document.querySelectorAll("#table tbody tr").length`,
      );
      assert.ok(rows === 12 || rows === 13, `${rows} rows`);
      assert.match(await tab.text("#table tbody td:nth-child(5)"), /^[\d.]+ ms$/);
    });
  });

  test("the keyboard reaches everything, and shows where it is", async () => {
    const events = Array.from({ length: 30 }, (_, at) => ({
      ...{ at: new Date(Date.now() - at * 1000).toISOString(), level: "info" as const },
      ...{ what: `Event ${at}`, detail: "" },
    }));
    await opened(healthy({ events }), async ({ tab }) => {
      await tab.until(`!document.querySelector("#more").hidden`);
      const reached: string[] = [];
      for (let i = 0; i < 12; i++) {
        await tab.press("Tab", "Tab", 9);
        const [name, outline] = await tab.evaluate(`(() => {
          const it = document.activeElement;
          return [it.id || it.getAttribute("href") || it.localName, getComputedStyle(it).outlineStyle];
        })()`);
        if (name === "body") break;
        reached.push(name);
        assert.equal(outline, "solid", `where ${name} is focused is seen`);
        if (name === "summary")
          await tab.send("Input.dispatchKeyEvent", { type: "char", text: "\r" });
      }
      const all = ["moment", "summary", "section", "more", "status.json", "metrics", "healthz"];
      assert.deepEqual(reached, all);
      await tab.evaluate(`document.querySelector("#more").focus()`);
      await tab.send("Input.dispatchKeyEvent", { type: "keyDown", key: "Enter", text: "\r" });
      await tab.until(`document.querySelectorAll("#events tr").length === 30`);
      assert.equal(
        await tab.evaluate(`document.querySelector("#more").getAttribute("aria-expanded")`),
        "true",
      );
    });
  });

  for (const width of [320, 360, 1280, 1600]) {
    test(`nothing is cut off at ${width} pixels`, async () => {
      const long = `/srv/${"a-very-long-name-without-a-break".repeat(6)}/app.db`;
      const [gone] = detached().replicas;
      const replicas = [gone!, replica({ path: long }), { ...gone!, path: `${long}2` }];
      const snapshot = { ...detached(), replicas, history: healthy({ replicas }).history };
      await opened(snapshot, async ({ tab }) => {
        await tab.show({ width });
        await tab.until(level("bad"));
        await tab.evaluate(
          "new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))",
        );
        const wide: string[] = await tab.evaluate(`
          [...document.querySelectorAll("body *")]
            .filter((each) => !each.closest(".symbols, .unseen, details, thead, svg"))
            .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
            .map((each) => each.outerHTML.slice(0, 80))`);
        assert.deepEqual(wide, []);
        const [has, needs] = await tab.evaluate(
          `[document.documentElement.clientWidth, document.documentElement.scrollWidth]`,
        );
        assert.equal(needs, has);
        const drawn: number[] = await tab.evaluate(
          `[...document.querySelectorAll(".chart")].map((each) => each.clientWidth - each.querySelector("svg").getBoundingClientRect().width)`,
        );
        for (const rest of drawn)
          assert.ok(rest >= 0 && rest < 2, `a chart fills its place: ${rest}`);
      });
    });
  }

  test("nothing moves", async () => {
    await opened(healthy(), async ({ tab, source }) => {
      await tab.until(level("good"));
      source.report(detached());
      await tab.until(level("bad"), 2000);
      assert.equal(await tab.evaluate("document.getAnimations().length"), 0);
      const moving = await tab.evaluate(`[...document.querySelectorAll("*")].filter((each) => {
        const { animationName, transitionDuration } = getComputedStyle(each);
        return animationName !== "none" || transitionDuration !== "0s";
      }).length`);
      assert.equal(moving, 0);
    });
  });
});
