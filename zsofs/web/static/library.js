// The library: covers in a grid of which only the visible rows exist, so that 10,000 discs scroll.
import { bytes, fill, h, hue, number, plural, share } from "./dom.js";
import { discs, mounts, store } from "./store.js";

const choice = { text: "", platform: "", state: "", sort: "name" };
const SORTS = {
  name: ["Name", (a, b) => collator.compare(a.name, b.name)],
  size: ["Largest", (a, b) => b.plain - a.plain],
  saved: ["Most saved", (a, b) => (b.plain - b.stored) - (a.plain - a.stored)],
  verified: ["Last verified", (a, b) => Math.max(b.verified, b.badAt) - Math.max(a.verified, a.badAt)],
};
const STATES = { "": "Any state", shown: "Shown", hidden: "Not shown", verified: "Verified", bad: "Bad" };
const PLATFORMS = { PS2: "PS2", PS1: "PS1", PSP: "PSP", other: "Other" };
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
let view = null;

/** Return the address of a disc. */
export const addressOf = (disc) => `#/disc/${disc.mount}/${disc.address}`;

/** Return the picture of a disc: its cover, or a drawn one. */
export function face(disc) {
  const badge = !disc.shown ? h("span", { class: "badge no" }, disc.state === "copying" ? "being copied" : "not shown")
    : disc.bad ? h("span", { class: "badge no" }, "bad") : disc.verified ? h("span", { class: "badge yes" }, "verified") : null;
  if (disc.cover) {
    const picture = h("img", { alt: "", loading: "lazy", decoding: "async",
      src: `/cover?mount=${disc.mount}&disc=${disc.address}` });
    const framed = h("div", { class: "face" }, picture, badge);
    picture.addEventListener("error", () => framed.replaceWith(drawn(disc, badge)));
    return framed;
  }
  return drawn(disc, badge);
}

function drawn(disc, badge) {
  const made = h("div", { class: "face drawn" },
    h("div", { class: "stripe" }, h("span", {}, disc.platform || "DISC"), h("span", {}, disc.media)),
    h("div", { class: "big" }, disc.name), h("div", { class: "ring" }), h("div", { class: "id" }, disc.id), badge);
  made.style.setProperty("--hue", hue(disc.id || disc.name));
  return made;
}

function card(disc) {
  const facts = [disc.region, bytes(disc.plain), disc.container === "plain" ? "plain" : share(disc.stored, disc.plain)].filter(Boolean).join(" · ");
  return h("a", { class: "card", href: addressOf(disc), title: disc.disc }, face(disc),
    h("div", { class: "name" }, disc.name), h("div", { class: "facts" }, disc.shown ? facts : disc.reason || facts));
}

/** Show the page. */
export function showLibrary(main) {
  const search = h("input", { type: "search", placeholder: "Search title, ID, file", "aria-label": "Search", value: choice.text,
    oninput: () => { choice.text = search.value; view.filter(); } });
  const sort = h("select", { "aria-label": "Sort by", onchange: () => { choice.sort = sort.value; view.filter(); } },
    Object.entries(SORTS).map(([key, [name]]) => h("option", { value: key, selected: choice.sort === key }, name)));
  const total = h("p");
  const platforms = h("fieldset", { class: "chips", "aria-label": "Platform" });
  const states = h("fieldset", { class: "chips", "aria-label": "State" });
  const shelf = h("ul", { class: "shelf", role: "list" });
  const none = h("div", { class: "none", hidden: true });
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, "Library"), total),
    h("div", { class: "filters", role: "search" }, search, platforms, states, sort), shelf, none);
  view = new Shelf({ total, platforms, states, shelf, none });
  view.filter();
  return { update: (what) => { if (what === "library") view.filter(); else view.summary(); }, end: () => view.end(),
    focus: (address) => view.focus(address)?.scrollIntoView({ block: "nearest" }) };
}

class Shelf {
  constructor(parts) {
    this.parts = parts;
    this.found = [];
    this.cards = new Map();
    this.onScroll = () => this.render();
    this.onResize = () => { this.measure(); this.render(); };
    addEventListener("scroll", this.onScroll, { passive: true });
    addEventListener("resize", this.onResize);
  }

  end() {
    removeEventListener("scroll", this.onScroll);
    removeEventListener("resize", this.onResize);
  }

  filter() {
    const all = discs();
    const words = choice.text.toLowerCase().split(/\s+/).filter(Boolean);
    const inState = (one) => !choice.state || (choice.state === "shown" && one.shown)
      || (choice.state === "hidden" && !one.shown) || (choice.state === "verified" && one.verified) || (choice.state === "bad" && one.bad);
    const platform = (one) => (PLATFORMS[one.platform] ? one.platform : "other");
    this.found = all.filter((one) => (!choice.platform || platform(one) === choice.platform) && inState(one)
      && words.every((word) => one.hay.includes(word))).sort(SORTS[choice.sort][1]);
    const counts = new Map();
    for (const one of all) counts.set(platform(one), (counts.get(platform(one)) ?? 0) + 1);
    const chips = [["", "All", all.length], ...Object.entries(PLATFORMS).map(([key, name]) => [key, name, counts.get(key) ?? 0])];
    this.chips(this.parts.platforms, chips.filter(([key, , count]) => !key || count), "platform");
    this.chips(this.parts.states, Object.entries(STATES), "state");
    const { shelf } = this.parts;
    const focused = shelf.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    for (const one of this.cards.values()) one.remove();
    this.cards.clear();
    this.measure();
    this.summary();
    this.render();
    if (focused !== null) this.focus(focused);
  }

  /** Focus the card of the disc at an address, also one that is far from what is seen; return it. */
  focus(address) {
    const at = this.found.findIndex((disc) => addressOf(disc) === address);
    if (at < 0) return null;
    this.show(at);
    const focused = this.cards.get(at).firstElementChild;
    focused.focus({ preventScroll: true });
    return focused;
  }

  chips(place, rows, what) {
    const had = place.contains(document.activeElement) ? document.activeElement.value : null;
    place.replaceChildren(...rows.map(([key, name, count]) => h("button", { type: "button", class: "chip", value: key,
      "aria-pressed": String(choice[what] === key), onclick: () => { choice[what] = key; scrollTo(0, 0); this.filter(); } },
    name, count === undefined ? null : h("small", {}, number(count)))));
    if (had !== null) [...place.children].find((one) => one.value === had)?.focus();
  }

  summary() {
    const shown = this.found.filter((one) => one.shown);
    const plain = shown.reduce((sum, one) => sum + one.plain, 0);
    const stored = shown.reduce((sum, one) => sum + one.stored, 0);
    const looking = mounts().some((one) => one.library && !one.library.complete);
    const texts = [plural(this.found.length, "disc"), plain ? `${bytes(plain)} in ${bytes(stored)}` : "",
      plain > stored ? `${bytes(plain - stored)} saved` : "", looking ? "looking for more" : ""];
    this.parts.total.textContent = texts.filter(Boolean).join(" · ");
    this.parts.none.hidden = this.found.length > 0;
    const loading = store.mounts.length === 0 || mounts().some((one) => !one.library && !one.error);
    fill(this.parts.none, ...(discs().length ? [h("strong", {}, "No disc matches"), "Change the search or the filters."]
      : loading && store.mounts.length ? [h("strong", {}, "Looking for discs")]
        : [h("strong", {}, "No mount"), "Mount a directory of discs with: zsofs mount SOURCE MOUNTPOINT"]));
  }

  measure() {
    const { shelf } = this.parts;
    const width = shelf.clientWidth || shelf.parentElement.clientWidth;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const gap = width < 40 * rem ? rem : 1.5 * rem;
    const wanted = width < 40 * rem ? 9 * rem : 10.5 * rem;
    this.columns = Math.max(2, Math.floor((width + gap) / (wanted + gap)));
    this.width = (width - gap * (this.columns - 1)) / this.columns;
    this.gap = gap;
    this.height = this.width * 1.4 + 3.1 * rem + gap * 0.9;
    shelf.style.height = `${Math.ceil(this.found.length / this.columns) * this.height}px`;
    for (const [at, item] of this.cards) this.place(item, at);
  }

  place(item, at) {
    const left = (at % this.columns) * (this.width + this.gap);
    item.style.transform = `translate(${left}px, ${Math.floor(at / this.columns) * this.height}px)`;
    item.style.width = `${this.width}px`;
    item.style.height = `${this.height - this.gap * 0.9}px`;
  }

  render() {
    const { shelf } = this.parts;
    const top = -shelf.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.height) - 2) * this.columns;
    const last = Math.min(this.found.length, (Math.ceil((top + innerHeight) / this.height) + 2) * this.columns);
    for (const [at, item] of this.cards) {
      if ((at < first || at >= last) && !item.contains(document.activeElement)) {
        item.remove();
        this.cards.delete(at);
      }
    }
    for (let at = first; at < last; at += 1) this.show(at);
  }

  show(at) {
    if (this.cards.has(at)) return;
    const item = h("li", { "aria-setsize": this.found.length, "aria-posinset": at + 1 }, card(this.found[at]));
    this.place(item, at);
    this.cards.set(at, item);
    const next = [...this.cards.keys()].filter((one) => one > at).sort((a, b) => a - b)[0];
    this.parts.shelf.insertBefore(item, next === undefined ? null : this.cards.get(next));
  }
}
