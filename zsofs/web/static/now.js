// Who reads what, at which rate.
import { ago, bytes, duration, fill, h, number, plural, s, share } from "./dom.js";
import { addressOf } from "./library.js";
import { findDisc, hangs, mounts, store } from "./store.js";

const BOUNDS = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Return the name under which a disc of a mount is shown. */
export const titleOf = (mount, disc) => findDisc(mount.id, disc)?.name ?? disc;

/** Show the page. */
export function showNow(main) {
  const rate = h("section", { class: "panel rate", "aria-label": "Rate" });
  const tiles = h("div", { class: "tiles" });
  const readers = h("section", { class: "panel half", "aria-label": "Programs" });
  const reads = h("section", { class: "panel half", "aria-label": "Discs" });
  const state = h("section", { class: "panel", "aria-label": "Mounts" });
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Now")),
    h("div", { class: "board" }, rate, tiles, reads, readers, state));
  const update = () => {
    const live = mounts().filter((one) => one.activity);
    fill(rate, ...rateParts(live));
    fill(tiles, ...tileParts(live));
    fill(reads, ...discParts(live));
    fill(readers, ...readerParts(live));
    fill(state, ...mountParts());
  };
  update();
  return { update, end: () => {} };
}

const sum = (list, value) => list.reduce((total, one) => total + value(one), 0);

function rateParts(live) {
  const now = sum(live, (one) => one.activity.reads.rates.bytes_1s);
  const reads = sum(live, (one) => one.activity.reads.rates.reads_1s);
  const [value, unit] = bytes(now).split(" ");
  const history = Array.from({ length: 60 }, (_, at) => sum(live, (one) => one.activity.reads.history[at] ?? 0));
  return [h("h2", {}, "Read now"), h("div", { class: "number" }, value, h("small", {}, `${unit}/s`)),
    h("p", { class: "quiet" }, `${plural(Math.round(reads), "read")} per second; the curve is the last minute, with at most ${bytes(Math.max(...history))}/s`),
    curve(history)];
}

function curve(values) {
  const most = Math.max(...values, 1);
  const points = values.map((value, at) => [(at * 600) / (values.length - 1), 98 - (value / most) * 92]);
  let line = `M${points[0].join(" ")}`;
  for (let at = 1; at < points.length; at += 1) {
    const middle = (points[at - 1][0] + points[at][0]) / 2;
    line += `C${middle} ${points[at - 1][1].toFixed(1)} ${middle} ${points[at][1].toFixed(1)} ${points[at][0].toFixed(1)} ${points[at][1].toFixed(1)}`;
  }
  return s("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img", "aria-label": "Bytes per second in the last minute" },
    s("path", { class: "area", d: `${line}L600 100L0 100Z` }), s("path", { class: "edge", d: line }));
}

function tileParts(live) {
  const hits = sum(live, (one) => one.activity.reads.counts.hits);
  const lookups = sum(live, (one) => one.activity.reads.counts.lookups);
  const waiting = live.flatMap((one) => one.activity.waiting.map((read) => read.seconds));
  const worst = Math.max(0, ...live.map((one) => one.slow.worst), ...waiting);
  const disks = live.flatMap((one) => one.activity.disks);
  const hung = disks.filter(hangs);
  const errors = sum(live, (one) => one.activity.reads.counts.errors);
  const tile = (name, value, note, bad = false) => h("section", { class: bad ? "panel tile bad" : "panel tile" },
    h("h2", {}, name), h("div", { class: "number" }, value), h("p", { class: "quiet" }, note));
  return [
    tile("Worst wait of the last minute", worst ? duration(worst) : "none", worst ? "a read took this long" : "no read was slow", worst >= 2),
    tile("Cache hits", share(hits, lookups), `${number(lookups)} lookups`),
    tile("Disks", hung.length ? "no answer" : "answer", hung.length ? hung.map((one) => `${one.device}: since ${duration(one.longest_wait_seconds)}`).join(", ")
      : plural(sum(disks, (one) => one.waiting), "waiting read"), hung.length > 0),
    tile("Failed reads", number(errors), "since the mounts started", errors > 0),
  ];
}

function discParts(live) {
  const rows = live.flatMap((mount) => mount.discs.map((one) => ({ mount, one })))
    .sort((a, b) => b.one.rates.bytes_10s - a.one.rates.bytes_10s || a.one.idle_seconds - b.one.idle_seconds).slice(0, 12);
  if (!rows.length) return [h("h2", {}, "Discs"), h("p", { class: "quiet" }, "No disc has been read since the mount started.")];
  const most = Math.max(...rows.map(({ one }) => one.rates.bytes_10s), 1);
  return [h("h2", {}, "Discs"), h("table", { class: "fixed" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Disc"), h("th", { scope: "col", class: "n" }, "Rate"), h("th", { scope: "col", class: "n hide-small" }, "Read"), h("th", { scope: "col", class: "n" }, "Last"))),
    h("tbody", {}, rows.map(({ mount, one }) => {
      const disc = findDisc(mount.id, one.disc);
      const name = h("span", { class: "clip" }, titleOf(mount, one.disc));
      return h("tr", { class: one.rates.bytes_10s ? "" : "idle" },
        h("td", {}, disc ? h("a", { href: addressOf(disc) }, name) : name, bar(one.rates.bytes_10s / most)),
        h("td", { class: "n" }, `${bytes(one.rates.bytes_10s)}/s`), h("td", { class: "n hide-small" }, bytes(one.counts.bytes)),
        h("td", { class: "n" }, ago(one.idle_seconds)));
    })))];
}

function bar(part) {
  // Attributes instead of styles: the policy of the page allows no inline style.
  return s("svg", { class: "meter", viewBox: "0 0 100 4", preserveAspectRatio: "none", width: "100%", height: "5", "aria-hidden": "true" },
    s("rect", { class: "c-lit", width: (100 * part).toFixed(1), height: 4 }));
}

function readerParts(live) {
  const rows = live.flatMap((mount) => mount.activity.readers)
    .sort((a, b) => b.rates.bytes_10s - a.rates.bytes_10s || a.idle_seconds - b.idle_seconds).slice(0, 12);
  if (!rows.length) return [h("h2", {}, "Programs"), h("p", { class: "quiet" }, "No program has read.")];
  return [h("h2", {}, "Programs"), h("table", { class: "fixed" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Program"), h("th", { scope: "col", class: "n" }, "Rate"), h("th", { scope: "col", class: "n hide-small" }, "Hits"), h("th", { scope: "col", class: "n" }, "Last"))),
    h("tbody", {}, rows.map((one) => h("tr", { class: one.rates.bytes_10s ? "" : "idle" },
      h("td", {}, h("span", { class: "clip" }, one.program || "unknown"), h("span", { class: "quiet" }, `process ${one.pid}`)),
      h("td", { class: "n" }, `${bytes(one.rates.bytes_10s)}/s`), h("td", { class: "n hide-small" }, share(one.counts.hits, one.counts.lookups)),
      h("td", { class: "n" }, ago(one.idle_seconds))))))];
}

function mountParts() {
  return [h("h2", {}, "Mounts"), h("table", { class: "fixed" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Mount"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "n" }, "Discs"), h("th", { scope: "col", class: "n wide hide-small" }, "Cache"))),
    h("tbody", {}, store.mounts.map((one) => h("tr", {},
      h("td", {}, h("span", { class: "clip" }, one.path)),
      h("td", {}, one.error ? h("span", { class: "error" }, "does not answer")
        : !one.activity ? "asking" : one.activity.mount.source_state === "there" ? "serves" : h("span", { class: "error" }, "source is away")),
      h("td", { class: "n" }, one.activity ? number(one.activity.mount.compressed_discs + one.activity.mount.plain_discs) : "–"),
      h("td", { class: "n wide hide-small" }, one.activity ? `${bytes(one.activity.reads.cache.bytes)} of ${bytes(one.activity.reads.cache.limit)}` : "–")))))];
}

/** Return a histogram of latencies, stacked by cause. */
export function histogram(latency) {
  const total = BOUNDS.map((_, at) => sum(latency, (one) => one.buckets[at] ?? 0)).concat(sum(latency, (one) => one.buckets[BOUNDS.length] ?? 0));
  const most = Math.max(...total, 1);
  const scale = (count) => (count ? 12 + (120 * Math.log1p(count)) / Math.log1p(most) : 0);
  const bars = total.flatMap((count, at) => {
    let y = 140;
    return latency.map((one) => {
      const height = count ? (scale(count) * (one.buckets[at] ?? 0)) / count : 0;
      y -= height;
      return height ? s("rect", { class: `c-${one.cause}`, x: at * 30 + 3, y: y.toFixed(1), width: 24, height: height.toFixed(1), rx: 2 }) : null;
    });
  });
  const labels = [[2, "50 µs"], [6, "1 ms"], [9, "10 ms"], [12, "100 ms"], [15, "1 s"], [18, "10 s"]]
    .map(([at, text]) => s("text", { x: at * 30 + 30, y: 158, "text-anchor": "middle" }, text));
  return s("svg", { class: "histogram", viewBox: "0 0 600 164", role: "img", "aria-label": `Duration of ${sum(total, (one) => one)} reads, in logarithmic steps` }, bars, labels);
}

/** Return the legend of causes. */
export const causeLegend = () => h("div", { class: "legend" }, Object.entries({ memory: "memory", decode: "decoding", disk: "disk", queue: "other reads", hang: "disk did not answer" })
  .map(([cause, name]) => h("span", { class: `c-${cause}` }, name)));
