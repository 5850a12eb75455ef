// What the server says: live state by one event stream, libraries by request.
import { encoded } from "./dom.js";

export const store = { mounts: [], jobs: [], watches: [], libraries: new Map(), mayAct: false, online: true, chosen: "" };

const WAIT_SHOWN = 0.7;  // seconds: with the interval of the mounts, a disk that hangs shows within two

const listeners = new Set();
let stream = null;
const FIELDS = ["path", "disc", "title", "id", "region", "platform", "label", "media", "container", "codec",
  "block", "stored", "plain", "state", "reason", "verified", "identified", "bad", "badAt", "cover"];

/** Call `listener` after each change, with what has changed: "live" or "library". */
export function listen(listener) { listeners.add(listener); }
function tell(what) { for (const listener of listeners) listener(what); }

/** Return the mounts that are shown. */
export const mounts = () => store.mounts.filter((one) => !store.chosen || one.id === store.chosen);

/** Return whether a disk does not answer. */
export const hangs = (disk) => disk.longest_wait_seconds >= WAIT_SHOWN;

/** Return all discs of the shown mounts. */
export const discs = () => mounts().flatMap((one) => store.libraries.get(one.id)?.discs ?? []);

export const findDisc = (mount, path) => store.libraries.get(mount)?.byPath.get(path);

/** Return the disc of an address. */
export const discAt = (mount, address) => store.libraries.get(mount)?.byAddress.get(address);

/** Request something; log in if that is necessary. */
export async function request(address, options = {}) {
  const response = await fetch(address, options);
  if (response.status === 401 && !options.method) location.assign("/login");
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response.json();
}

/** Have the server do something, for which it needs a session. */
export const act = (address, fields) => request(address, { method: "POST", body: JSON.stringify(fields) });

/** Follow the server while the page is visible: a browser has six connections for all its tabs. */
export function follow() {
  const check = () => {
    if (document.hidden) { stream?.close(); stream = null; } else if (!stream) open();
  };
  document.addEventListener("visibilitychange", check);
  check();
}

function open() {
  stream = new EventSource("/api/events");
  stream.onmessage = (event) => { take(JSON.parse(event.data)); };
  stream.onerror = () => {
    store.online = false;
    tell("live");
    if (stream?.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(() => { if (!stream && !document.hidden) open(); }, 2000);
    }
  };
}

function take(state) {
  store.online = true;
  store.mounts = state.mounts;
  store.jobs = state.jobs;
  store.watches = state.watches;
  for (const mount of state.mounts) {
    const known = store.libraries.get(mount.id);
    if (mount.library && known?.version !== mount.library.version) load(mount.id, mount.library.version);
  }
  tell("live");
}

async function load(mount, version) {
  const known = store.libraries.get(mount) ?? { discs: [], byPath: new Map(), byAddress: new Map() };
  store.libraries.set(mount, { ...known, version });
  try {
    const found = await request(`/api/library?mount=${mount}`);
    const list = found.discs.map((row) => disc(mount, row));
    store.libraries.set(mount, { version, discs: list, byPath: new Map(list.map((one) => [one.path, one])), byAddress: new Map(list.map((one) => [one.address, one])) });
  } catch {
    store.libraries.set(mount, { ...known, version: "" });
    return;
  }
  tell("library");
}

function disc(mount, row) {
  const found = { mount };
  FIELDS.forEach((name, at) => { found[name] = row[at]; });
  const stem = found.path.slice(found.path.lastIndexOf("/") + 1).replace(/\.[^.]{1,5}$/, "");
  found.address = encoded(found.path);
  found.name = found.title || stem || found.disc;
  found.shown = found.state === "compressed" || found.state === "plain";
  found.hay = `${found.name} ${found.path} ${found.id} ${found.region} ${found.platform} ${found.container}`.toLowerCase();
  return found;
}
