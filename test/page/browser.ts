/**
 * A real Chromium, driven over the DevTools protocol through a pipe: two of its file descriptors, JSON
 * messages that end in a zero byte. No port, no library; when this process ends, so does the browser.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/** Where Chromium is: CHROMIUM in the environment, else what the PATH has; null if there is none. */
export function findChromium(): string | null {
  const { CHROMIUM, PATH = "" } = process.env;
  if (CHROMIUM) return CHROMIUM;
  const places = PATH.split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return places.find((path) => fs.existsSync(path)) ?? null;
}

/** For a test's `skip`. */
export const noChromium: string | false =
  findChromium() === null &&
  "there is no Chromium: apt-get install -y chromium, or name one in CHROMIUM";

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  // biome-ignore lint/suspicious/noExplicitAny: the protocol's own shapes, too many to repeat
  readonly params?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly result?: any;
  readonly error?: { readonly message: string };
}

export class Browser extends EventEmitter<{ message: [Message] }> {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, PromiseWithResolvers<Message["result"]>>();
  #last = 0;

  private constructor(child: ChildProcess, profile: string) {
    super();
    this.setMaxListeners(0);
    this.#process = child;
    this.#profile = profile;
    let rest = "";
    const fromBrowser = child.stdio[4] as Readable;
    fromBrowser.setEncoding("utf8").on("data", (chunk: string) => {
      const messages = (rest + chunk).split("\0");
      rest = messages.pop() as string;
      for (const each of messages) this.#receive(JSON.parse(each));
    });
    let said = "";
    (child.stdio[2] as Readable).setEncoding("utf8").on("data", (chunk: string) => {
      said = (said + chunk).slice(-2000);
    });
    child.once("exit", () => {
      const ended = new Error(`Chromium ended. It said last:\n${said}`);
      for (const { reject } of this.#waiting.values()) reject(ended);
    });
  }

  static launch(): Browser {
    const profile = fs.mkdtempSync(join(tmpdir(), "lockstep-chromium-"));
    const flags = [
      ...["--headless", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "--no-first-run"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
      ...["--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"],
      // Chromium's own sandbox refuses to run for root, as in a container.
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ];
    const stdio = ["ignore", "ignore", "pipe", "pipe", "pipe"] as const;
    return new Browser(spawn(findChromium() as string, flags, { stdio: [...stdio] }), profile);
  }

  async send(method: string, params: object = {}, sessionId?: string): Promise<Message["result"]> {
    const id = ++this.#last;
    const answer = Promise.withResolvers<Message["result"]>();
    this.#waiting.set(id, answer);
    const toBrowser = this.#process.stdio[3] as Writable;
    toBrowser.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return answer.promise;
  }

  async open(): Promise<Tab> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const attached = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, targetId, attached.sessionId);
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await tab.send(`${domain}.enable`);
    return tab;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const exited = once(this.#process, "exit");
      this.send("Browser.close").catch(() => {}); // It may be gone before it answers.
      await exited;
    }
    fs.rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #receive(message: Message): void {
    if (message.id === undefined) {
      this.emit("message", message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) waiting?.reject(new Error(message.error.message));
    else waiting?.resolve(message.result);
  }
}

/** One page. Keeps what it complained of and what it asked for. */
export class Tab {
  readonly errors: string[] = [];
  readonly requests: string[] = [];
  readonly #browser: Browser;
  readonly #target: string;
  readonly #session: string;

  constructor(browser: Browser, target: string, session: string) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
    browser.on("message", ({ sessionId, method, params }) => {
      if (sessionId !== session) return;
      if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
      if (method === "Log.entryAdded" && params.entry.level === "error") {
        this.errors.push(params.entry.text);
      }
      if (method === "Runtime.exceptionThrown") {
        const { exceptionDetails } = params;
        this.errors.push(exceptionDetails.exception?.description ?? exceptionDetails.text);
      }
      if (method === "Runtime.consoleAPICalled" && params.type === "error") {
        this.errors.push(
          params.args
            .map(
              (each: { description?: string; value?: unknown }) => each.description ?? each.value,
            )
            .join(" "),
        );
      }
    });
  }

  send(method: string, params: object = {}): Promise<Message["result"]> {
    return this.#browser.send(method, params, this.#session);
  }

  async goto(url: string): Promise<void> {
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  /** How wide the window is, in CSS pixels, and what its owner prefers. */
  async show({ width = 1280, height = 900, dark = false, scale = 1 } = {}): Promise<void> {
    await this.send("Emulation.setDeviceMetricsOverride", {
      ...{ width, height, deviceScaleFactor: scale, mobile: false },
    });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  /** The value of an expression in the page; a promise's, once it is there. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the expression gives
  async evaluate(expression: string): Promise<any> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      ...{ expression, awaitPromise: true, returnByValue: true },
    });
    if (!exceptionDetails) return result.value;
    throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  }

  /** Waits until an expression holds in the page; asks whenever the page changes. */
  until(expression: string, timeoutMs = 20_000): Promise<void> {
    return this.evaluate(`new Promise((resolve, reject) => {
      const holds = () => { try { return Boolean(${expression}); } catch { return false; } };
      if (holds()) return resolve();
      const done = (settle) => { observer.disconnect(); clearTimeout(timer); settle(); };
      const observer = new MutationObserver(() => { if (holds()) done(resolve); });
      observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
      const timer = setTimeout(() => done(() => reject(new Error(
        ${JSON.stringify(`In time this did not become so: ${expression}\n`)} + document.body.innerText))), ${timeoutMs});
    })`);
  }

  /** The text of the first element that a selector finds. */
  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`);
  }

  async press(key: string, code = key, keyCode = 0): Promise<void> {
    const params = { key, code, windowsVirtualKeyCode: keyCode };
    await this.send("Input.dispatchKeyEvent", { type: "rawKeyDown", ...params });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...params });
  }

  /** As PNG. */
  async screenshot(options: object = {}): Promise<Buffer> {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", ...options });
    return Buffer.from(data, "base64");
  }

  async close(): Promise<void> {
    await this.#browser.send("Target.closeTarget", { targetId: this.#target });
  }
}
