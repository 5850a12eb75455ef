// The page of the login form: whether the last token was wrong.
import "./theme.js";

document.getElementById("wrong").hidden = location.search !== "?wrong";
// A link of another page brings no session along: whoever has one needs no token.
if (!location.search) fetch("/api/session").then((found) => found.ok && found.json()).then((found) => { if (found?.may_act) location.replace("/"); });
