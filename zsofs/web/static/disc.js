// One disc: what it is, and where it was read.
import { ago, bytes, day, fill, h, hue, number, share } from "./dom.js";
import { face } from "./library.js";
import { causeLegend, histogram } from "./now.js";
import { slowList } from "./stutter.js";
import { act, discAt, request, store } from "./store.js";
import { isLight } from "./theme.js";

const PARTS = 1024;
const RENEW = 2000;

/** Show the page. */
export function showDisc(main, [mount, address]) {
  const hero = h("div", { class: "hero" });
  const board = h("div", { class: "board" });
  main.replaceChildren(hero, board);
  let details = null;
  let ended = false;
  let timer = 0;
  const map = new DiscMap();
  const parts = { map: h("section", { class: "panel" }), latency: h("section", { class: "panel half" }), blocks: h("section", { class: "panel half" }),
    files: h("section", { class: "panel half" }), slow: h("section", { class: "panel half" }) };

  const showHero = () => {
    const disc = discAt(mount, address);
    if (!disc) {
      fill(hero, h("div", {}, h("a", { class: "back", href: "#/library" }, "← Library"), h("h1", {}, "This disc is not in the library")));
      return false;
    }
    const key = JSON.stringify([disc, store.mayAct]);
    if (hero.dataset.key === key) return true;
    hero.dataset.key = key;
    hero.replaceChildren(face(disc), h("div", {}, h("a", { class: "back", href: "#/library" }, "← Library"),
      h("h1", {}, disc.name), h("p", { class: "quiet" }, disc.disc)), facts(disc), acts(disc));
    return true;
  };

  const load = async () => {
    clearTimeout(timer);
    if (ended) return;
    if (discAt(mount, address) && !document.hidden) {
      try {
        // The files of a disc are read once: asking for them again and again would keep its disk busy.
        const whole = !details || details.image.again;
        const found = await request(`/api/${whole ? "disc" : "reads"}?mount=${mount}&disc=${address}`);
        details = { ...details, ...found };
        const slow = await request(`/api/slow?mount=${mount}`);
        if (!ended) show(details, slow.filter((one) => one.disc === discAt(mount, address)?.disc));
      } catch { /* the disc or the mount has gone: the event stream tells */ }
    }
    if (!ended) timer = setTimeout(load, details ? RENEW : 500);
  };

  const show = ({ image, reads }, slow) => {
    if (!board.children.length) board.append(...Object.values(parts));
    map.show(parts.map, image, reads);
    fill(parts.latency, h("h2", {}, "Duration of reads"), ...(reads?.latency.length ? [histogram(reads.latency), causeLegend()]
      : [h("p", { class: "quiet" }, "It has not been read since the mount started.")]));
    parts.blocks.hidden = !image.blocks;
    if (image.blocks) showBlocks(parts.blocks, image.blocks);
    parts.files.hidden = !image.files;
    if (image.files) fill(parts.files, ...fileTable(image));
    fill(parts.slow, h("h2", {}, "Slow reads"), slow.length ? slowList(slow.slice(-12).reverse().map((read) => ({ read, name: "" })))
      : h("p", { class: "quiet" }, "None."));
  };

  showHero();
  load();
  return { update: showHero, end: () => { ended = true; clearTimeout(timer); } };
}

const blockSize = (size) => (size % 1024 ? `${number(size)} bytes` : `${size / 1024} KiB`);

function facts(disc) {
  const rows = [["ID", disc.id], ["Platform", [disc.platform, disc.media].filter(Boolean).join(" ")], ["Region", disc.region], ["Label", disc.label],
    ["Container", disc.container === "plain" ? "plain image" : `${disc.container}, ${disc.codec}${disc.block ? `, blocks of ${blockSize(disc.block)}` : ""}`],
    ["Size", bytes(disc.plain)], ["Stored", disc.container === "plain" ? "" : `${bytes(disc.stored)} (${share(disc.stored, disc.plain)})`],
    ["Last verified", disc.bad ? `bad, ${day(disc.badAt)}: ${disc.bad}` : disc.verified ? `whole, ${day(disc.verified)}` : "not yet"],
    ["Not shown", disc.shown ? "" : disc.reason || disc.state]];
  return h("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => h("div", { class: value.startsWith?.("bad, ") && name === "Last verified" ? "bad" : null }, h("dt", {}, name), h("dd", {}, value))));
}

function acts(disc) {
  const told = h("span", { class: "quiet", role: "status" });
  const verify = h("button", { type: "button", class: "primary", onclick: async () => {
    verify.disabled = true;
    try {
      await act("/api/verify", { mount: disc.mount, disc: disc.path });
      told.replaceChildren("It is being verified: ", h("a", { href: "#/jobs" }, "jobs"));
    } catch (error) { told.textContent = error.message; verify.disabled = false; }
  } }, "Verify this disc");
  return h("div", { class: "acts" }, store.mayAct ? [verify, told] : h("a", { class: "second", href: "/login" }, "Log in to verify"));
}

function showBlocks(panel, blocks) {
  const compressed = blocks.count - blocks.plain;
  const shares = h("div", { class: "shares", role: "img", "aria-label": "Stored size along the disc" }, blocks.shares.map(() => h("i")));
  blocks.shares.forEach((part, at) => { shares.children[at].style.height = `${Math.max(part, 2)}%`; });
  panel.replaceChildren(h("h2", {}, "Blocks, and their stored size along the disc"), shares,
    h("p", { class: "under" }, `${number(compressed)} compressed, ${number(blocks.plain)} stored plain, about ${number(blocks.zeros)} of zeros`));
}

function fileTable(image) {
  const largest = [...image.files].sort((a, b) => b[2] - a[2]).slice(0, 10);
  return [h("h2", {}, "Largest files"), h("table", { class: "fixed" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "File"), h("th", { scope: "col", class: "n" }, "Size"))),
    h("tbody", {}, largest.map(([name, , size]) => h("tr", {}, h("td", {}, h("span", { class: "clip" }, name)), h("td", { class: "n" }, bytes(size))))))];
}

/** The map: 1,024 equal parts of the disc, row by row, in the color of their directory. */
class DiscMap {
  constructor() {
    this.canvas = h("canvas", { class: "map", role: "img", tabindex: 0 });
    this.under = h("p", { class: "under", role: "status" });
    this.at = 0;
    this.columns = 64;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
      if (!step || this.at + step < 0 || this.at + step >= PARTS) return;
      event.preventDefault();
      event.stopPropagation();
      this.at += step;
      this.tell();
      this.draw();
    });
  }

  show(panel, image, reads) {
    this.image = image;
    this.ages = reads?.ages ?? [];
    if (!this.canvas.isConnected) {
      panel.replaceChildren(h("h2", {}, "Map of the disc, lit where it was read"), this.canvas, this.under,
        h("div", { class: "legend" }, h("span", { class: "c-lit" }, "read: the stronger, the more recently"), h("span", { class: "c-file" }, "files, a color for each directory")));
    }
    this.files = image.files ?? [];
    const lit = this.ages.filter((age) => age >= 0).length;
    this.canvas.dataset.lit = lit;
    this.canvas.setAttribute("aria-label", `Map of the disc in ${PARTS} parts; ${lit} were read. Arrow keys move.`);
    this.draw();
    if (image.error) this.under.textContent = `The files of the disc cannot be listed: ${image.error}`;
    else if (!this.under.textContent) this.under.textContent = `${number(this.files.length)} files; ${share(lit, PARTS)} of the disc was read`;
  }

  /** Return the file at a byte. */
  file(byte) {
    let low = 0;
    let high = this.files.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.files[middle][1] <= byte) low = middle + 1; else high = middle;
    }
    const found = this.files[low - 1];
    return found && byte < found[1] + found[2] ? found : null;
  }

  draw() {
    const { canvas } = this;
    this.columns = canvas.clientWidth < 600 ? 32 : 64;
    const rows = PARTS / this.columns;
    const width = Math.max(canvas.clientWidth, 320) * devicePixelRatio;
    const cell = Math.floor(width / this.columns);
    canvas.width = cell * this.columns;
    canvas.height = Math.round(cell * (this.columns === 64 ? 0.85 : 0.7)) * rows;
    const tall = canvas.height / rows;
    const pen = canvas.getContext("2d");
    const light = isLight();
    const size = this.image.size ?? 0;
    const gap = Math.max(1, Math.round(cell / 14));
    for (let part = 0; part < PARTS; part += 1) {
      const x = (part % this.columns) * cell;
      const y = Math.floor(part / this.columns) * tall;
      const file = size ? this.file(((part + 0.5) * size) / PARTS) : null;
      const age = this.ages[part] ?? -1;
      if (age >= 0) {
        const heat = Math.max(0, 1 - Math.log1p(age) / Math.log1p(3600));
        pen.fillStyle = light ? `hsl(${32 - 14 * heat} 95% ${62 - 22 * heat}%)` : `hsl(${30 + 12 * heat} 96% ${38 + 34 * heat}%)`;
      } else if (file) {
        const directory = file[0].slice(0, file[0].lastIndexOf("/"));
        const even = this.files.indexOf(file) % 2;
        pen.fillStyle = `hsl(${hue(directory || "/")} ${light ? 34 : 26}% ${light ? 80 - 5 * even : 25 + 5 * even}%)`;
      } else pen.fillStyle = light ? "#dedad0" : "#171b26";
      pen.fillRect(x, y, cell - gap, tall - gap);
      if (part === this.at && document.activeElement === canvas) {
        pen.strokeStyle = light ? "#000" : "#fff";
        pen.lineWidth = 2 * devicePixelRatio;
        pen.strokeRect(x, y, cell - gap, tall - gap);
      }
    }
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const y = Math.floor(((event.clientY - box.top) / box.height) * (PARTS / this.columns));
    this.at = Math.min(Math.max(y * this.columns + x, 0), PARTS - 1);
    this.tell();
  }

  tell() {
    const size = this.image.size ?? 0;
    const begin = (this.at * size) / PARTS;
    const age = this.ages[this.at] ?? -1;
    const file = this.file(begin + size / PARTS / 2);
    this.under.textContent = [`at ${bytes(begin)}`, file ? `${file[0]} (${bytes(file[2])})` : "no file", age < 0 ? "not read" : `read ${ago(age)}`].join(" · ");
  }
}
