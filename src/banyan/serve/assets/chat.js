// Talking: a conversation that streams, can be stopped, and survives a reload.

import { post, stream } from "./api.js";
import { button, growing, heading, iconButton, labelled, make, problemLine, submitOnEnter } from "./dom.js";
import { feedbackRow } from "./feedback.js";
import { makeSettings } from "./settings.js";

const KEPT = "banyan.chat";

export function makeChat({ model, task, isMain }) {
  const kept = `${KEPT}.${model}.${task.name}`;
  let messages = JSON.parse(sessionStorage.getItem(kept) ?? "[]");
  let abort = null;

  const log = make("div", { class: "log", role: "log", "aria-live": "polite", tabindex: 0, wordLabel: "kind.dialogue" });
  const input = growing(make("textarea", { rows: 1, wordPlaceholder: "chat.placeholder", wordLabel: "chat.message", name: "message" }));
  const sendButton = button("chat.send", "send", { type: "submit", class: "primary" });
  const stopButton = button("chat.stop", "stop", { class: "danger", hidden: true, onclick: () => abort?.abort() });
  const system = growing(make("textarea", { rows: 2 }));
  const settings = makeSettings(["temperature", "max_tokens", "seed"], labelled("settings.system", system));
  const form = make("form", { class: "composer" },
    make("div", { class: "composer-line" }, input, sendButton, stopButton), settings.node);
  const tools = make("div", { class: "row" }, button("chat.new", "plus", { class: "quiet", onclick: forget }));
  const node = make("section", { class: "view chat" },
    make("div", { class: "row between" }, heading(`kind.${task.kind}`, `about.${task.kind}`, titleOf(task)), tools), log, form);

  submitOnEnter(input, form, { withModifier: false });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text || abort) return;
    input.value = "";
    input.style.height = "auto";
    messages.push({ role: "user", content: text });
    show();
    answer();
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") abort?.abort();
  });

  function keep() {
    sessionStorage.setItem(kept, JSON.stringify(messages));
  }

  function forget() {
    abort?.abort();
    messages = [];
    keep();
    show();
    input.focus();
  }

  function show() {
    log.replaceChildren(...messages.map((message, place) => bubble(message, place === messages.length - 1)));
    if (!messages.length) log.append(make("p", { class: "empty", word: "chat.empty" }));
    log.scrollTop = log.scrollHeight;
  }

  function bubble(message, isLast) {
    const isOurs = message.role === "user";
    const parts = [make("p", { class: "bubble" }, message.content)];
    if (message.note) parts.push(make("p", { class: "hint", word: message.note }));
    if (!isOurs && message.id) {
      const row = feedbackRow(message.id);
      if (isLast) row.prepend(iconButton("chat.again", "again", { onclick: again }));
      parts.push(row);
    }
    return make("article", { class: isOurs ? "said user" : "said assistant" }, parts);
  }

  function again() {
    if (abort) return;
    messages.pop();
    show();
    answer();
  }

  async function answer() {
    abort = new AbortController();
    busy(true);
    const reply = { role: "assistant", content: "" };
    const text = make("p", { class: "bubble writing" });
    const holder = make("article", { class: "said assistant" }, text);
    log.append(holder);
    try {
      await write(reply, (piece) => {
        const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
        text.append(piece);
        if (isAtEnd) log.scrollTop = log.scrollHeight;
      });
    } catch (problem) {
      if (problem.name === "AbortError") reply.note = "chat.stopped";
      else holder.after(problemLine(problem.message));
    }
    abort = null;
    busy(false);
    finish(reply, holder);
  }

  function finish(reply, holder) {
    const problem = holder.nextElementSibling;
    if (reply.content || reply.note) messages.push(reply);
    keep();
    show();
    if (problem) log.append(problem);
    log.scrollTop = log.scrollHeight;
  }

  // Where a conversation has grown too long, its oldest turns are left out, as a person forgets.
  async function write(reply, hear) {
    let asked = messages.map(({ role, content }) => ({ role, content }));
    for (;;) {
      try {
        return await writeOnce(reply, asked, hear);
      } catch (problem) {
        if (problem.code !== "context_length_exceeded" || asked.length < 3 || reply.content) throw problem;
        asked = asked.slice(2);
        reply.note = "chat.forgot";
      }
    }
  }

  async function writeOnce(reply, asked, hear) {
    const instruction = system.value.trim();
    const said = instruction ? [{ role: "system", content: instruction }, ...asked] : asked;
    if (!isMain) return writeWhole(reply, said, hear);
    const body = { model, messages: said, ...settings.read() };
    for await (const chunk of stream("/v1/chat/completions", body, abort.signal)) {
      reply.id = chunk.requestId;
      const choice = chunk.choices[0];
      if (choice?.delta?.content) {
        reply.content += choice.delta.content;
        hear(choice.delta.content);
      }
      if (choice?.finish_reason === "length") reply.note = "chat.cut";
    }
  }

  // Only the model's first dialogue task is behind the chat route; others answer whole.
  async function writeWhole(reply, said, hear) {
    const path = `/v1/tasks/${encodeURIComponent(task.name)}`;
    const answered = await post(path, { model, input: { messages: said }, ...settings.read() }, abort.signal);
    reply.id = answered.requestId;
    reply.content = answered.predictions[0].text;
    hear(reply.content);
  }

  function busy(isBusy) {
    sendButton.hidden = isBusy;
    stopButton.hidden = !isBusy;
    log.setAttribute("aria-busy", String(isBusy));
  }

  show();
  return { node, focus: () => input.focus() };
}

export function titleOf(task) {
  return task.name === task.kind ? null : task.name;
}
