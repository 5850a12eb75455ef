// Jobs and watches, and what may be done with the token.
import { bytes, clock, duration, fill, h, plural, s, share, stem } from "./dom.js";
import { act, mounts, store } from "./store.js";

const KINDS = { verify: "Verify", identify: "Identify" };
const RESULTS = { packed: "packed", failed: "failed", kept: "packed, input kept" };

/** Return a bar that is filled in part; attributes, as the policy of the page allows no inline style. */
function bar(done, total, name) {
  return s("svg", { class: "meter", viewBox: "0 0 100 4", preserveAspectRatio: "none", width: "100%", height: "5", role: "progressbar", "aria-label": name,
    "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round((100 * done) / total) },
  s("rect", { class: "c-lit", width: ((100 * done) / total).toFixed(1), height: 4 }));
}

/** Show the page. */
export function showJobs(main) {
  const told = h("span", { class: "quiet", role: "status" });
  const actions = h("div", { class: "acts" });
  const list = h("section", { class: "panel", "aria-label": "Jobs" });
  const watches = h("div", { class: "board watches" });
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Jobs"), h("span", { class: "grow" }), told, actions), watches, list);

  const tell = async (promise, text) => {
    try { await promise; told.textContent = text; } catch (error) { told.textContent = error.message; }
  };
  // Buttons are made anew with each state, but not while one is pressed; what it does is in its data.
  let isPressed = false;
  const hold = () => { isPressed = true; };
  const release = () => setTimeout(() => { isPressed = false; update(); });
  main.addEventListener("pointerdown", hold);
  main.addEventListener("click", press);
  addEventListener("pointerup", release);
  addEventListener("pointercancel", release);
  function press(event) {
    const { job, watch, hold, scan } = event.target.dataset;
    if (job) tell(act("/api/end", { job: Number(job) }), "The job is ended.");
    if (watch) tell(act("/api/watch", { watch, hold: hold === "true" }), hold === "true" ? "The watch is paused." : "The watch continues.");
    if (scan) tell(act("/api/reload", { mount: scan }), "The source is scanned again.");
  }
  const update = () => {
    if (isPressed) return;
    fill(actions, ...(store.mayAct ? mounts().filter((one) => one.own).map((one) => h("button", { type: "button", class: "second", "data-scan": one.id }, `Scan ${one.path} again`))
      : [h("a", { class: "second", href: "/login" }, "Log in to act")]));
    watches.hidden = !store.watches.length;
    fill(watches, ...store.watches.map(watchPanel));
    fill(list, h("h2", {}, "Started from this page"), ...(store.jobs.length ? [...store.jobs].reverse().map(jobRow)
      : [h("p", { class: "quiet" }, "Nothing. Open a disc to verify it.")]));
  };
  update();
  return { update, end: () => {
    main.removeEventListener("pointerdown", hold);
    main.removeEventListener("click", press);
    removeEventListener("pointerup", release);
    removeEventListener("pointercancel", release);
  } };
}

function jobRow(one) {
  const name = `${KINDS[one.kind] ?? one.kind}: ${one.title}`;
  const active = one.state === "running" || one.state === "waiting";
  const progress = one.state === "running" && one.bytes ? [h("p", { class: "quiet" }, `${bytes(one.done)} of ${bytes(one.bytes)}, ${share(one.done, one.bytes)}`), bar(one.done, one.bytes, name)] : [];
  return h("div", { class: `job ${one.state}` }, h("span", { class: "state" }, one.state),
    h("div", { class: "what" }, h("b", {}, `${KINDS[one.kind] ?? one.kind}: `), one.title, progress,
      one.silent ? h("p", { class: "error" }, "It makes no progress: the disk may not answer. Other jobs continue.") : null,
      one.result ? h("p", { class: "quiet" }, one.result) : null),
    active && store.mayAct ? h("button", { type: "button", class: "second", "data-job": one.number, "aria-label": `End ${name}` }, "End") : null,
    one.ended ? h("time", { class: "quiet" }, clock(one.ended)) : null);
}

function watchPanel(one) {
  const { current, counts } = one;
  const name = stem(current.path);
  const speed = current.bytes_per_second && one.state === "packing" ? `, ${bytes(current.bytes_per_second)}/s` : "";
  const left = current.eta_seconds >= 0 && one.state === "packing" ? `, ${duration(current.eta_seconds)} left` : "";
  const done = [plural(counts.queue, "input") + " waiting to be packed", counts.waiting ? `${plural(counts.waiting, "input")} not complete` : "",
    `${counts.packed} packed`, counts.failed ? `${counts.failed} failed` : ""].filter(Boolean).join(" · ");
  return h("section", { class: `panel watch ${one.state}`, "aria-label": `Watch of ${one.inboxes.join(", ")}` },
    h("div", { class: "head" }, h("div", {}, h("h2", {}, `Watch of ${one.inboxes.join(", ")}`), h("p", {}, `into ${one.library}`)), h("span", { class: "grow" }),
      h("span", { class: "state" }, one.note ? `${one.state}: ${one.note}` : one.state),
      store.mayAct && one.can_be_held ? h("button", { type: "button", class: "second", "data-watch": one.id, "data-hold": String(!one.is_held) }, one.is_held ? "Continue" : "Pause") : null),
    current.path ? [h("p", {}, h("b", {}, name), h("span", { class: "quiet" }, ` ${current.bytes ? share(current.done_bytes, current.bytes) : "starting"}${current.reading_back ? ", reading back" : ""}${speed}${left}`)),
      current.bytes ? bar(current.done_bytes, current.bytes, `Packing ${name}`) : null] : null,
    h("p", { class: "quiet" }, done),
    one.results.length ? h("ul", { class: "results" }, [...one.results].reverse().map((result) => h("li", { class: result.state },
      h("time", { class: "quiet" }, clock(result.time)), h("span", { class: "clip" }, stem(result.path)),
      h("span", { class: "quiet" }, result.state === "failed" ? result.error : `${RESULTS[result.state] ?? result.state}${result.stored_bytes ? `, ${bytes(result.plain_bytes)} to ${bytes(result.stored_bytes)}` : ""}`)))) : null);
}
