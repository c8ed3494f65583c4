// Shows one collected crop after the other, and sends the answers of a person.
//
// An answer is noted in this browser before it is sent, and sent until the device has it:
// a lost network or a closed page loses none. Each has a key of its own, so that the device
// knows one that it already has.

import { local, session } from "./storage.js";

const RETRY_MS = 2000;
const TIMEOUT_MS = 8000;
const FEW = 4; // crops at hand, below which more are fetched at once
const EVERY_MS = 10000;
const MOST = 12; // crops at hand: as many as the device offers, and holds for this page
const MOST_UNDONE = 50;
// Not relative: where the page's address has a password in it, for a proxy, that cannot be fetched.
const API = new URL("api/review", location.href);
const KEYS = "123456789abcdefghijklmnopqrstvwyz"; // without u and x

const at = (id) => document.getElementById(id);
const word = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Each tab is a person of its own; a reload is the same one. A duplicated tab gets a copy
// of the storage, so the word is not there while the page is open.
const client = session.getItem("review-client") ?? word();
addEventListener("pageshow", () => session.removeItem("review-client"));
addEventListener("pagehide", () => session.setItem("review-client", client));

// Below a proxy, several devices are one origin, with one storage.
const PENDING = `review-pending-${location.pathname}-`;

// Also what closed tabs left: to send an answer twice does no harm.
function adopted() {
  const names = Object.keys(local).filter((name) => name.startsWith(PENDING));
  const found = names.flatMap((name) => JSON.parse(local.getItem(name)));
  for (const name of names) local.removeItem(name);
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
let trouble = ""; // why answers wait

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
  for (const one of crops) one.picture ??= pictureOf(one);
  if (crop && at("crop") !== crop.picture) at("crop").replaceWith(crop.picture);
  at("discard").disabled = !crop;
  at("undo").disabled = !done.length;
  showProgress();
  showLabels(crop);
  showPicture();
  at("said").replaceChildren();
  at("why").textContent = "";
  if (!crop) return;
  const p = crop.probabilities[crop.label];
  at("said").append(crop.label, make("small", p === undefined ? "" : percent(p)));
  const when = crop.utc ? new Date(crop.utc).toLocaleString("en-GB") : "";
  at("why").textContent = [REASONS[crop.reason] ?? "", crop.region ?? "", when].filter(Boolean).join(", ");
}

// Returns an element of its own for each crop: none shows the picture of another one.
function pictureOf(crop) {
  const picture = make("img", undefined, { id: "crop", alt: "Crop to label", decoding: "sync" });
  const source = `api/review/${crop.name}.jpg`;
  picture.addEventListener("load", () => {
    crop.failed = false;
    showPicture();
  });
  picture.addEventListener("error", () => {
    // Removed since, or damaged, or no network: the others first, and this one later.
    crop.failed = true;
    crop.wait = Math.min(2 * (crop.wait ?? RETRY_MS / 2), EVERY_MS);
    if (!crops.includes(crop)) return;
    crops = [...crops.filter((one) => one !== crop), crop];
    show();
    setTimeout(() => {
      if (!crops.includes(crop)) return;
      picture.src = source;
      fill();
    }, crop.wait);
  });
  picture.src = source;
  return picture;
}

// What is not on the screen cannot be answered.
const isSeen = (crop) => Boolean(crop?.picture?.complete && crop.picture.naturalWidth);

function showPicture() {
  const crop = crops[0];
  at("crop").hidden = !isSeen(crop);
  at("empty").hidden = isSeen(crop);
  const none = counts?.waiting > pending.length
    ? "others have what is left: two minutes at most"
    : "nothing to label at present";
  at("empty").textContent = counts && !crop ? none : "loading";
  at("accept").disabled = !isSeen(crop) || !labels.includes(crop.label);
}

function showProgress() {
  if (!counts) return;
  const waiting = Math.max(0, counts.waiting - pending.length);
  at("progress").textContent = counts.full
    ? `${counts.labelled} labelled, full: export and delete them`
    : `${waiting} to label, ${counts.labelled} labelled, ${counts.discarded} discarded`;
  const unsent = pending.length;
  at("network").hidden = !(unsent && timer);
  at("network").textContent = `${trouble}: ${unsent} ${unsent === 1 ? "answer waits" : "answers wait"}`;
}

// The buttons last as long as the labels: one that has the focus keeps it.
function showLabels(crop) {
  const shown = Array.from(at("labels").children, (button) => button.title);
  if (shown.join("\n") !== labels.join("\n")) at("labels").replaceChildren(...labels.map(labelButton));
  for (const button of at("labels").children) {
    const p = crop?.probabilities[button.title];
    button.disabled = !crop;
    button.querySelector("em").textContent = p === undefined ? "" : percent(p);
    button.classList.toggle("answered", crop?.label === button.title);
  }
}

function labelButton(label, number) {
  const button = make("button", undefined, { type: "button", title: label });
  if (KEYS[number]) button.append(make("kbd", KEYS[number].toUpperCase()));
  button.append(make("span", label), make("em"));
  button.addEventListener("click", () => answer(label));
  return button;
}

// --- answers -------------------------------------------------------------------------

function answer(label) {
  const crop = crops[0];
  if (!isSeen(crop)) return;
  crops.shift();
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
  last.crop.undone = true;
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
  if (pending.length) local.setItem(PENDING + client, JSON.stringify(pending));
  else local.removeItem(PENDING + client);
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
    const response = await fetch(API, {
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
    if ([400, 409, 410].includes(response.status)) return reason; // it never will
    note(reason);
    trouble = "not accepted yet";
    return "again";
  } catch {
    trouble = "no connection";
    return "again";
  }
}

// --- crops ---------------------------------------------------------------------------

// Those at hand are asked for again, too: so nobody else is asked about them.
async function fill() {
  if (fetching) return;
  fetching = true;
  try {
    const response = await fetch(`${API}?client=${client}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
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
    const offered = new Set(state.crops.map((crop) => crop.name));
    const had = crops.length;
    // The others were removed, or are somebody else's by now.
    crops = crops.filter((crop, place) => offered.has(crop.name) || (!crop.failed && (crop.undone || place === 0)));
    const changed = crops.length < had || before !== labels.join("\n") || !crops.length;
    const atHand = new Set(crops.map((crop) => crop.name));
    const fresh = state.crops.filter((crop) => !answered.has(crop.name) && !atHand.has(crop.name));
    crops = [...crops, ...fresh].slice(0, Math.max(MOST, crops.length));
    if (changed || fresh.length) show();
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
    if (event.altKey || event.metaKey) return;
    const key = event.key.toLowerCase();
    if (key === "enter" && event.repeat) event.preventDefault(); // one press, one answer
    if (event.repeat) return;
    if (key === "enter" && event.target.closest("button, a")) return; // it means that one
    if (key === "u" || key === "backspace" || (event.ctrlKey && key === "z")) { event.preventDefault(); undo(); return; }
    if (event.ctrlKey || !crops.length) return;
    if (key === "enter" && !at("accept").disabled) { event.preventDefault(); answer(crops[0].label); }
    if (key === "x" || key === "delete") { event.preventDefault(); answer(null); }
    const number = KEYS.indexOf(key);
    if (key.length === 1 && number >= 0 && number < labels.length) { event.preventDefault(); answer(labels[number]); }
  });
  addEventListener("click", (event) => {
    // After the mouse or a finger, Enter means "right" again; a key leaves the focus.
    if (event.detail) event.target.closest("button")?.blur();
  });
  addEventListener("online", () => { send(); fill(); });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = local.getItem("theme") ?? (dark.matches ? "dark" : "light");
  setInterval(() => { if (!document.hidden) fill(); }, EVERY_MS);
  keep();
  send();
  fill();
}

start();
