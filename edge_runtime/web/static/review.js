// Shows one collected crop after the other, and sends the answers of a person.
//
// An answer is noted in this browser before it is sent, and sent until the device has it:
// a lost network or a closed page loses none. Each has a key of its own, so that the device
// knows one that it already has.

const RETRY_MS = 2000;
const TIMEOUT_MS = 8000;
const FEW = 4; // crops at hand, below which more are fetched at once
const EVERY_MS = 10000;
const MOST_UNDONE = 50;
const KEYS = "123456789abcdefghijklmnopqrstvwyz"; // without u and x

const at = (id) => document.getElementById(id);
const word = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Each tab is a person of its own; a reload is the same one.
const client = sessionStorage.getItem("review-client") ?? word();
sessionStorage.setItem("review-client", client);

// Also what closed tabs left: to send an answer twice does no harm.
function adopted() {
  const names = Object.keys(localStorage).filter((name) => name.startsWith("review-pending-"));
  const found = names.flatMap((name) => JSON.parse(localStorage.getItem(name)));
  for (const name of names) localStorage.removeItem(name);
  return found;
}

let labels = [];
let crops = []; // to label, the first one is shown
let pending = adopted(); // answers that the device may not have yet
let done = []; // answers that can be taken back, the last one at the end
let counts = null;
let sending = false;
let fetching = false;
let timer = 0;

function make(tag, text, properties = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  Object.assign(element, properties);
  return element;
}

const percent = (p) => `${Math.round(100 * p)} %`;

function note(text) {
  at("note").textContent = text;
}

// --- what is shown -------------------------------------------------------------------

const REASONS = {
  uncertain: "the model was not sure",
  disagreement: "frames of the same track disagree",
  rare: "a label that is seldom seen",
  random: "taken at random",
};

function show() {
  const crop = crops[0];
  at("crop").hidden = !crop;
  at("empty").hidden = Boolean(crop);
  for (const id of ["accept", "discard"]) at(id).disabled = !crop;
  at("undo").disabled = !done.length;
  showProgress();
  showLabels(crop);
  at("said").replaceChildren();
  at("why").textContent = "";
  if (!crop) {
    at("empty").textContent = counts ? "nothing to label at present" : "loading";
    return;
  }
  const source = `api/review/${crop.name}.jpg`;
  if (at("crop").getAttribute("src") !== source) at("crop").src = source;
  const p = crop.probabilities[crop.label];
  at("said").append(crop.label, make("small", p === undefined ? "" : percent(p)));
  const known = labels.includes(crop.label);
  at("accept").disabled = !known;
  const when = crop.utc ? new Date(crop.utc).toLocaleString("en-GB") : "";
  at("why").textContent = [REASONS[crop.reason] ?? "", crop.region ?? "", when].filter(Boolean).join(", ");
  for (const next of crops.slice(1, 4)) new Image().src = `api/review/${next.name}.jpg`;
}

function showProgress() {
  if (!counts) return;
  const waiting = Math.max(0, counts.waiting - pending.length);
  at("progress").textContent = counts.full
    ? `${counts.labelled} labelled, full: export and delete them`
    : `${waiting} to label, ${counts.labelled} labelled, ${counts.discarded} discarded`;
  const unsent = pending.length;
  at("network").hidden = !(unsent && timer);
  at("network").textContent = `no connection: ${unsent} ${unsent === 1 ? "answer waits" : "answers wait"}`;
}

function showLabels(crop) {
  const buttons = labels.map((label, number) => {
    const button = make("button", undefined, { type: "button", disabled: !crop, title: label });
    if (KEYS[number]) button.append(make("kbd", KEYS[number].toUpperCase()));
    button.append(make("span", label));
    const p = crop?.probabilities[label];
    if (p !== undefined) button.append(make("em", percent(p)));
    button.classList.toggle("answered", crop?.label === label);
    button.addEventListener("click", () => answer(label));
    return button;
  });
  at("labels").replaceChildren(...buttons);
}

// --- answers -------------------------------------------------------------------------

function answer(label) {
  const crop = crops.shift();
  if (!crop) return;
  const given = { name: crop.name, label, key: word(), client };
  done = [...done, { given, crop }].slice(-MOST_UNDONE);
  put(given);
  note(label === null ? "discarded" : `labelled ${label}`);
  show();
  if (crops.length < FEW) fill();
}

function undo() {
  const last = done.pop();
  if (!last) return;
  crops.unshift(last.crop);
  put({ name: last.given.name, key: last.given.key, client, undo: true });
  note("taken back");
  show();
}

function put(given) {
  pending.push(given);
  keep();
  send();
}

function keep() {
  if (pending.length) localStorage.setItem(`review-pending-${client}`, JSON.stringify(pending));
  else localStorage.removeItem(`review-pending-${client}`);
}

// One after the other: an answer and its undo must arrive in their order.
async function send() {
  if (sending) return;
  sending = true;
  clearTimeout(timer);
  timer = 0;
  while (pending.length) {
    const given = pending[0];
    const outcome = await sent(given);
    if (outcome === "again") {
      timer = setTimeout(send, RETRY_MS);
      break;
    }
    pending = pending.filter((one) => one !== given);
    keep();
    if (outcome) {
      note(`${given.name.split("-")[0]}: ${outcome}`);
      done = done.filter((one) => one.given.key !== given.key);
    }
  }
  sending = false;
  showProgress();
  at("undo").disabled = !done.length;
}

// Returns nothing where the device has it, "again", or why it does not want it.
async function sent(given) {
  try {
    const response = await fetch("api/review", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(given),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 401) { location.href = "login"; return "again"; }
    if (response.ok) {
      counts = await response.json();
      return "";
    }
    const reason = (await response.text()).trim();
    if (response.status >= 500 || response.status === 429) { note(reason); return "again"; }
    return reason;
  } catch {
    return "again";
  }
}

// --- crops ---------------------------------------------------------------------------

// Those at hand are asked for again, too: so nobody else is asked about them.
async function fill() {
  if (fetching) return;
  fetching = true;
  try {
    const response = await fetch(`api/review?client=${client}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status === 401) { location.href = "login"; return; }
    if (response.status === 404) {
      at("progress").textContent = "not collecting";
      at("empty").textContent = (await response.text()).trim();
      return;
    }
    const state = await response.json();
    counts = state;
    const before = labels.join("\n");
    labels = state.labels;
    // Not those that were answered: the answer may be on its way.
    const answered = new Set([...pending, ...done.map((one) => one.given)].map((one) => one.name));
    const shown = new Set(crops.map((crop) => crop.name));
    const fresh = state.crops.filter((crop) => !answered.has(crop.name) && !shown.has(crop.name));
    const changed = fresh.length || before !== labels.join("\n") || !crops.length;
    crops.push(...fresh);
    if (changed) show();
    else showProgress();
  } catch {
    if (!crops.length) at("empty").textContent = "no connection";
  } finally {
    fetching = false;
  }
}

function start() {
  at("accept").addEventListener("click", () => crops[0] && answer(crops[0].label));
  at("discard").addEventListener("click", () => answer(null));
  at("undo").addEventListener("click", undo);
  addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (key === "u" || key === "backspace" || (event.ctrlKey && key === "z")) { event.preventDefault(); undo(); return; }
    if (event.ctrlKey || !crops.length) return;
    if (key === "enter" && !at("accept").disabled) { event.preventDefault(); answer(crops[0].label); }
    if (key === "x" || key === "delete") { event.preventDefault(); answer(null); }
    const number = KEYS.indexOf(key);
    if (key.length === 1 && number >= 0 && number < labels.length) { event.preventDefault(); answer(labels[number]); }
  });
  at("crop").addEventListener("error", () => {
    // Removed since, or no network: the next one, or later.
    if (navigator.onLine) setTimeout(fill, RETRY_MS);
  });
  addEventListener("online", () => { send(); fill(); });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  setInterval(() => { if (!document.hidden) fill(); }, EVERY_MS);
  keep();
  send();
  fill();
}

start();
