// Dark or light: as the system is, or as chosen with the button. The light colors are a file whose media query decides.
const light = document.getElementById("light");

export const isLight = () => matchMedia(light.media).matches;

function apply(chosen) {
  if (chosen) light.media = chosen === "light" ? "all" : "not all";
}

/** Choose the other one, from now on. */
export function switchTheme() {
  const chosen = isLight() ? "dark" : "light";
  localStorage.setItem("zsofs-theme", chosen);
  apply(chosen);
}

apply(localStorage.getItem("zsofs-theme"));
