// Jobs, and what may be done with the token.
import { fill, clock, h } from "./dom.js";
import { act, mounts, store } from "./store.js";

const KINDS = { verify: "Verify", identify: "Identify" };
const STATES = { waiting: "waiting", running: "running", done: "done", failed: "failed" };

/** Show the page. */
export function showJobs(main) {
  const told = h("span", { class: "quiet", role: "status" });
  const actions = h("div", { class: "acts" });
  const list = h("section", { class: "panel", "aria-label": "Jobs" });
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Jobs"), h("span", { class: "grow" }), told, actions), list);
  const reload = async (mount) => {
    try {
      await act("/api/reload", { mount: mount.id });
      told.textContent = "The source is scanned again.";
    } catch (error) { told.textContent = error.message; }
  };
  let key = "";
  const update = () => {
    const now = JSON.stringify([store.mayAct, mounts().map((one) => [one.id, one.own])]);
    if (now !== key) {
      key = now;
      actions.replaceChildren(...(store.mayAct ? mounts().filter((one) => one.own).map((one) => h("button", { type: "button", class: "second", onclick: () => reload(one) }, `Scan ${one.path} again`))
        : [h("a", { class: "second", href: "/login" }, "Log in to act")]));
    }
    fill(list, ...(store.jobs.length ? [...store.jobs].reverse().map((one) => h("div", { class: `job ${one.state}` },
      h("span", { class: "state" }, STATES[one.state] ?? one.state),
      h("div", {}, h("b", {}, `${KINDS[one.kind] ?? one.kind}: `), one.title, one.result ? h("p", { class: "quiet" }, one.result) : null),
      one.ended ? h("time", { class: "quiet" }, clock(one.ended)) : null))
      : [h("p", { class: "quiet" }, "Nothing has been started from this page. Open a disc to verify it.")]));
  };
  update();
  return { update, end: () => {} };
}
