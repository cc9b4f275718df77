// Wishing for pictures, and the gallery they hang in.

import { get, post, stream } from "./api.js";
import { titleOf } from "./chat.js";
import { picture } from "./displays.js";
import { button, growing, heading, labelled, make, problemLine, submitOnEnter } from "./dom.js";
import { feedbackRows } from "./feedback.js";
import { makeSettings } from "./settings.js";
import { word } from "./words.js";

const PREVIEWS = 3; // of one picture that is being drawn
const REMEMBERED = 6; // earlier wishes that hang in the gallery from the beginning
const WANTED_PIXELS = 256; // at least so large, so that a saved picture can be looked at

export function makeDraw({ model, task }) {
  const wish = growing(make("textarea", { rows: 2, required: true, maxlength: 1000 }));
  const count = make("input", { type: "number", min: 1, max: 8, step: 1, value: 4, required: true });
  const settings = makeSettings(["temperature", "guidance_scale", "seed"]);
  const runButton = button("draw.run", "picture", { type: "submit", class: "primary" });
  const form = make("form", { class: "card" }, labelled("field.wish", wish),
    make("div", { class: "grid narrow" }, labelled("field.count", count)), settings.node, make("div", { class: "row end" }, runButton));
  const gallery = make("div", { class: "gallery", "aria-live": "polite" }, make("p", { class: "empty", word: "draw.empty" }));
  const node = make("section", { class: "view draw" }, heading(`kind.${task.kind}`, `about.${task.kind}`, titleOf(task)), form, gallery);
  const size = (task.sizes ?? []).find((each) => parseInt(each, 10) >= WANTED_PIXELS) ?? task.sizes?.at(-1);
  submitOnEnter(wish, form, { withModifier: false });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (runButton.disabled) return;
    const prompt = wish.value.trim();
    gallery.querySelector(".empty, .problem")?.remove();
    if (!prompt) {
      gallery.prepend(problemLine(word("problem.empty")));
      return;
    }
    runButton.disabled = true;
    const frame = make("section", { class: "card wish" }, make("h2", {}, prompt), make("p", { class: "hint", word: "run.busy" }));
    gallery.prepend(frame);
    try {
      const body = { model, prompt, n: Number(count.value), size, ...settings.read() };
      const show = (pictures) =>
        frame.lastChild.replaceWith(make("div", { class: "pictures" }, pictures.map((each) => picture(each, prompt))));
      const { pictures, id } = body.n === 1 ? await watch(body, show) : await draw(body);
      show(pictures);
      frame.append(feedbackRows(id, [...pictures.keys()]));
    } catch (problem) {
      frame.replaceWith(problemLine(problem.message));
    }
    runButton.disabled = false;
  });

  let isHung = false;
  async function hang() {
    if (isHung) return;
    isHung = true;
    const frames = await earlier(task.name).catch(() => []); // without them the gallery is as it was
    if (frames.length) gallery.querySelector(".empty")?.remove();
    gallery.append(...frames);
  }

  return { node, focus: () => wish.focus(), enter: hang };
}

// What was drawn before and is still stored, the newest first.
async function earlier(name) {
  const found = await get(`/v1/outputs?${new URLSearchParams({ limit: REMEMBERED, task: name, state: "completed" })}`);
  const stored = await Promise.all(found.data.map((each) => get(`/v1/outputs/${each.id}`)));
  return stored.map((each) => [each, each.outputs.flatMap((output) => output.images ?? [])])
    .filter(([, images]) => images.length)
    .map(([each, images]) => {
      const prompt = String(each.body.prompt ?? each.body.input?.text ?? each.body.input ?? "");
      return make("section", { class: "card wish" }, make("h2", {}, prompt),
        make("div", { class: "pictures" }, images.map((image) => picture(image, prompt))),
        feedbackRows(each.id, [...images.keys()]));
    });
}

// One picture, shown while it grows.
async function watch(body, show) {
  let last = null;
  for await (const chunk of stream("/v1/images/generations", { ...body, partial_images: PREVIEWS })) {
    last = chunk;
    show([chunk.b64_json]);
  }
  return { pictures: [last.b64_json], id: last.requestId };
}

async function draw(body) {
  const answered = await post("/v1/images/generations", body);
  return { pictures: answered.data.map((each) => each.b64_json), id: answered.requestId };
}
