// Fetches the state once a second while the page is visible, and shows it.

import { draw, secondAt } from "./charts.js";
import { offerRegion } from "./region.js";
import { local } from "./storage.js";

// The colours of the boxes in the picture (Okabe and Ito), by label number.
const PALETTE = ["#d55e00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#2882c8", "#e69f00", "#9467bd"];
const SPANS = [[60, "1 min"], [300, "5 min"], [600, "10 min"]];
const LONGEST_S = 600;
const EVERY_MS = 1000;
const RETRY_MS = 3000;
const TIMEOUT_MS = 5000;
const STILL_MS = 5000; // the picture is the same, and new frames came
const MOST_STILL_MS = 60000;

const DRIFT_NAMES = {
  frame_brightness: "Brightness", frame_sharpness: "Sharpness", input_brightness: "Brightness, input",
  input_sharpness: "Sharpness, input", face_size: "Size", confidence: "Confidence", labels: "Labels",
};
const DRIFT_REFERENCE = { "model file": "validation", "first frames": "first frames", "first answers": "first hour" };

const at = (id) => document.getElementById(id);
let state = null;
let history = [];
let chosen = Number(local.getItem("span")) || null;
let cursor = null; // {canvas, second, x, y}
let timer = 0;
let broken = false; // the last request failed
let seen = { picture: "", frames: 0, since: 0, patience: STILL_MS };

// --- small tools ---------------------------------------------------------------------

function make(tag, text, properties = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(properties)) {
    if (key === "colour") element.style.setProperty("--c", value);
    else element[key] = value;
  }
  return element;
}

function fill(id, children) {
  at(id).replaceChildren(...children);
}

const look = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const known = (value) => value !== null && value !== undefined;
// Unless the user chooses: one minute at first, then five.
const span = () => chosen ?? (state.uptime_s <= SPANS[0][0] ? SPANS[0][0] : SPANS[1][0]);
const percent = (p) => `${Math.round(100 * p)} %`;
const fixed = (value, digits = 1) => (known(value) ? value.toFixed(digits) : "–");
const short = (ms) => (known(ms) ? ms.toFixed(ms > 0 && ms < 10 ? 1 : 0) : "–");
const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
const count = (number) => number.toLocaleString("en-GB");

function duration(seconds) {
  const s = Math.floor(seconds);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = Math.max(0, parts.findIndex(([size]) => s >= size));
  const [size, unit] = parts[s ? first : 3];
  const head = `${Math.floor(s / size)} ${unit}`;
  const next = parts[first + 1];
  const rest = next ? Math.floor((s % size) / next[0]) : 0;
  return rest && first < 3 ? `${head} ${rest} ${next[1]}` : head;
}

function colourOf(label) {
  const number = state.model.labels.indexOf(label);
  return number < 0 ? "var(--quiet)" : PALETTE[number % PALETTE.length];
}

function plainColourOf(label) {
  const number = state.model.labels.indexOf(label);
  return number < 0 ? look("--quiet") : PALETTE[number % PALETTE.length];
}

// --- what is shown -------------------------------------------------------------------

function showHead() {
  const { source, fps } = state;
  at("source").textContent = `${source.kind} ${source.name}`;
  const health = at("health");
  health.className = `badge state ${state.healthy ? "good" : "bad"}`;
  const since = duration(state.since_last_frame_s ?? state.uptime_s);
  health.lastChild.textContent = state.healthy ? `live, ${fixed(fps)} fps` : `no frame for ${since}`;
  showLoss(source.lost ?? (state.healthy ? "" : `no frame for ${since}`));
  const { words } = state;
  at("blurred").hidden = !state.blurred;
  at("blurred").textContent = `${words.subjects} blurred`;
  at("live").alt = `Live view with the ${words.subjects}`;
  at("labels-title").textContent = capital(words.labels_are_plural);
  at("labels-of").textContent = `largest ${words.subject}, smoothed; strip: label shown`;
  at("ethics").hidden = words.labels_are !== "expression";
  at("review").hidden = !state.collecting;
  const stored = [state.recording && "recording frames", state.collecting && "collecting crops"].filter(Boolean);
  at("kept").textContent = stored.join(", ") || "frames not stored";
  at("kept").classList.toggle("alert", stored.length > 0);
}

// What is shown is old: it is dimmed, with the reason on it.
function showLoss(reason) {
  at("live").parentElement.classList.toggle("lost", reason !== "");
  const shown = at("live").naturalWidth > 0;
  at("waiting").hidden = shown && !reason;
  at("waiting").textContent = reason || "waiting for a frame";
}

// After a change of network the old connection is silent for ever, without an error:
// where frames come and the picture stays the same, another connection is opened.
function watchPicture() {
  const live = at("live");
  const now = performance.now();
  if (document.hidden || !live.naturalWidth) return;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [64, 48];
  const paint = canvas.getContext("2d");
  paint.drawImage(live, 0, 0, 64, 48);
  const picture = paint.getImageData(0, 0, 64, 48).data.join();
  if (picture !== seen.picture) {
    seen = { picture, frames: state.frames, since: now, patience: STILL_MS };
  } else if (state.frames === seen.frames) {
    seen.since = now;
  } else if (now - seen.since > seen.patience) {
    seen = { picture, frames: state.frames, since: now, patience: Math.min(2 * seen.patience, MOST_STILL_MS) };
    openStream();
  }
}

function faceCard(face, small) {
  const shown = face.decision ?? face;
  const card = make("div", undefined, { className: small ? "face small" : "face" });
  const line = make("div", undefined, { className: "said", colour: colourOf(shown.label) });
  line.append(make("b", shown.label), make("em", shareOf(shown)));
  const track = face.track === null ? "" : `${state.words.subject} ${face.track}`;
  const where = [face.region, track].filter(Boolean).join(", ");
  line.append(make("span", where, { className: "quiet" }));
  card.append(line);
  if (!small) {
    for (const [label, p] of Object.entries(shown.probabilities)) card.append(bar(label, p, shown.label));
  }
  return card;
}

// The label's own probability, as on its bar and in the live view; "uncertain" has none.
function shareOf(shown) {
  const p = shown.probabilities[shown.label];
  return known(p) ? percent(p) : "";
}

function bar(label, p, shownLabel) {
  const row = make("div", undefined, { className: label === shownLabel ? "bar first" : "bar", colour: colourOf(label) });
  const rail = make("u");
  const part = make("i");
  part.style.transform = `scaleX(${p})`;
  rail.append(part);
  row.append(make("span", label, { title: label }), rail, make("em", percent(p)));
  return row;
}

function showFaces() {
  const faces = state.faces_now;
  at("count").textContent = faces.length > 1 ? `${faces.length} ${state.words.subjects}` : "";
  const cards = faces.slice(0, 4).map((face, i) => faceCard(face, i > 0));
  const more = faces.length - cards.length;
  if (more > 0) cards.push(make("p", `and ${more} more`, { className: "empty" }));
  fill("faces", cards.length ? cards : [make("p", `no ${state.words.subject}`, { className: "empty" })]);
}

function tile(name, value, unit, bad = false) {
  const box = make("div", undefined, { className: bad ? "card tile bad" : "card tile" });
  const figure = make("b", value);
  figure.append(make("small", unit));
  box.append(make("span", name), figure);
  return box;
}

function showTiles() {
  const { latency_ms: ms, age_ms: age, board, source } = state;
  const hot = board.temperature_c >= 80;
  fill("tiles", [
    tile("Frames per second", fixed(state.fps), source.live ? `of ${fixed(source.fps, 0)}` : ""),
    tile("Frame age, p95", short(age?.p95), "ms"),
    tile("Detect, median", short(ms.detect?.p50), "ms"),
    tile("Classify, median", short(ms.classify?.p50), "ms"),
    tile(`${capital(state.words.subjects)} now`, String(state.faces_now.length), ""),
    known(board.temperature_c)
      ? tile("Temperature", fixed(board.temperature_c, 0), "°C", hot)
      : tile("Memory", fixed(board.memory_mb, 0), "MB"),
  ]);
}

function eventRow(event) {
  const clock = new Date(event.utc).toLocaleTimeString("en-GB");
  const row = make("li");
  const what = event.event.split("_").at(-1); // appeared, changed, left
  const who = `${state.words.subject} ${event.track}`;
  const text = what === "changed" ? `${who}: ${event.previous} → ${event.label}` : `${who} ${what}`;
  const decided = what !== "left" && state.model.labels.includes(event.label);
  const share = decided ? percent(event.confidence) : "";
  const dot = make("i", undefined, { colour: colourOf(event.label) });
  dot.classList.toggle("open", what === "left");
  const where = event.region ? `${event.region}: ${text}` : text;
  row.append(make("span", clock, { className: "quiet" }), dot, make("span", where));
  row.append(make("span", share, { className: "quiet" }));
  return row;
}

function showEvents() {
  const events = [...state.recent_events].reverse().slice(0, 40);
  const total = Object.values(state.events).reduce((sum, n) => sum + n, 0);
  at("event-count").textContent = total ? count(total) : "";
  fill("events", events.length ? events.map(eventRow) : [make("p", "nothing yet", { className: "empty" })]);
}

function pairs(id, rows) {
  const cells = rows.filter(([, value]) => known(value) && value !== "");
  fill(id, cells.flatMap(([name, value, className = ""]) => [make("dt", name), make("dd", value, { className })]));
}

function showModel() {
  const { model } = state;
  pairs("model", [
    ["File", model.name],
    ["Architecture", model.architecture],
    ["Format", model.format],
    ["Size", known(model.size_bytes) ? `${(model.size_bytes / 1e6).toFixed(2)} MB` : null],
    ["Library", model.backend ? `${model.backend} ${model.backend_version ?? ""}` : null],
    ["Face detector", state.detector === "none" ? null : state.detector],
    ["Smallest face", known(state.smallest_face_px) ? `about ${state.smallest_face_px} px` : null],
    ["Labels", model.labels.join(", ")],
    ["sha256", model.sha256 ? `${model.sha256.slice(0, 8)} ${model.sha256.slice(8, 16)}…` : null, "mono"],
  ]);
}

function showDrift() {
  const { drift } = state;
  at("drift-card").hidden = !drift;
  if (!drift) return;
  const badge = at("drifting");
  badge.hidden = drift.state !== "drift";
  badge.title = drift.reasons.join("\n");
  const said = { learning: "still learning what is usual", steady: "steady", drift: "not as before" };
  at("drift-state").textContent = said[drift.state];
  pairs("drift", [
    ...drift.reasons.map((reason, i) => [i ? "" : "Now", reason, "bad"]),
    ...drift.quantities.map(driftRow),
  ]);
}

// The index is 0 where nothing has changed; beyond its bound, three times in a row, it is drift.
function driftRow({ name, against, psi, bound, drifting }) {
  const index = known(psi) ? `${psi.toFixed(2)} of ${bound.toFixed(2)}` : "no block yet";
  const text = against ? `${index}, against ${DRIFT_REFERENCE[against]}` : "learning";
  return [DRIFT_NAMES[name], text, drifting ? "bad" : ""];
}

function showDevice() {
  const { board, source } = state;
  const now = board.throttled?.now ?? [];
  const before = board.throttled?.since_boot ?? [];
  pairs("device", [
    ["Running for", duration(state.uptime_s)],
    ["Frames processed", count(state.frames)],
    ["Frames dropped", count(source.dropped)],
    ["Camera reopened", String(source.reopened)],
    ["Temperature", known(board.temperature_c) ? `${fixed(board.temperature_c, 0)} °C` : "unknown"],
    ["Throttled", throttling(board.throttled, now, before), now.length ? "bad" : ""],
    ["Memory", known(board.memory_mb) ? `${fixed(board.memory_mb, 0)} MB` : null],
    ["fer-edge", state.version],
  ]);
  const outputs = Object.entries(state.outputs ?? {}).filter(([name]) => name !== "page");
  pairs("outputs", [["page", `${state.watchers} ${state.watchers === 1 ? "viewer" : "viewers"}`], ...outputs.map(outputRow)]);
}

function throttling(throttled, now, before) {
  if (!throttled) return "unknown";
  if (now.length) return now.join(", ");
  return before.length ? `not now; earlier: ${before.join(", ")}` : "no";
}

function outputRow([name, counts]) {
  const lost = counts.dropped_frames + counts.dropped_events;
  const text = counts.error ?? `${count(counts.written)} written${lost ? `, ${count(lost)} dropped` : ""}`;
  return [name, text, counts.error || lost ? "bad" : ""];
}

// --- charts --------------------------------------------------------------------------

const CHARTS = {
  labels: () => ({
    series: state.model.labels.map((label, i) => ({
      name: label, colour: PALETTE[i % PALETTE.length], fill: 0.86, line: false,
      of: (point) => (point.p ? point.p[i] ?? null : null), text: percent,
    })),
    stacked: true, top: 1, text: percent, empty: `no ${state.words.subject} yet`,
    strip: (point) => (point.said ? plainColourOf(point.said) : null),
  }),
  stages: () => ({
    series: [["detect", 0, "--s0"], ["track", 1, "--s1"], ["classify", 2, "--s2"]].map(stageSeries),
    stacked: true, top: null, text: short, empty: "no frame yet",
  }),
  age: () => ({
    series: [
      { name: "oldest of the second", colour: look("--s1"), fill: 0.16, of: (p) => p.age && p.age[1], text: inMs },
      { name: "median", colour: look("--s0"), of: (p) => p.age && p.age[0], text: inMs },
    ],
    stacked: false, top: null, text: short,
    empty: state.source.live ? "no frame yet" : "the frames of a file have no age",
  }),
};

const inMs = (value) => `${short(value)} ms`;

function stageSeries([name, index, colour]) {
  return { name, colour: look(colour), fill: 0.8, line: false, of: (point) => point.ms[index], text: inMs };
}

function chartOf(id) {
  const end = Math.floor(state.uptime_s) - 1; // goes on while no frame comes
  const second = cursor?.id === id ? cursor.second : null;
  return { points: history, end, span: span(), cursor: second, ...CHARTS[id]() };
}

function showCharts() {
  for (const id of Object.keys(CHARTS)) draw(at(id), chartOf(id));
  const named = (id) => CHARTS[id]().series.map((one) => make("span", one.name, { colour: one.colour }));
  fill("label-legend", [...named("labels"), make("span", "uncertain", { colour: "var(--quiet)" })]);
  fill("stage-legend", named("stages"));
  fill("age-legend", named("age").reverse());
  for (const button of at("spans").children) button.ariaPressed = String(Number(button.value) === span());
  showTip();
}

function showTip() {
  const tip = at("tip");
  const point = cursor && history.find((one) => one.s === cursor.second);
  tip.hidden = !point;
  if (!point) return;
  const chart = chartOf(cursor.id);
  const ago = chart.end - point.s;
  const head = make("b", point.said && cursor.id === "labels" ? `${point.said}, ${duration(ago)} ago` : `${duration(ago)} ago`);
  const rows = chart.series.filter((one) => known(one.of(point))).map((one) => {
    const row = make("div", one.name, { colour: one.colour });
    row.append(make("em", one.text(one.of(point))));
    return row;
  });
  tip.replaceChildren(head, ...rows);
  const left = cursor.x + 16 + tip.offsetWidth > innerWidth ? cursor.x - 16 - tip.offsetWidth : cursor.x + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(cursor.y, innerHeight - tip.offsetHeight - 8))}px`;
}

function followPointer(id) {
  const canvas = at(id);
  canvas.addEventListener("pointermove", (event) => {
    if (!state) return;
    cursor = { id, second: secondAt(canvas, event.clientX, chartOf(id)), x: event.clientX, y: event.clientY };
    showCharts();
  });
  canvas.addEventListener("pointerleave", () => { cursor = null; if (state) showCharts(); });
}

// --- fetching ------------------------------------------------------------------------

function update(fresh) {
  const restarted = state && fresh.started_unix_s !== state.started_unix_s;
  if (restarted) history = fresh.history;
  else history = [...history, ...fresh.history].slice(-LONGEST_S);
  state = fresh;
  for (const show of [showHead, showFaces, showTiles, showEvents, showModel, showDevice, showDrift, showCharts]) show();
  if (restarted) openStream();
  else watchPicture();
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  let pause = EVERY_MS;
  try {
    const since = history.length ? history.at(-1).s : -1;
    // Not relative: where the page's address has a password in it, for a proxy, that cannot be fetched.
    const address = new URL(`api/state?since=${since}`, location.href);
    const response = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status === 401) { location.href = "login"; return; }
    update(await response.json());
    if (broken) openStream(); // the picture's connection broke, too
    broken = false;
  } catch (error) {
    pause = RETRY_MS;
    broken = true;
    at("health").className = "badge state bad";
    at("health").lastChild.textContent = "no connection";
    showLoss("no connection");
    if (error instanceof SyntaxError || error instanceof ReferenceError) console.error(error);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, pause);
}

// The device encodes frames only for viewers: a hidden page closes its stream.
function openStream() {
  const live = at("live");
  if (document.hidden) live.removeAttribute("src");
  else live.src = `stream?${Date.now()}`;
}

function start() {
  const live = at("live");
  live.addEventListener("error", () => setTimeout(openStream, RETRY_MS));
  live.addEventListener("load", () => {
    if (!live.parentElement.classList.contains("lost")) at("waiting").hidden = true;
    live.parentElement.style.aspectRatio = `${live.naturalWidth} / ${live.naturalHeight}`;
  });
  document.addEventListener("visibilitychange", () => { openStream(); poll(); });
  addEventListener("resize", () => { if (state) showCharts(); });
  Object.keys(CHARTS).forEach(followPointer);
  offerRegion(() => state?.regions ?? []);
  fill("spans", SPANS.map(([seconds, name]) => {
    const button = make("button", name, { type: "button", value: seconds });
    button.addEventListener("click", () => {
      chosen = seconds;
      local.setItem("span", String(seconds));
      if (state) showCharts();
    });
    return button;
  }));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const applyTheme = () => {
    document.documentElement.dataset.theme = local.getItem("theme") ?? (dark.matches ? "dark" : "light");
    if (state) showCharts();
  };
  dark.addEventListener("change", applyTheme);
  at("theme").addEventListener("click", () => {
    local.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    applyTheme();
  });
  applyTheme();
  openStream();
  poll();
}

start();
