// How a prediction is shown, by the kind of its task. The same displays serve the panels and the history.

import { icon, make } from "./dom.js";
import { word } from "./words.js";

const MAX_LABELS = 8;
const NUM_COLOURS = 8;

export function display(kind, prediction, asked = {}) {
  const show = DISPLAYS[kind] ?? showText;
  return make("div", { class: `display display-${kind}` }, show(prediction, asked), dropped(prediction));
}

function dropped(prediction) {
  const count = prediction.num_dropped_tokens;
  return count ? make("p", { class: "hint", word: "result.cut", values: { count } }) : null;
}

function percent(value) {
  return `${(100 * value).toFixed(value > 0.9995 || value < 0.0005 ? 0 : 1)} %`;
}

function showText(prediction) {
  return make("p", { class: "answer-text" }, prediction.text || "—");
}

function showLabels(prediction) {
  const labels = Object.entries(prediction.labels ?? { [prediction.text]: prediction.score ?? 1 });
  const bars = labels.slice(0, MAX_LABELS).map(([label, share], place) => {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${Math.max(100 * share, 0.5)}%`;
    const row = [make("span", { class: "label-name" }, label), make("span", { class: "track" }, bar)];
    return make("li", { class: place === 0 ? "best" : "" }, ...row, make("span", { class: "share" }, percent(share)));
  });
  return make("ol", { class: "labels" }, bars);
}

function colourOf(label, labels) {
  return `tag tag-${labels.indexOf(label) % NUM_COLOURS}`;
}

function sourceOf(asked) {
  if (typeof asked === "string") return asked;
  return asked.text ?? asked.context ?? asked.document ?? asked.source ?? asked.tokens?.join(" ") ?? "";
}

// Cuts a text at ranges given in code points (as Python counts), and lets `mark` dress each range.
function dressed(text, ranges, mark) {
  const characters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const range of [...ranges].sort((one, two) => one.start - two.start)) {
    if (range.start < at) continue;
    parts.push(characters.slice(at, range.start).join(""));
    parts.push(mark(characters.slice(range.start, range.end).join(""), range));
    at = range.end;
  }
  return [...parts, characters.slice(at).join("")];
}

function showEntities(prediction, asked) {
  const entities = prediction.entities ?? [];
  if (!entities.length) return [make("p", { class: "answer-text" }, sourceOf(asked)), make("p", { class: "hint", word: "result.nothing" })];
  const labels = [...new Set(entities.map((entity) => entity.label))].sort();
  const text = dressed(sourceOf(asked), entities, (part, entity) =>
    make("mark", { class: colourOf(entity.label, labels), title: `${entity.label} · ${percent(entity.score)}` },
      part, make("small", {}, entity.label)),
  );
  return make("p", { class: "answer-text entities" }, text);
}

function showSpan(prediction, asked) {
  const context = sourceOf(asked);
  const answer = make("p", { class: "short-answer" });
  if (!prediction.span) {
    answer.append(make("span", { word: "result.no_answer" }));
    return [answer, make("p", { class: "answer-text context" }, context)];
  }
  answer.append(make("strong", {}, prediction.text));
  if (prediction.score !== undefined) answer.append(" ", make("span", { class: "share" }, percent(prediction.score)));
  const [start, end] = prediction.span;
  const marked = dressed(context, [{ start, end }], (part) => make("mark", { class: "span" }, part));
  return [answer, make("p", { class: "answer-text context" }, marked)];
}

function showPair(titles) {
  return (prediction, asked) => {
    const sides = [[titles[0], sourceOf(asked)], [titles[1], prediction.text || "—"]];
    return make("div", { class: "pair" }, sides.map(([title, text]) =>
      make("section", {}, make("h3", { word: title }), make("p", { class: "answer-text" }, text)),
    ));
  };
}

function showSummary(prediction) {
  return make("blockquote", { class: "summary" }, prediction.text || "—");
}

function showContinuation(prediction, asked) {
  return make("p", { class: "answer-text" }, make("span", { class: "given" }, sourceOf(asked)), prediction.text);
}

function showPicture(prediction) {
  return prediction.image ? picture(prediction.image, "") : null;
}

export function picture(image, description) {
  const address = `data:image/png;base64,${image.b64_png ?? image}`;
  return make("figure", { class: "picture" },
    make("img", { src: address, alt: description }),
    make("a", { class: "quiet icon-only save", href: address, download: "banyan.png", wordLabel: "draw.save" }, icon("save")),
  );
}

const DISPLAYS = {
  classification: showLabels,
  picture_classification: showLabels,
  tagging: showEntities,
  question_answering: showSpan,
  translation: showPair(["result.source", "result.translation"]),
  summarization: showSummary,
  language_modeling: showContinuation,
  image_generation: showPicture,
  dialogue: showText,
};

export function finishNote(reason) {
  if (reason === "length") return word("chat.cut");
  return "";
}
