// Thumbs and corrections: what a person thinks of a stored answer.

import { post } from "./api.js";
import { iconButton, labelled, make, problemLine } from "./dom.js";

// A row for each of a request's answers; where there are several, they are numbered as they are shown.
export function feedbackRows(requestId, indices) {
  return make("div", {}, (indices.length ? indices : [0]).map((index) => {
    const row = feedbackRow(requestId, index);
    if (indices.length > 1) row.prepend(make("span", { class: "chip" }, String(index + 1)));
    return row;
  }));
}

export function feedbackRow(requestId, index = 0) {
  const row = make("div", { class: "feedback" });
  const rate = async (rating, chosen) => {
    if (!(await send(row, { id: requestId, index, rating }))) return;
    for (const other of row.querySelectorAll("button[aria-pressed]")) other.setAttribute("aria-pressed", "false");
    chosen.setAttribute("aria-pressed", "true");
    if (rating < 0) askForCorrection(row, requestId, index);
  };
  const good = iconButton("feedback.good", "up", { "aria-pressed": "false", onclick: () => rate(1, good) });
  const bad = iconButton("feedback.bad", "down", { "aria-pressed": "false", onclick: () => rate(-1, bad) });
  row.append(good, bad);
  return row;
}

function askForCorrection(row, requestId, index) {
  if (row.querySelector("form")) return;
  const input = make("input", { type: "text", required: true, maxlength: 4000 });
  const form = make("form", { class: "correction" }, labelled("feedback.correction", input),
    make("button", { type: "submit", word: "feedback.send" }));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await send(row, { id: requestId, index, correction: input.value })) form.remove();
  });
  row.append(form);
  input.focus();
}

// Whether it is kept; if not, the row says why.
async function send(row, body) {
  row.querySelector(".hint, .problem")?.remove();
  try {
    await post("/v1/feedback", body);
    row.append(make("span", { class: "hint", role: "status", word: "feedback.thanks" }));
    return true;
  } catch (problem) {
    row.append(problemLine(problem.message));
    return false;
  }
}
