/**
 * The few things this page does to a document. Text goes in as text. Nothing is written that is there
 * already: what a person has selected, or a screen reader stands on, stays.
 */

/** @template {Element} T @param {string} id @param {new () => T} type @returns {T} */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} "${id}"`);
  return found;
}

/** @param {Node} node @param {string} value */
export function setText(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** @param {Element} element @param {string} name @param {string | number | null} value null: none */
export function setAttribute(element, name, value) {
  const is = element.getAttribute(name);
  if (value === null) {
    if (is !== null) element.removeAttribute(name);
  } else if (is !== String(value)) element.setAttribute(name, String(value));
}

/** @param {Element} element @param {boolean} isShown */
export const setShown = (element, isShown) => setAttribute(element, "hidden", isShown ? null : "");

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string | null} [className]
 * @param {(Node | string)[]} content
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function html(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} content
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...content) {
  const element = /** @type {SVGElement} */ (
    document.createElementNS("http://www.w3.org/2000/svg", tag)
  );
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...content);
  return element;
}

/** A shape that says what its colour says. @param {string} level */
export function mark(level) {
  const use = svg("use", { href: `#${level}` });
  const icon = svg("svg", { class: `mark ${level}`, "aria-hidden": "true" }, use);
  return { icon, use };
}

/** What each list shows. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Makes a list's children anew if what they show has changed.
 * @template T
 * @param {Element} list @param {T[]} items plain data @param {(item: T) => Node} make
 */
export function setList(list, items, make) {
  const now = JSON.stringify(items);
  if (shown.get(list) === now) return;
  shown.set(list, now);
  list.replaceChildren(...items.map(make));
}
