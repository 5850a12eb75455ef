// Why did it stutter: the slow reads of the last hour on a line of time, and a report to copy.
import { CAUSES, bytes, clock, day, duration, fill, h, plural, s, stem } from "./dom.js";
import { causeLegend, titleOf } from "./now.js";
import { mounts, request } from "./store.js";

const HOUR = 3600;
const LISTED = 100;

/** Return what a slow read was, in words. */
function words(read, name) {
  const place = read.file ? read.file : `at ${bytes(read.offset)}`;
  return [name ? h("b", {}, `${name}, `) : null, `${place}: ${CAUSES[read.cause] ?? read.cause}`, read.failed ? ", and failed" : ""];
}

/** Return a list of slow reads. */
export function slowList(rows) {
  return h("ol", { class: "slow" }, rows.map(({ read, name }) => h("li", {},
    h("time", { datetime: new Date(read.time * 1000).toISOString(), title: day(read.time) }, clock(read.time)),
    h("span", { class: `ms c-${read.cause}` }, duration(read.seconds.total)),
    h("div", { class: "what" }, words(read, name), h("div", { class: "quiet" }, `read by ${read.program || "an unknown program"}: ${split(read)}`)))));
}

function split(read) {
  const { queue, disk, decode } = read.seconds;
  const parts = [["queue", queue], ["disk", disk], ["decoding", decode]].filter(([, seconds]) => seconds >= 0.001);
  return parts.length ? parts.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(", ") : `${bytes(read.size)}`;
}

/** Show the page. */
export function showStutter(main) {
  const total = h("p");
  const copied = h("span", { class: "quiet", role: "status" });
  const copy = h("button", { type: "button", class: "primary" }, "Copy a report");
  const line = h("section", { class: "panel", "aria-label": "Last hour" });
  const list = h("section", { class: "panel", "aria-label": "Slow reads" });
  main.replaceChildren(h("div", { class: "head" }, h("div", {}, h("h1", {}, "Why did it stutter?"), total), h("span", { class: "grow" }), copied, copy),
    h("div", { class: "board" }, line, list));
  let rows = [];
  const versions = new Map();
  const known = new Map();
  copy.addEventListener("click", async () => {
    copied.textContent = (await copyText(report(rows))) ? "Copied. It has no paths of this computer." : "The browser did not allow it.";
  });
  const update = async () => {
    const live = mounts();
    for (const mount of live) {
      const version = mount.slow?.version;
      if (version && versions.get(mount.id) !== version) {
        versions.set(mount.id, version);
        try { known.set(mount.id, await request(`/api/slow?mount=${mount.id}`)); } catch { versions.delete(mount.id); }
      }
    }
    const since = Date.now() / 1000 - HOUR;
    rows = live.flatMap((mount) => (known.get(mount.id) ?? []).map((read) => ({ read, mount, name: titleOf(mount, read.disc) })))
      .filter(({ read }) => read.time > since).sort((a, b) => b.read.time - a.read.time);
    total.textContent = rows.length ? `${plural(rows.length, "slow read")} in the last hour; ${verdict(rows)}` : "No read was slow in the last hour.";
    copy.disabled = !rows.length;
    fill(line, h("h2", {}, "Last hour: each slow read, with its duration and cause"), timeline(rows, Math.max(line.clientWidth - 40, 280)), causeLegend());
    fill(list, h("h2", {}, "Slow reads, newest first"), rows.length ? slowList(rows.slice(0, LISTED)) : h("p", { class: "quiet" }, "None: whatever stuttered, it did not wait for a disc of these mounts."));
  };
  update();
  return { update, end: () => {} };
}

function verdict(rows) {
  const counts = new Map();
  for (const { read } of rows) counts.set(read.cause, (counts.get(read.cause) ?? 0) + read.seconds.total);
  const [cause] = [...counts].sort((a, b) => b[1] - a[1])[0];
  return `most of the time: ${CAUSES[cause] ?? cause}`;
}

function timeline(rows, width) {
  const now = Date.now() / 1000;
  const [height, foot, left] = [240, 210, 62];
  const y = (seconds) => foot - (Math.min(Math.max(Math.log10(seconds / 0.02), 0), 3) / 3) * 195;
  const across = width - left - 14;
  const x = (time) => left + ((time - now + HOUR) / HOUR) * across;
  const levels = [[0.05, "50 ms"], [0.2, "200 ms"], [1, "1 s"], [10, "10 s"]].flatMap(([seconds, text]) => [
    s("line", { x1: left, x2: width, y1: y(seconds), y2: y(seconds) }), s("text", { x: left - 8, y: y(seconds) + 4, "text-anchor": "end" }, text)]);
  const times = (across > 500 ? [60, 45, 30, 15, 0] : [60, 30, 0]).map((minutes) => s("text", { x: left + ((60 - minutes) / 60) * across, y: height - 8, "text-anchor": "middle" }, minutes ? `−${minutes} min` : "now"));
  const marks = rows.slice(0, 600).reverse().map(({ read }) => {
    const [at, top] = [x(read.time).toFixed(1), y(read.seconds.total).toFixed(1)];
    return s("g", { class: `c-${read.cause}` }, s("title", {}, `${clock(read.time)}: ${duration(read.seconds.total)}`),
      s("line", { class: "stem", x1: at, x2: at, y1: foot, y2: top }), mark(read.cause, Number(at), Number(top)));
  });
  return s("svg", { class: "timeline", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${rows.length} slow reads of the last hour` },
    levels, times, s("line", { x1: left, x2: width, y1: foot, y2: foot }), marks);
}

function mark(cause, x, y) {
  const shapes = { disk: "M-5-5H5V5H-5Z", hang: "M0-8L7 6H-7Z", decode: "M0-7L7 0L0 7L-7 0Z", queue: "M-6-2H6V2H-6Z", memory: "M-4-4H4V4H-4Z" };
  return s("path", { class: `c-${cause}`, d: shapes[cause] ?? shapes.memory, transform: `translate(${x} ${y})` });
}

/** Return a report for other people: names of files without directories, and no names of mounts. */
function report(rows) {
  const lines = rows.slice(0, 50).map(({ read }) => `${clock(read.time)}  ${duration(read.seconds.total).padStart(7)}  ${stem(read.disc)}${read.file ? `, ${read.file}` : ""}: ${CAUSES[read.cause] ?? read.cause} (${split(read)}; ${read.program || "unknown"})`);
  const version = mounts().find((one) => one.activity)?.activity.mount.version ?? "";
  return [`zsofs ${version}: ${plural(rows.length, "slow read")} in the last hour; ${verdict(rows)}`, ...lines, ""].join("\n");
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // only secure pages have a clipboard
    const area = h("textarea", { readonly: true, class: "sr" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
