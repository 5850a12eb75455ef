// The frame: pages by address, mounts, alerts, colors.
import { duration, fill, h } from "./dom.js";
import { showDisc } from "./disc.js";
import { showJobs } from "./jobs.js";
import { followKeys } from "./keys.js";
import { showLibrary } from "./library.js";
import { showNow } from "./now.js";
import { follow, hangs, listen, request, store } from "./store.js";
import { showStutter } from "./stutter.js";
import { switchTheme } from "./theme.js";

const PAGES = { library: showLibrary, now: showNow, stutter: showStutter, jobs: showJobs, disc: showDisc };
const TITLES = { library: "Library", now: "Now", stutter: "Why did it stutter?", jobs: "Jobs", disc: "Disc" };
const main = document.getElementById("main");
const places = new Map();
let page = null;
let address = "";

function show() {
  const [name, ...rest] = (location.hash.replace(/^#\//, "") || "library").split("/");
  const known = PAGES[name] ? name : "library";
  places.set(address, scrollY);
  page?.end();
  const isReturn = known === "library" && address.startsWith("#/disc/");
  const last = address;
  address = location.hash;
  document.title = `${TITLES[known]} · zsofs`;
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.dataset.page === known || (known === "disc" && link.dataset.page === "library")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page = PAGES[known](main, rest);
  scrollTo(0, isReturn ? places.get(address) ?? 0 : 0);
  if (isReturn) setTimeout(() => page.focus?.(last));  // after the browser has ended its own move to the address
  else if (last) main.focus({ preventScroll: true });
}

function update(what) {
  const choice = document.getElementById("mount-choice");
  choice.parentElement.hidden = store.mounts.length < 2;
  const wanted = [["", "All mounts"], ...store.mounts.map((one) => [one.id, one.path])];
  if (JSON.stringify(wanted) !== choice.dataset.key) {
    choice.dataset.key = JSON.stringify(wanted);
    choice.replaceChildren(...wanted.map(([id, name]) => h("option", { value: id }, name)));
    if (!wanted.some(([id]) => id === store.chosen)) store.chosen = "";
    choice.value = store.chosen;
    what = "library";
  }
  const active = store.jobs.filter((one) => one.state === "running" || one.state === "waiting").length + store.watches.filter((one) => one.state === "packing").length;
  const count = document.getElementById("job-count");
  count.hidden = !active;
  count.textContent = active;
  showAlerts();
  page.update(what);
}

function showAlerts() {
  const alerts = store.online ? [] : ["zsofs web does not answer; this page shows the last state."];
  for (const mount of store.mounts) {
    if (mount.error) alerts.push(`${mount.path}: ${mount.error}`);
    else if (mount.activity && mount.activity.mount.source_state !== "there") alerts.push(`${mount.path}: the source directory is not available.`);
    for (const disk of mount.activity?.disks ?? []) {
      if (hangs(disk)) alerts.push(`The disk ${disk.device} does not answer since ${duration(Math.floor(disk.longest_wait_seconds))}; reads of ${mount.path} wait for it.`);
    }
  }
  fill(document.getElementById("alerts"), ...alerts.map((text) => h("p", { class: "alert" }, text)));
}

document.getElementById("theme").addEventListener("click", () => {
  switchTheme();
  page.update("live");
});
followKeys();
document.getElementById("mount-choice").addEventListener("change", (event) => {
  store.chosen = event.target.value;
  page.update("library");
});
listen(update);
addEventListener("hashchange", show);
show();
follow();
document.getElementById("log-out").addEventListener("click", () => {
  fetch("/logout", { method: "POST" }).finally(() => location.assign("/"));
});
request("/api/session").then((session) => {
  store.mayAct = session.may_act;
  document.getElementById("log-in").hidden = session.may_act;
  document.getElementById("log-out").hidden = !session.may_act;
  page.update("live");
});
