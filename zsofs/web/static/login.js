// The login. The form is sent by a script: with the policy `no-referrer`, a browser sends `Origin: null` with forms, which any other site could send, too.
import "./theme.js";

const form = document.querySelector("form");
const wrong = document.getElementById("wrong");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  wrong.hidden = true;
  let why = "This is not the token.";
  try {
    const found = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (found.ok && new URL(found.url).pathname === "/") { location.replace("/"); return; }
    if (!found.ok) why = await found.text();
  } catch { why = "zsofs web does not answer."; }
  wrong.textContent = why;
  wrong.hidden = false;
  form.elements.token.select();
});

// A link of another page brings no session along: whoever has one needs no token.
fetch("/api/session").then((found) => found.ok && found.json()).then((found) => { if (found?.may_act) location.replace("/"); });
