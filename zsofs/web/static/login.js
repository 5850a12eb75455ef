// The page of the login form: whether the last token was wrong.
document.getElementById("wrong").hidden = location.search !== "?wrong";
const theme = localStorage.getItem("zsofs-theme");
if (theme) document.documentElement.dataset.theme = theme;
