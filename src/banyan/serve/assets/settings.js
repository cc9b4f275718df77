// The folded-away settings of a form: empty fields leave the model its own way.

import { labelled, make } from "./dom.js";

const NUMBERS = {
  temperature: { word: "settings.temperature", min: 0, max: 2, step: 0.1 },
  max_tokens: { word: "settings.max_tokens", min: 1, max: 100000, step: 1 },
  guidance_scale: { word: "settings.guidance", min: 1, max: 20, step: 0.5 },
  seed: { word: "settings.seed", min: 0, max: 9007199254740991, step: 1, hint: "settings.seed.hint" },
};

export function makeSettings(names, ...others) {
  const inputs = Object.fromEntries(names.map((name) => [name, numberInput(NUMBERS[name])]));
  const fields = names.map((name) => labelled(NUMBERS[name].word, inputs[name]));
  const node = make("details", { class: "settings" },
    make("summary", { word: "settings" }),
    make("div", { class: "grid" }, fields), others);
  const read = () => Object.fromEntries(
    names.filter((name) => inputs[name].value !== "").map((name) => [name, Number(inputs[name].value)]),
  );
  return { node, read };
}

function numberInput({ min, max, step, hint }) {
  return make("input", {
    type: "number", inputmode: "decimal", min, max, step, wordPlaceholder: hint ?? "settings.own",
  });
}
