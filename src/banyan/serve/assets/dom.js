// Building the page from elements and text nodes. No text ever becomes markup.

import { word } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  chat: "M4 5h16v11H9l-5 4z",
  pencil: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  label: "M4 5v6l9 9 7-7-9-9H5zM8.500 8.500h.010",
  highlight: "M4 20h16M7 16l2-9 3-3 3 3 2 9M9 12h6",
  globe: "M12 3a9 9 0 100 18 9 9 0 000-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  lines: "M5 6h14M5 10h14M5 14h9M5 18h6",
  search: "M11 4a7 7 0 100 14 7 7 0 000-14zM16 16l4 4",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.010",
  clock: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v5l3 2",
  chart: "M4 4v16h16M7 8c4 8 6 8 12 8",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500L19 19M19 5l-1.500 1.500M6.500 17.500L5 19",
  moon: "M20 14A8.500 8.500 0 0110 4a8.500 8.500 0 1010 10z",
  key: "M8 11a4 4 0 100 8 4 4 0 000-8zM11 12l9-9M16 7l3 3",
  send: "M4 12l16-8-6 16-3-7z",
  stop: "M7 7h10v10H7z",
  plus: "M12 5v14M5 12h14",
  again: "M20 12a8 8 0 11-2.500-5.800M20 4v5h-5",
  up: "M7 11v9H4v-9zM7 11l4-8c2 0 3 1 2.500 3L13 9h5c1.500 0 2.300 1 2 2.500l-1.500 7c-.3 1-1 1.500-2 1.500H7",
  down: "M7 13V4H4v9zM7 13l4 8c2 0 3-1 2.500-3L13 15h5c1.500 0 2.300-1 2-2.500l-1.500-7c-.3-1-1-1.500-2-1.500H7",
  save: "M12 4v11M7 11l5 5 5-5M5 20h14",
};

// svg("line", {x1: 0, class: "rule"}, children…): properties are attributes.
export function svg(tag, properties = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

export function icon(name) {
  const path = svg("path", { d: ICONS[name] ?? ICONS.label });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, path);
}

// make("p", {class: "x", word: "result"}, "text", node): properties are attributes, except
// on… (listeners), word/wordLabel/wordPlaceholder (keys of words.js) and values (for the holes in a word).
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else setProperty(node, name, value, properties.values ?? {});
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function setProperty(node, name, value, values) {
  if (name === "word") {
    node.dataset.word = value;
    node.dataset.values = JSON.stringify(values);
    node.append(word(value, values));
  } else if (name === "wordLabel") {
    node.dataset.wordLabel = value;
    node.setAttribute("aria-label", word(value));
    if (node.matches("button, a")) node.title = word(value);
  } else if (name === "wordPlaceholder") {
    node.dataset.wordPlaceholder = value;
    node.placeholder = word(value);
  } else if (name !== "values") {
    node.setAttribute(name, value === true ? "" : value);
  }
}

let counter = 0;

// A field with its label above it.
export function labelled(wordKey, input) {
  input.id ||= `field-${(counter += 1)}`;
  return make("div", { class: "field" }, make("label", { for: input.id, word: wordKey }), input);
}

export function button(wordKey, iconName, properties = {}) {
  return make("button", { type: "button", ...properties }, icon(iconName), make("span", { word: wordKey }));
}

export function iconButton(wordKey, iconName, properties = {}) {
  return make("button", { type: "button", class: "quiet icon-only", wordLabel: wordKey, ...properties }, icon(iconName));
}

export function heading(wordKey, aboutKey, title) {
  const name = title ? make("h1", {}, title) : make("h1", { word: wordKey });
  return make("div", { class: "heading" }, name, make("p", { class: "about", word: aboutKey }));
}

export function problemLine(message) {
  return make("p", { class: "problem", role: "alert" }, message);
}

// Text areas grow with what is written into them.
export function growing(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, window.innerHeight * 0.4)}px`;
  };
  area.addEventListener("input", fit);
  return area;
}

export function submitOnEnter(area, form, { withModifier }) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    const wanted = withModifier ? event.ctrlKey || event.metaKey : !event.shiftKey;
    if (!wanted) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
