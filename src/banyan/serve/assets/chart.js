// Curves over the steps of a run: a drawing with its meaning in words, and the same figures as a table.

import { make, svg } from "./dom.js";
import { word } from "./words.js";

const NUM_COLOURS = 8;
const MARGIN = { top: 12, right: 14, bottom: 30, left: 46 };
const NUM_TICKS = 5;
const MAX_ROWS = 500; // of a table

let counter = 0;

// Colour and dashes of a curve, by its place: the ninth is the first one, dashed.
export function lookOf(place) {
  return `curve-${place % NUM_COLOURS} dash-${Math.floor(place / NUM_COLOURS) % 3}`;
}

export function shown(value) {
  if (value === null || value === undefined) return "—";
  return Math.abs(value) >= 1000 || value === 0 ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
}

// Draws {steps, curves} as wide as it will be seen. `looks` gives each name its classes, `hidden` the names left out.
export function drawCurves({ steps, curves }, { title, looks, hidden, width }) {
  const height = Math.round(Math.min(340, Math.max(220, width * 0.5)));
  const names = Object.keys(curves).filter((name) => !hidden.has(name));
  const values = names.flatMap((name) => curves[name]).filter((value) => value !== null);
  const scale = scalesOf(steps, values, width, height);
  const key = `chart-${(counter += 1)}`;
  return svg("svg", { class: "chart", role: "img", viewBox: `0 0 ${width} ${height}`, width, height, "aria-labelledby": `${key}-title ${key}-desc` },
    svg("title", { id: `${key}-title` }, title),
    svg("desc", { id: `${key}-desc` }, names.map((name) => inWords(name, steps, curves[name])).join(" ")),
    axes(scale, width, height),
    names.map((name) => curve(steps, curves[name], looks.get(name), scale)));
}

function scalesOf(steps, values, width, height) {
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const [first, last] = [steps[0] ?? 0, Math.max(steps.at(-1) ?? 1, (steps[0] ?? 0) + 1)];
  const ticks = niceTicks(Math.min(...values, Infinity), Math.max(...values, -Infinity));
  const [low, high] = [ticks[0], ticks.at(-1)];
  return {
    x: (step) => left + ((right - left) * (step - first)) / (last - first),
    y: (value) => bottom - ((bottom - top) * (value - low)) / (high - low),
    xTicks: niceTicks(first, last).filter((tick) => tick >= first && tick <= last && Number.isInteger(tick)),
    yTicks: ticks,
  };
}

// Round numbers that hold all values between the first and the last of them.
export function niceTicks(low, high) {
  if (!(low <= high)) return [0, 1];
  const range = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(range / NUM_TICKS));
  const gap = power * [1, 2, 5, 10].find((factor) => (power * factor * NUM_TICKS) >= range * 0.999);
  const first = Math.floor(low / gap);
  const last = Math.max(Math.ceil(high / gap), first + 1);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * gap).toPrecision(12)));
}

function axes({ x, y, xTicks, yTicks }, width, height) {
  const right = width - MARGIN.right;
  const rows = yTicks.map((tick) => [
    svg("line", { class: "rule", x1: MARGIN.left, x2: right, y1: y(tick), y2: y(tick) }),
    svg("text", { class: "tick end", x: MARGIN.left - 8, y: y(tick) + 4 }, shown(tick)),
  ]);
  const columns = xTicks.map((tick) => svg("text", { class: "tick middle", x: x(tick), y: height - 8 }, String(tick)));
  return svg("g", { "aria-hidden": "true" }, rows.flat(), columns);
}

function curve(steps, values, look, { x, y }) {
  const points = steps.map((step, place) => [step, values[place]]).filter(([, value]) => value !== null);
  const at = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
  if (at.length !== 1) return svg("polyline", { class: `curve ${look}`, points: at.join(" ") });
  return svg("circle", { class: `dot ${look}`, cx: x(points[0][0]), cy: y(points[0][1]), r: 3 });
}

function inWords(name, steps, values) {
  const known = steps.map((step, place) => [step, values[place]]).filter(([, value]) => value !== null);
  if (!known.length) return "";
  const [[start, first], [end, last]] = [known[0], known.at(-1)];
  return word("chart.course", { name, first: shown(first), start, last: shown(last), end });
}

// The figures of the drawing, a row for each point; the newest comes first.
export function figuresTable({ steps, curves }) {
  const names = Object.keys(curves);
  const head = make("tr", {}, make("th", { scope: "col", word: "chart.step" }), names.map((name) => make("th", { scope: "col" }, name)));
  const rows = steps.map((step, place) =>
    make("tr", {}, make("th", { scope: "row" }, String(step)), names.map((name) => make("td", {}, shown(curves[name][place])))));
  return make("table", { class: "figures" }, make("thead", {}, head), make("tbody", {}, rows.reverse().slice(0, MAX_ROWS)));
}
