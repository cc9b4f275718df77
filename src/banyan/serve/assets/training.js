// Training runs, watched while they go on: the loss of each task, scores, samples, and what happened.

import { get } from "./api.js";
import { drawCurves, figuresTable, lookOf, shown } from "./chart.js";
import { picture } from "./displays.js";
import { button, heading, labelled, make, problemLine, svg } from "./dom.js";
import { currentLanguage, hasWord, word } from "./words.js";

const NUM_RUNS = 100;
const REFRESH_MILLISECONDS = 3000; // while the run goes on
const SILENT_SECONDS = 120; // without a new loss, before the page says so
const MAIN_SCORE = "score"; // the others have scales of their own, and are drawn when they are wanted
const ALARMS = ["alarm", "step_skipped", "rewound", "rate_lowered", "scores_shrunk", "stopped", "checkpoint_failed", "checkpoint_quarantined"];

export function makeTraining() {
  const which = make("select", { onchange: () => load() });
  const refresh = button("history.refresh", "again", { class: "quiet", onclick: () => start() });
  const body = make("div", { class: "stored" });
  const node = make("section", { class: "view training" },
    make("div", { class: "row between" }, heading("tab.training", "about.training"), refresh),
    labelled("training.run", which), body);
  let parts = null; // of the run that is shown
  let timer = null;
  let round = 0;

  async function start() {
    try {
      const { data } = await get(`/v1/runs?limit=${NUM_RUNS}`);
      const before = which.value;
      which.replaceChildren(...data.map((run) => make("option", { value: run.id }, nameOf(run))));
      if (data.some((run) => run.id === before)) which.value = before;
      which.disabled = !data.length;
      if (data.length) await load();
      else body.replaceChildren(make("p", { class: "empty", word: "training.none" }));
    } catch (problem) {
      const text = problem.code === "insufficient_scope" ? word("training.refused") : problem.message;
      body.replaceChildren(problemLine(text));
    }
  }

  async function load() {
    const mine = (round += 1);
    clearTimeout(timer);
    try {
      const run = await get(`/v1/runs/${which.value}`);
      if (mine !== round) return; // another run has been chosen meanwhile
      if (parts?.id !== run.id) {
        parts = makeRun(run.id);
        body.replaceChildren(...parts.nodes);
      }
      parts.show(run);
      which.selectedOptions[0].textContent = nameOf(run); // it may have ended
      if (run.state === "running") timer = setTimeout(again, REFRESH_MILLISECONDS);
    } catch (problem) {
      if (mine !== round) return;
      parts = null;
      body.replaceChildren(problemLine(problem.message));
    }
  }

  // A tab that nobody looks at asks for nothing.
  function again() {
    if (!node.isConnected) return;
    if (document.visibilityState === "visible") load();
    else timer = setTimeout(again, REFRESH_MILLISECONDS);
  }

  const enter = () => {
    parts = null; // in the language of now
    start();
  };
  return { node, focus: () => which.focus(), enter };
}

function nameOf(run) {
  return `${run.name} · ${moment(run.started_at)} · ${word(`state.${run.state}`)}`;
}

function moment(text) {
  const locale = currentLanguage() === "zh" ? "zh-CN" : "en-GB";
  return new Date(text).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}

// What is seen of one run. Each part changes only where it has news, so that focus and open folds stay.
function makeRun(id) {
  const state = make("p", { class: "run-state", role: "status" });
  const progress = make("progress", { wordLabel: "training.progress" });
  const facts = make("p", { class: "hint" });
  const losses = makeCurves("training.losses", "training.losses.about");
  const scores = makeCurves("training.scores", "training.scores.about", MAIN_SCORE);
  const samples = makeSamples(id);
  const events = make("section", { class: "card" });
  const head = make("section", { class: "card" }, state, progress, facts);
  const show = (run) => {
    tellState(state, run);
    progress.hidden = !run.num_steps || !run.newest;
    progress.max = run.num_steps ?? 1;
    progress.value = run.newest?.step ?? 0;
    facts.textContent = factsOf(run);
    losses.show(run.task_losses);
    scores.show(run.scores);
    samples.show(run.sample_steps);
    const key = `${run.events.length} ${run.events.at(-1)?.at}`;
    if (events.dataset.key !== key) showEvents(events, run.events);
    events.dataset.key = key;
  };
  return { id, nodes: [head, losses.node, scores.node, samples.node, events], show };
}

function tellState(node, run) {
  const silence = run.heard_at ? (Date.now() - new Date(run.heard_at)) / 1000 : 0;
  const isSilent = run.state === "running" && silence > SILENT_SECONDS;
  const note = isSilent ? word("training.silent", { when: moment(run.heard_at) }) : run.has_files ? "" : word("training.elsewhere");
  const key = `${run.state} ${note}`;
  if (node.dataset.key === key) return; // a screen reader hears of changes only
  node.dataset.key = key;
  node.replaceChildren(make("span", { class: `chip state-${run.state}`, word: `state.${run.state}` }), ` ${note}`);
}

function factsOf(run) {
  const newest = run.newest;
  if (!newest) return "";
  const step = run.num_steps ? `${newest.step} / ${run.num_steps}` : newest.step;
  return word("training.facts", {
    step, loss: shown(newest.loss), rate: shown(newest.learning_rate), norm: shown(newest.grad_norm), speed: shown(newest.tokens_per_second),
  });
}

// A drawing with a box for each curve, and its figures as a table that is made when it is opened. At first the `main`
// curve is drawn alone, where there is one of this name.
function makeCurves(titleKey, aboutKey, main) {
  const drawing = make("div", { class: "drawing" });
  const legend = make("div", { class: "legend", role: "group", wordLabel: "chart.shown" });
  const place = make("div", { class: "figures-place", tabindex: 0, role: "region", wordLabel: "chart.figures" });
  const fold = make("details", { class: "settings" }, make("summary", { word: "chart.figures" }), place);
  const node = make("section", { class: "card" }, make("h2", { word: titleKey }), make("p", { class: "hint", word: aboutKey }), drawing, legend, fold);
  const hidden = new Set();
  const looks = new Map();
  let data = null;
  const draw = () => {
    if (!data || !node.isConnected) return;
    const width = Math.max(drawing.clientWidth, 260);
    drawing.replaceChildren(drawCurves(data, { title: word(titleKey), looks, hidden, width }));
    if (fold.open) place.replaceChildren(figuresTable(data));
  };
  fold.addEventListener("toggle", draw);
  new ResizeObserver(() => drawing.firstChild && drawing.clientWidth !== drawing.firstChild.clientWidth && draw()).observe(drawing);
  const show = (curves) => {
    node.hidden = !curves.steps.length;
    if (JSON.stringify(curves) === JSON.stringify(data)) return;
    data = curves;
    const names = Object.keys(curves.curves);
    for (const name of names.filter((each) => !looks.has(each))) {
      looks.set(name, lookOf(looks.size));
      if (names.includes(main) && name !== main) hidden.add(name);
      legend.append(box(name, looks.get(name), hidden, draw));
    }
    draw();
  };
  return { node, show };
}

function box(name, look, hidden, draw) {
  const input = make("input", { type: "checkbox", checked: !hidden.has(name), onchange: () => {
    if (input.checked) hidden.delete(name);
    else hidden.add(name);
    draw();
  } });
  const swatch = svg("svg", { class: "swatch", viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("polyline", { class: `curve ${look}`, points: "0,4 24,4" }));
  return make("label", { class: "check" }, input, swatch, make("span", {}, name));
}

function makeSamples(id) {
  const which = make("select", { onchange: () => load() });
  const list = make("div", { class: "samples" });
  const node = make("section", { class: "card" }, make("h2", { word: "training.samples" }), labelled("training.samples.step", which), list);
  let steps = "";
  async function load() {
    const step = which.value;
    try {
      const found = await get(`/v1/runs/${id}/samples?step=${step}`);
      if (step === which.value) list.replaceChildren(...found.samples.map(sample));
    } catch (problem) {
      list.replaceChildren(problemLine(problem.message));
    }
  }
  const show = (known) => {
    node.hidden = !known.length;
    if (steps === known.join()) return;
    const wasNewest = which.selectedIndex <= 0; // whoever looks at an earlier one stays there
    const before = which.value;
    steps = known.join();
    which.replaceChildren(...[...known].reverse().map((step) => make("option", { value: step }, String(step))));
    if (!wasNewest && known.includes(Number(before))) which.value = before;
    else load();
  };
  return { node, show };
}

function sample(one) {
  const answer = one.b64_png ? picture(one.b64_png, one.asked) : make("p", { class: "answer-text" }, one.answered || "—");
  return make("article", { class: "sample" },
    make("h3", {}, one.task),
    make("p", { class: "answer-text given" }, one.asked), answer,
    one.right ? make("p", { class: "answer-text given" }, make("span", { word: "training.samples.right" }), ` ${one.right}`) : null);
}

function showEvents(node, events) {
  const rows = [...events].reverse().map((event) =>
    make("li", { class: ALARMS.includes(event.kind) ? "event alarm" : "event" },
      make("time", {}, moment(event.at)),
      event.step === null ? null : make("span", { class: "chip" }, word("training.step", { step: event.step })),
      make("span", { class: "event-words" }, inWords(event))));
  node.replaceChildren(make("h2", { word: "training.events" }),
    rows.length ? make("ol", { class: "events" }, rows) : make("p", { class: "hint", word: "training.events.none" }));
}

function inWords({ kind, detail }) {
  const { signal, means, where, action, value, threshold, ...others } = detail;
  const told = [said(`event.${kind}`, kind)];
  if (signal) told.push(said(`signal.${signal}`, means ?? signal));
  if (where) told.push(where);
  if (value !== undefined && value !== null) told.push(word("training.measured", { value: shown(value), threshold: shown(threshold) }));
  if (action) told.push(said(`action.${action}`, action));
  told.push(...Object.entries(others).map(([name, each]) => `${name} = ${typeof each === "number" ? shown(each) : each}`));
  return told.join(" · ");
}

function said(key, otherwise) {
  return hasWord(key) ? word(key) : otherwise;
}
