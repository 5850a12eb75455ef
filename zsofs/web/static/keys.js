// Arrow keys move the focus to the next thing in that direction: for a TV, and for hands without a mouse.
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function usable(element) {
  return !element.disabled && element.offsetParent !== null && element.tabIndex >= 0;
}

function center(box) { return [box.left + box.width / 2, box.top + box.height / 2]; }

/** Return how far a box is in a direction; infinite if it is not there. */
function distance(from, to, [dx, dy]) {
  const [fx, fy] = center(from);
  const [tx, ty] = center(to);
  const along = dx ? (tx - fx) * dx : (ty - fy) * dy;
  const gap = dx ? (dx > 0 ? to.left - from.right : from.left - to.right) : (dy > 0 ? to.top - from.bottom : from.top - to.bottom);
  if (along <= 0 || gap < -4) return Infinity;
  const across = dx ? Math.max(0, Math.abs(ty - fy) - (from.height + to.height) / 2) * 3 + Math.abs(ty - fy) * 0.3
    : Math.max(0, Math.abs(tx - fx) - (from.width + to.width) / 2) * 2 + Math.abs(tx - fx) * 0.3;
  return along + across;
}

function move(event) {
  const way = MOVES[event.key];
  if (!way || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  const here = document.activeElement;
  if (here?.matches("select") || (here?.matches("input, textarea") && way[0])) return;
  const from = here && here !== document.body ? here.getBoundingClientRect() : new DOMRect(0, 0, 0, 0);
  let best = null;
  let least = Infinity;
  for (const one of document.querySelectorAll("a[href], button, select, input, canvas[tabindex]")) {
    if (one === here || !usable(one)) continue;
    const found = distance(from, one.getBoundingClientRect(), way);
    if (found < least) [best, least] = [one, found];
  }
  if (!best) return;
  event.preventDefault();
  best.focus({ preventScroll: true });
  best.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** Follow keys: arrows, `/` for the search, Backspace and Escape back to the library. */
export function followKeys() {
  addEventListener("keydown", (event) => {
    const isText = event.target.matches?.("input, textarea");
    if (event.key === "/" && !isText) {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if ((event.key === "Backspace" || event.key === "Escape") && !isText && location.hash.startsWith("#/disc/")) {
      event.preventDefault();
      history.back();
    } else move(event);
  });
}
