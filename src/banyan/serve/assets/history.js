// Everything that was asked and answered, found again.

import { get, remove } from "./api.js";
import { display, picture } from "./displays.js";
import { button, heading, labelled, make, problemLine } from "./dom.js";
import { feedbackRows } from "./feedback.js";
import { currentLanguage } from "./words.js";

const PAGE = 20;
const WAIT_MILLISECONDS = 300; // after the last letter, before searching

export function makeHistory({ tasks }) {
  const search = make("input", { type: "search", maxlength: 200 });
  const which = make("select", {}, make("option", { value: "", word: "history.all" }),
    tasks.map((task) => make("option", { value: task.name }, task.name)));
  const list = make("div", { class: "stored", "aria-live": "polite" });
  const more = button("history.more", "down", { class: "quiet", hidden: true, onclick: () => load(false) });
  const refresh = button("history.refresh", "again", { class: "quiet", onclick: () => load(true) });
  const node = make("section", { class: "view history" },
    make("div", { class: "row between" }, heading("tab.history", "about.history"), refresh),
    make("form", { class: "grid filters", role: "search", onsubmit: (event) => event.preventDefault() },
      labelled("history.search", search), labelled("history.task", which)),
    list, make("div", { class: "row end" }, more));
  let last = null;
  let round = 0;
  let timer = null;
  let asking = null; // so that a search nobody waits for any more is given up

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(true), WAIT_MILLISECONDS);
  });
  which.addEventListener("change", () => load(true));

  async function load(isFresh) {
    const mine = (round += 1);
    asking?.abort();
    asking = new AbortController();
    const query = new URLSearchParams({ limit: PAGE });
    if (search.value.trim()) query.set("q", search.value.trim());
    if (which.value) query.set("task", which.value);
    if (!isFresh && last) query.set("before", last);
    try {
      const found = await get(`/v1/outputs?${query}`, asking.signal);
      if (mine !== round) return; // a later question has been asked meanwhile
      if (isFresh) list.replaceChildren();
      list.append(...found.data.map(entry));
      if (!list.children.length && !found.has_more) list.append(make("p", { class: "empty", word: "history.empty" }));
      last = found.next_before;
      more.hidden = !found.has_more;
    } catch (problem) {
      if (mine === round) list.replaceChildren(problemLine(problem.message));
    }
  }

  return { node, focus: () => search.focus(), enter: () => load(true) };
}

function entry(stored) {
  const when = new Date(stored.created * 1000).toLocaleString(currentLanguage() === "zh" ? "zh-CN" : "en-GB");
  const answer = stored.outputs.map((output) => output.text).find((text) => text) ?? stored.partial_text ?? "";
  const summary = make("summary", {},
    make("span", { class: "entry-head" },
      make("span", { class: "chip" }, stored.task),
      stored.state === "completed" ? null : make("span", { class: `chip state-${stored.state}`, word: `state.${stored.state}` }),
      make("time", {}, when)),
    make("span", { class: "entry-asked" }, askedText(stored.body)),
    answer ? make("span", { class: "entry-answer" }, answer) : null);
  const node = make("details", { class: "card entry" }, summary);
  node.addEventListener("toggle", () => unfold(node, stored.id), { once: true });
  return node;
}

async function unfold(node, id) {
  try {
    const stored = await get(`/v1/outputs/${id}`);
    const asked = inputOf(stored.body);
    node.append(make("div", { class: "entry-body" },
      make("h3", { word: "history.asked" }), conversation(stored.body),
      make("h3", { word: "history.answered" }), answers(stored, asked),
      make("p", { class: "hint", word: "history.reproduce", values: {
        model: stored.model, seed: stored.seed, prompt: stored.prompt_tokens, completion: stored.completion_tokens } }),
      make("div", { class: "row between" }, feedbackRows(stored.id, stored.outputs.map((output) => output.index)), deleteButton(node, stored.id))));
  } catch (problem) {
    node.append(problemLine(problem.message));
  }
}

// The first click asks, the second one deletes.
function deleteButton(node, id) {
  const sure = make("button", { type: "button", class: "delete quiet", word: "history.sure", onclick: async () => {
    try {
      await remove(`/v1/outputs/${id}`);
      node.remove();
    } catch (problem) {
      sure.replaceWith(problemLine(problem.message));
    }
  } });
  const first = make("button", { type: "button", class: "delete quiet", word: "history.delete", onclick: () => {
    first.replaceWith(sure);
    sure.focus();
  } });
  return first;
}

function answers(stored, asked) {
  const images = stored.outputs.flatMap((output) => output.images ?? []);
  if (images.length) {
    return make("div", { class: "pictures" }, images.map((image) => picture(image, askedText(stored.body))));
  }
  return stored.outputs.map((output) => {
    const input = Array.isArray(asked) ? asked[output.index] : asked;
    const record = typeof input === "string" ? { text: input } : input;
    return display(stored.kind, { text: output.text, ...output.prediction }, record);
  });
}

function inputOf(body) {
  return body.input ?? body.inputs ?? { text: body.prompt ?? "" };
}

function conversation(body) {
  if (!body.messages) return make("p", { class: "answer-text" }, askedText(body));
  return make("div", {}, body.messages.map((message) =>
    make("p", { class: `answer-text turn turn-${message.role}` }, plain(message.content))));
}

function askedText(body) {
  if (body.messages) return plain(body.messages.at(-1)?.content);
  const input = body.input ?? body.inputs ?? body.prompt ?? "";
  const first = Array.isArray(input) ? input.map(recordText).join(" · ") : recordText(input);
  return first;
}

function recordText(record) {
  if (typeof record !== "object" || record === null) return String(record);
  if (record.image) return `🖼 ${record.text ?? ""}`.trim();
  if (record.question) return record.question;
  if (record.messages) return plain(record.messages.at(-1)?.content);
  return String(record.text ?? record.source ?? record.document ?? JSON.stringify(record));
}

function plain(content) {
  return Array.isArray(content) ? content.map((part) => part.text ?? "").join("") : String(content ?? "");
}
