// A region is pulled over the live view, and shown as a line for the configuration file.

const at = (id) => document.getElementById(id);
const LEAST = 0.02; // of width and height: less was a touch, not a pull
const HELP = "pull a rectangle over the picture";
const DONE = "put this line into the file of --config and start again";

let configured = () => []; // returns the texts of the run's regions
let start = null; // where the pointer went down
let pulled = null; // {x, y, width, height}, parts of the picture

/** Where the picture is inside its element, in pixels of the page. */
function pictureBox() {
  const live = at("live");
  const around = live.getBoundingClientRect();
  const scale = Math.min(around.width / live.naturalWidth, around.height / live.naturalHeight);
  const [width, height] = [scale * live.naturalWidth, scale * live.naturalHeight];
  return { left: around.left + (around.width - width) / 2, top: around.top + (around.height - height) / 2, width, height };
}

function place(event) {
  const box = pictureBox();
  const part = (value, from, size) => Math.min(1, Math.max(0, (value - from) / size));
  return { x: part(event.clientX, box.left, box.width), y: part(event.clientY, box.top, box.height) };
}

/** The pulled region as --roi takes it: rounded to tenths of a percent, never too large. */
function regionText() {
  const tenths = [pulled.x, pulled.y, pulled.x + pulled.width, pulled.y + pulled.height].map((part) => Math.round(1000 * part));
  const [left, top, right, bottom] = tenths;
  return [left, top, right - left, bottom - top].map((value) => `${value / 10}%`).join(",");
}

/** A name that no region has, from a number on; it is taken then. */
function freeName(taken, number) {
  while (taken.has(`region ${number}`)) number += 1;
  taken.add(`region ${number}`);
  return `region ${number}`;
}

function line() {
  const others = configured();
  const typed = at("region-name").value.replace(/[^\p{L}\p{N}_ -]/gu, "").replace(/^[ -]+|[ -]+$/g, "");
  if (!typed && !others.length) return `roi = "${regionText()}"`;
  // Where there are several, each has a name of its own.
  const taken = new Set([typed, ...others.map((text) => text.split("=")[0])]);
  const named = others.map((text, i) => (text.includes("=") ? text : `${freeName(taken, i + 1)}=${text}`));
  const name = typed || freeName(taken, others.length + 1);
  const kept = named.filter((text) => !text.startsWith(`${name}=`));
  return `roi = [${[...kept, `${name}=${regionText()}`].map((text) => `"${text}"`).join(", ")}]`;
}

function show() {
  at("region-help").textContent = pulled ? DONE : HELP;
  at("region-line").value = pulled ? line() : "";
  at("region-copy").disabled = !pulled;
  const mark = at("pulled");
  mark.hidden = !pulled;
  if (!pulled) return;
  const box = pictureBox();
  const around = at("live").parentElement.getBoundingClientRect();
  mark.style.left = `${box.left - around.left + pulled.x * box.width}px`;
  mark.style.top = `${box.top - around.top + pulled.y * box.height}px`;
  mark.style.width = `${pulled.width * box.width}px`;
  mark.style.height = `${pulled.height * box.height}px`;
}

function pull(event) {
  if (!start) return;
  const end = place(event);
  const [x, y] = [Math.min(start.x, end.x), Math.min(start.y, end.y)];
  const [width, height] = [Math.abs(end.x - start.x), Math.abs(end.y - start.y)];
  pulled = width >= LEAST && height >= LEAST ? { x, y, width, height } : null;
  show();
}

async function copy() {
  at("region-line").select();
  try {
    await navigator.clipboard.writeText(at("region-line").value);
  } catch {
    document.execCommand("copy"); // without TLS there is no clipboard
  }
  at("region-help").textContent = "copied";
}

/** Offers the tool; regionsOf returns the texts of the run's regions. */
export function offerRegion(regionsOf) {
  configured = regionsOf;
  const live = at("live");
  const button = at("region");
  button.addEventListener("click", () => {
    const choosing = live.parentElement.classList.toggle("choosing");
    button.ariaPressed = String(choosing);
    at("region-card").hidden = !choosing;
    if (!choosing) pulled = null;
    show();
  });
  live.addEventListener("dragstart", (event) => event.preventDefault());
  live.addEventListener("pointerdown", (event) => {
    if (!live.parentElement.classList.contains("choosing") || !live.naturalWidth) return;
    event.preventDefault();
    live.setPointerCapture(event.pointerId);
    start = place(event);
  });
  live.addEventListener("pointermove", pull);
  live.addEventListener("pointerup", (event) => { pull(event); start = null; });
  live.addEventListener("pointercancel", () => { start = null; });
  at("region-name").addEventListener("input", show);
  at("region-copy").addEventListener("click", copy);
  addEventListener("resize", show);
}
