document.getElementById("wrong").hidden = !location.search.includes("wrong");
// After a link of another site the browser keeps the session back, and only then.
fetch("api/state?since=0", { method: "HEAD" }).then((answer) => { if (answer.ok) location.replace("./"); });
