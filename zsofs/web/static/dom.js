// Elements, numbers and words. Texts of discs are hostile: they only ever become text nodes.

/** Return an element; `props` are attributes, `on…` listeners, and `class`. */
export function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** Return an SVG element. */
export function s(tag, props = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

const FOCUSABLE = "a[href], button";

/** Replace the children of an element, unless their content is the same; the focus stays in its place. */
export function fill(element, ...children) {
  const wanted = children.flat().filter((one) => one !== null && one !== undefined && one !== false);
  const made = h("div", {}, ...wanted);
  if (element.innerHTML === made.innerHTML) return;
  const focused = [...element.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  element.replaceChildren(...made.childNodes);
  if (focused >= 0) element.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Return bytes as text, with three digits. */
export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export const number = (value) => value.toLocaleString("en-US");
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
export const share = (part, whole) => (whole ? `${Math.round((100 * part) / whole)} %` : "–");

/** Return seconds as text. */
export function duration(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min`;
}

/** Return how long ago something was. */
export function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} days ago`;
}

export const clock = (time) => new Date(time * 1000).toLocaleTimeString("en-GB");
export const day = (time) => new Date(time * 1000).toLocaleDateString("en-CA");

export const CAUSES = {
  memory: "in memory: the computer was busy",
  disk: "waiting for the disk",
  decode: "decoding",
  queue: "waiting for other reads",
  hang: "the disk did not answer",
};

/** Return the name of a file without directories and extension. */
export const stem = (path) => path.slice(path.lastIndexOf("/") + 1).replace(/\.(zso|cso|ciso|dax|chd|iso|bin|ziso|zsoz)$/i, "");

/** Return a path for an address: bytes of its name that are not UTF-8 are lone surrogates, which encodeURIComponent refuses. */
export const encoded = (path) => Array.from(path, (one) => (/^[\udc80-\udcff]$/.test(one) ? `%${(one.charCodeAt(0) - 0xdc00).toString(16).toUpperCase()}`
  : encodeURIComponent(one.toWellFormed?.() ?? one))).join("");

/** Return a hue for a text. */
export function hue(text) {
  let found = 7;
  for (let at = 0; at < text.length; at += 1) found = (found * 31 + text.charCodeAt(at)) % 3600;
  return found / 10;
}
