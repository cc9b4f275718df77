// One panel for each task: its fields, and its answer in the form that suits it.

import { post, stream } from "./api.js";
import { titleOf } from "./chat.js";
import { display, finishNote } from "./displays.js";
import { button, growing, heading, labelled, make, problemLine, submitOnEnter } from "./dom.js";
import { feedbackRow } from "./feedback.js";
import { makeSettings } from "./settings.js";
import { word } from "./words.js";

const WRITES = new Set(["language_modeling", "translation", "summarization", "dialogue"]);
const SEES = new Set(["picture_classification", "captioning"]);
const LARGEST = 512; // pixels a side of what is sent; models look at far fewer
const LANGUAGES = ["en", "de", "zh", "fr", "es", "it", "ja", "ru", "pt", "nl"];

export function makePanel({ model, task, isMain }) {
  const fields = makeFields(task);
  const runButton = button("run", "send", { type: "submit", class: "primary" });
  const settings = makeSettings(WRITES.has(task.kind) ? ["temperature", "max_tokens", "seed"] : []);
  const hasSettings = WRITES.has(task.kind);
  const form = make("form", { class: "card" }, fields.node, hasSettings ? settings.node : null, make("div", { class: "row end" }, runButton));
  const output = make("section", { class: "card result", "aria-live": "polite", hidden: true });
  const node = make("section", { class: "view panel" }, heading(`kind.${task.kind}`, `about.${task.kind}`, titleOf(task)), form, output);
  const area = form.querySelector("textarea");
  for (const each of form.querySelectorAll("textarea")) submitOnEnter(each, form, { withModifier: true });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (runButton.disabled) return;
    const asked = fields.read();
    output.hidden = false;
    if (!asked) {
      output.replaceChildren(problemLine(word("problem.empty")));
      return;
    }
    runButton.disabled = true;
    output.replaceChildren(make("p", { class: "hint", word: "run.busy" }));
    try {
      const streams = task.kind === "language_modeling" && isMain;
      await (streams ? write(asked) : run(asked));
    } catch (problem) {
      output.replaceChildren(problemLine(problem.message));
    }
    runButton.disabled = false;
  });

  async function run(asked) {
    const answered = await post(`/v1/tasks/${encodeURIComponent(task.name)}`, { model, input: asked, ...settings.read() });
    const [prediction] = answered.predictions;
    output.replaceChildren(display(task.kind, prediction, asked), feedbackRow(answered.requestId));
  }

  async function write(asked) {
    const text = make("p", { class: "answer-text writing" }, make("span", { class: "given" }, asked.text));
    const note = make("p", { class: "hint" });
    output.replaceChildren(make("div", { class: "display" }, text, note));
    const body = { model, prompt: asked.text, max_tokens: 120, ...settings.read() };
    let id = null;
    for await (const chunk of stream("/v1/completions", body)) {
      id = chunk.requestId;
      for (const choice of chunk.choices) {
        text.append(choice.text);
        if (choice.finish_reason) note.textContent = finishNote(choice.finish_reason);
      }
    }
    text.classList.remove("writing");
    output.append(feedbackRow(id));
  }

  return { node, focus: () => (area ?? form.querySelector("input")).focus() };
}

function makeFields(task) {
  if (task.kind === "question_answering") return questionFields();
  if (task.kind === "translation") return translationFields(task);
  if (SEES.has(task.kind)) return pictureFields(task);
  const name = task.kind === "summarization" ? "document" : "text";
  const area = growing(make("textarea", { rows: 4, required: true }));
  const read = () => (area.value.trim() ? { [name]: area.value } : null);
  return { node: labelled(`field.${name}`, area), read };
}

function pictureFields(task) {
  const file = make("input", { type: "file", accept: "image/*", required: true });
  const area = task.kind === "picture_classification" ? growing(make("textarea", { rows: 1 })) : null;
  let image = null;
  file.addEventListener("change", async () => {
    image = file.files.length ? await smallPicture(file.files[0]).catch(() => null) : null;
  });
  const node = make("div", {}, labelled("field.picture", file), area ? labelled("field.beside", area) : null);
  const read = () => (image ? { image, ...(area?.value.trim() ? { text: area.value } : {}) } : null);
  return { node, read };
}

// A file as a PNG of modest size, so that no photograph is too large for the server.
async function smallPicture(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", {
    width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

function questionFields() {
  const question = growing(make("textarea", { rows: 1, required: true }));
  const context = growing(make("textarea", { rows: 5, required: true }));
  const node = make("div", {}, labelled("field.question", question), labelled("field.context", context));
  const read = () => {
    const isComplete = question.value.trim() && context.value.trim();
    return isComplete ? { question: question.value, context: context.value } : null;
  };
  return { node, read };
}

function translationFields(task) {
  const area = growing(make("textarea", { rows: 3, required: true }));
  if (task.source_language) {
    const read = () => (area.value.trim() ? { source: area.value } : null);
    const direction = make("p", { class: "hint" }, `${task.source_language} → ${task.target_language}`);
    return { node: make("div", {}, labelled("field.text", area), direction), read };
  }
  const [sources, targets] = taughtLanguages(task);
  const [from, to] = [languageInput(`from-${task.name}`, sources), languageInput(`to-${task.name}`, targets)];
  const node = make("div", {},
    make("div", { class: "grid" }, labelled("field.from", from), labelled("field.to", to)),
    labelled("field.text", area));
  const read = () => area.value.trim() && from.value.trim() && to.value.trim()
    ? { source: area.value, source_language: from.value.trim(), target_language: to.value.trim() }
    : null;
  return { node, read };
}

// What the task was taught to translate from and into; common languages where its model does not say.
function taughtLanguages(task) {
  if (!task.directions) return [LANGUAGES, [...LANGUAGES.slice(1), LANGUAGES[0]]];
  return [0, 1].map((side) => [...new Set(task.directions.map((direction) => direction.split(">")[side]))]);
}

function languageInput(id, languages) {
  document.getElementById(id)?.remove();
  document.body.append(make("datalist", { id }, languages.map((code) => make("option", { value: code }))));
  return make("input", { type: "text", value: languages[0], list: id, maxlength: 12, spellcheck: "false", autocapitalize: "off", required: true });
}
