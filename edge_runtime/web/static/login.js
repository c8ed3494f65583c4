document.getElementById("wrong").hidden = !location.search.includes("wrong");
// After a link of another site the browser keeps the session back, and only then.
const state = new URL("api/state", location.href);
fetch(state, { method: "HEAD" }).then((answer) => { if (answer.ok) location.replace("./"); });
