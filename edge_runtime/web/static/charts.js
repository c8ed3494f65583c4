// Charts over time on a canvas: stacked areas and lines, one point a second, gaps kept.

const PAD = { left: 44, right: 8, top: 8, bottom: 20 };
const STRIP = 7; // height of the strip that shows the label, in pixels

/**
 * Draws one chart.
 * @param {HTMLCanvasElement} canvas fills its parent
 * @param {object} chart
 *   points: oldest first, each with the second .s of the run
 *   end, span: last second and number of seconds shown
 *   series: [{name, colour, of(point) -> number | null, fill}]
 *   stacked: whether each is stacked on those before it
 *   top: fixed upper end of the axis, or null
 *   text(value): how the axis writes a value
 *   strip(point) -> colour | null: of the label shown (optional)
 *   cursor: second under the pointer, or null
 *   empty: text without data
 */
export function draw(canvas, chart) {
  const box = canvas.getBoundingClientRect();
  if (!box.width) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  const paint = canvas.getContext("2d");
  paint.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const look = (name) => style.getPropertyValue(name).trim();
  const strip = chart.strip ? STRIP + 5 : 0;
  const area = {
    x: PAD.left, y: PAD.top + strip,
    w: box.width - PAD.left - PAD.right, h: box.height - PAD.top - PAD.bottom - strip,
  };
  const shown = chart.points.filter((point) => point.s > chart.end - chart.span);
  const rows = shown.map((point) => stackOf(chart, point));
  const top = chart.top ?? niceTop(Math.max(0, ...rows.flat().map((pair) => pair ? pair[1] : 0)));
  const at = {
    x: (second) => area.x + area.w * (1 - (chart.end - second) / chart.span),
    y: (value) => area.y + area.h * (1 - Math.min(value, top) / top),
  };
  paint.font = "11px system-ui, sans-serif";
  grid(paint, area, at, top, chart, look);
  const runs = runsOf(shown, rows);
  if (!runs.length || !rows.some((row) => row.some(Boolean))) {
    paint.fillStyle = look("--quiet");
    paint.textAlign = "center";
    paint.fillText(chart.empty, area.x + area.w / 2, area.y + area.h / 2);
    return;
  }
  paint.save();
  paint.beginPath();
  paint.rect(area.x, 0, area.w + PAD.right, box.height);
  paint.clip();
  chart.series.forEach((one, index) => series(paint, one, index, runs, at));
  if (chart.strip) drawStrip(paint, shown, chart, at);
  paint.restore();
  if (chart.cursor !== null) cursor(paint, area, at, chart.cursor, look);
}

/** Returns the second under a pointer. */
export function secondAt(canvas, clientX, chart) {
  const box = canvas.getBoundingClientRect();
  const share = (clientX - box.left - PAD.left) / (box.width - PAD.left - PAD.right);
  return Math.round(chart.end - chart.span * (1 - share));
}

function stackOf(chart, point) {
  let below = 0;
  return chart.series.map((one) => {
    const value = one.of(point);
    if (value === null || value === undefined) return null;
    const from = chart.stacked ? below : 0;
    below = from + value;
    return [from, from + value];
  });
}

// A second without a frame ends a run, and the line with it.
function runsOf(points, rows) {
  const runs = [];
  points.forEach((point, i) => {
    if (rows[i].every((pair) => pair === null)) return;
    const last = runs.at(-1);
    const follows = last && point.s - last.at(-1).s <= 2;
    const entry = { s: point.s, row: rows[i] };
    if (follows) last.push(entry); else runs.push([entry]);
  });
  return runs;
}

function niceTop(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value * 1.08));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * unit).find((n) => n >= value * 1.08);
}

function grid(paint, area, at, top, chart, look) {
  paint.strokeStyle = look("--grid");
  paint.fillStyle = look("--quiet");
  paint.lineWidth = 1;
  paint.textBaseline = "middle";
  paint.textAlign = "right";
  for (const share of [0, 0.5, 1]) {
    const y = Math.round(at.y(top * share)) + 0.5;
    paint.beginPath();
    paint.moveTo(area.x, y);
    paint.lineTo(area.x + area.w, y);
    paint.stroke();
    paint.fillText(chart.text(top * share), area.x - 7, y);
  }
  const step = chart.span <= 60 ? 15 : chart.span <= 300 ? 60 : 120;
  const room = area.w / (chart.span / step) > 64 ? 1 : 2;
  paint.textBaseline = "top";
  for (let ago = 0; ago <= chart.span; ago += step * room) {
    const label = ago === 0 ? "now" : ago % 60 ? `-${ago} s` : `-${ago / 60} min`;
    paint.textAlign = ago === 0 ? "right" : ago === chart.span ? "left" : "center";
    paint.fillText(label, at.x(chart.end - ago), area.y + area.h + 6);
  }
}

function series(paint, one, index, runs, at) {
  for (const run of runs) {
    const dots = run.filter((entry) => entry.row[index]);
    if (!dots.length) continue;
    // A single second still has a width.
    const spots = dots.length > 1 ? dots : [dots[0], { ...dots[0], s: dots[0].s + 1 }];
    const upper = new Path2D();
    spots.forEach((entry, i) => {
      const spot = [at.x(entry.s), at.y(entry.row[index][1])];
      if (i) upper.lineTo(...spot); else upper.moveTo(...spot);
    });
    if (one.fill) {
      const shape = new Path2D(upper);
      [...spots].reverse().forEach((entry) => shape.lineTo(at.x(entry.s), at.y(entry.row[index][0])));
      paint.globalAlpha = one.fill;
      paint.fillStyle = one.colour;
      paint.fill(shape);
      paint.globalAlpha = 1;
    }
    if (one.line !== false) {
      paint.strokeStyle = one.colour;
      paint.lineWidth = 1.75;
      paint.lineJoin = "round";
      paint.stroke(upper);
    }
  }
}

function drawStrip(paint, points, chart, at) {
  const wide = at.x(1) - at.x(0);
  for (const point of points) {
    const colour = chart.strip(point);
    if (!colour) continue;
    paint.fillStyle = colour;
    paint.fillRect(at.x(point.s - 1), PAD.top - 2, wide + 0.6, STRIP);
  }
}

function cursor(paint, area, at, second, look) {
  const x = Math.round(at.x(second)) + 0.5;
  if (x < area.x || x > area.x + area.w) return;
  paint.strokeStyle = look("--quiet");
  paint.setLineDash([3, 3]);
  paint.beginPath();
  paint.moveTo(x, area.y);
  paint.lineTo(x, area.y + area.h);
  paint.stroke();
  paint.setLineDash([]);
}
