/** The files that make up the page: each that it names is there, and nothing else is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { page } from "../../src/serve/page.ts";

const text = (path: string): string => {
  const asset = page(path);
  assert.ok(asset, `${path} is there`);
  return asset.body.toString();
};

test("what the page names is there, by paths relative to it", () => {
  const names = [...text("/").matchAll(/(?:href|src)="([^"#]+)"/g)].map(
    ([, name]) => name as string,
  );
  const ours = names.filter((name) => !["status.json", "metrics", "healthz"].includes(name));
  assert.deepEqual(ours.sort(), ["icon-lost.svg", "page.css", "page.js"]);
  for (const name of ours) text(`/${name}`);
});

test("what the scripts import is there", () => {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const [, name] of text(path).matchAll(/^(?:import|export)[^;]*? from "([^"]+)"/gm)) {
      visit(new URL(name as string, `http://host${path}`).pathname);
    }
  };
  visit("/page.js");
  assert.ok(seen.size > 5, `only ${[...seen]}`);
});

test("an icon for each level", () => {
  for (const level of ["good", "warning", "bad", "lost"]) {
    assert.equal(page(`/icon-${level}.svg`)?.type, "image/svg+xml");
  }
});

test("types say how the bytes are to be read", () => {
  assert.equal(page("/")?.type, "text/html; charset=utf-8");
  assert.equal(page("/page.css")?.type, "text/css; charset=utf-8");
  assert.equal(page("/page.js")?.type, "text/javascript; charset=utf-8");
});

test("nothing else is served", () => {
  const others = [
    "",
    "/page",
    "/page.html",
    "/page/",
    "/page.ts",
    "/../page.ts",
    "/page/../page.js",
  ];
  for (const path of [...others, "//page.js", "/%70age.js", "/constructor", "/__proto__"]) {
    assert.equal(page(path), null, path);
  }
});

test("no markup is ever made of text, and nothing is asked of another host", () => {
  const files = ["/", "/page.css", "/page.js"];
  for (const path of files) {
    assert.doesNotMatch(text(path), /https?:|\/\/[a-z]+\./i, path);
  }
  assert.doesNotMatch(text("/"), /<style|style=|\son\w+=|<script(?![^>]* src=)/);
});
