// Owns the pictures of measurements: one small chart a measure. Knows nothing of jobs.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [320, 130, 54, 16, 8];
const NOT_DRAWN = new Set(["step", "total_steps", "seconds", "stage"]);
const LAST = /norm$|^learning_rate$/; // rarely looked at
const MOST_POINTS = 600;

/** Draws rows of measurements into a box: one chart a measure, in one part a stage, of which the last one is open. */
export function drawCurves(box, rows) {
  const stages = new Map();
  for (const row of rows) {
    const stage = row.stage ?? "";
    if (!stages.has(stage)) stages.set(stage, new Map());
    const charts = stages.get(stage);
    for (const [name, value] of Object.entries(row)) {
      if (NOT_DRAWN.has(name) || typeof value !== "number") continue;
      if (!charts.has(name)) charts.set(name, { points: new Map(), total: row.total_steps ?? 0 });
      charts.get(name).points.set(row.step, value);
    }
  }
  const old = new Map([...box.children].map((part) => [part.dataset.stage, part]));
  const last = [...stages.keys()].at(-1);
  box.replaceChildren(...[...stages].map(([stage, charts]) => partOf(old.get(stage), stage, charts, stage === last)));
}

/** A stage's charts; whoever has opened or closed it decides. */
function partOf(old, stage, charts, newest) {
  const part = old ?? document.createElement("details");
  if (!old) {
    part.className = "stage";
    part.dataset.stage = stage;
    const summary = document.createElement("summary");
    summary.textContent = stage;
    summary.hidden = !stage;
    summary.onclick = () => (part.dataset.chosen = "yes");
    const box = document.createElement("div");
    box.className = "curves";
    part.append(summary, box);
  }
  if (!part.dataset.chosen) part.open = newest;
  const box = part.querySelector(".curves");
  const figures = new Map([...box.children].map((figure) => [figure.dataset.title, figure]));
  const ordered = [...charts].sort(([one], [other]) => LAST.test(one) - LAST.test(other));
  box.replaceChildren(...ordered.map(([name, chart]) => figureOf(figures.get(name), name, chart)));
  return part;
}

function figureOf(old, name, { points, total }) {
  const figure = old ?? document.createElement("figure");
  if (figure.dataset.count === String(points.size)) return figure;
  figure.className = "curve";
  figure.dataset.title = name;
  figure.dataset.count = points.size;
  const steps = [...points.keys()];
  const values = [...points.values()];
  const caption = document.createElement("figcaption");
  const last = document.createElement("strong");
  last.textContent = short(values.at(-1));
  caption.append(name.replaceAll("_", " "), last);
  figure.replaceChildren(caption, picture(steps, values, Math.max(total, steps.at(-1))));
  return figure;
}

function picture(steps, values, end) {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const x = (step) => LEFT + ((WIDTH - LEFT - 6) * step) / Math.max(1, end);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (value - low)) / (high - low || 1);
  const every = Math.ceil(steps.length / MOST_POINTS);
  const kept = steps.map((step, i) => [x(step), y(values[i])]).filter((_, i) => i % every === 0 || i === steps.length - 1);
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  svg.append(
    element("line", { class: "axis", x1: LEFT, x2: WIDTH - 6, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
    element("line", { class: "axis", x1: LEFT, x2: LEFT, y1: TOP, y2: HEIGHT - BOTTOM }),
    label(short(high), LEFT - 5, TOP + 6, "end"),
    label(short(low), LEFT - 5, HEIGHT - BOTTOM, "end"),
    label(`step ${end}`, WIDTH - 6, HEIGHT - 3, "end"),
    element("path", { class: "line", d: `M${kept.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}` }),
    element("circle", { class: "dot", cx: kept.at(-1)[0], cy: kept.at(-1)[1], r: 2.5 }),
  );
  return svg;
}

function label(text, x, y, anchor) {
  const made = element("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}
