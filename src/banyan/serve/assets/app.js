// The page: asks for the key if there is one to ask for, builds a tab for every task, and moves between them.

import { get, isKeyRight, onKeyNeeded, setKey } from "./api.js";
import { makeChat, titleOf } from "./chat.js";
import { icon, make } from "./dom.js";
import { makeDraw } from "./draw.js";
import { makeHistory } from "./history.js";
import { makePanel } from "./tasks.js";
import { makeTraining } from "./training.js";
import { currentLanguage, hasWord, setLanguage, translate, word } from "./words.js";

const ICONS = {
  dialogue: "chat",
  language_modeling: "pencil",
  classification: "label",
  tagging: "highlight",
  translation: "globe",
  summarization: "lines",
  question_answering: "search",
  image_generation: "picture",
  picture_classification: "label",
  captioning: "lines",
};
const ORDER = Object.keys(ICONS);
const CHOSEN = "banyan.model";
const MAKERS = { dialogue: makeChat, image_generation: makeDraw };

const byId = (id) => document.getElementById(id);
const views = new Map(); // address → its view, made when it is first wanted

function setUpLanguage() {
  const wanted = localStorage.getItem("banyan.language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  const apply = (name) => {
    setLanguage(name);
    const other = name === "zh" ? "en" : "zh";
    byId("language").textContent = other === "zh" ? "中文" : "English";
    byId("language").lang = other;
    byId("language").title = word("language");
  };
  apply(wanted);
  byId("language").addEventListener("click", () => {
    const name = currentLanguage() === "zh" ? "en" : "zh";
    localStorage.setItem("banyan.language", name);
    apply(name);
    show();
  });
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function showTheme() {
  const theme = byId("theme");
  theme.replaceChildren(icon(isDark() ? "sun" : "moon"));
  theme.dataset.wordLabel = "theme";
  translate(theme.parentElement);
}

function setUpTheme() {
  const kept = localStorage.getItem("banyan.theme");
  if (kept) document.documentElement.dataset.theme = kept;
  byId("theme").addEventListener("click", () => {
    const name = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = name;
    localStorage.setItem("banyan.theme", name);
    showTheme();
  });
  showTheme();
}

function setUpKey() {
  const dialog = byId("key-dialog");
  let waiting = null;
  const complain = (isWrong) => {
    byId("key-problem").hidden = !isWrong;
    byId("key-problem").textContent = isWrong ? word("key.wrong") : "";
  };
  const ask = (hadOne) => {
    byId("key").hidden = false;
    complain(hadOne);
    waiting ??= deferred();
    if (!dialog.open) dialog.showModal();
    byId("key-input").focus();
    return waiting.promise;
  };
  onKeyNeeded(ask);
  dialog.addEventListener("cancel", (event) => waiting && event.preventDefault());
  byId("key").dataset.wordLabel = "key";
  byId("key").append(icon("key"));
  byId("key").addEventListener("click", () => {
    complain(false);
    dialog.showModal();
  });
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const candidate = byId("key-input").value.trim();
    if (!(await isKeyRight(candidate))) {
      complain(true);
      return;
    }
    setKey(candidate, byId("key-remember").checked);
    byId("key-input").value = "";
    dialog.close();
    const isSwitch = !waiting;
    waiting?.resolve();
    waiting = null;
    if (isSwitch) location.reload();
  });
}

function deferred() {
  const result = {};
  result.promise = new Promise((resolve) => (result.resolve = resolve));
  return result;
}

function tabName(task) {
  const key = `kind.${task.kind}`;
  return titleOf(task) || !hasWord(key) ? make("span", {}, task.name) : make("span", { word: key });
}

function tab(address, iconName, name) {
  return make("a", { href: address, class: "tab" }, icon(iconName), name);
}

// The model asked for last, as long as it is served; which one it is stands in the head, as a choice if there are others.
function choose(models) {
  const model = models.find((each) => each.id === sessionStorage.getItem(CHOSEN)) ?? models[0];
  const place = byId("model");
  place.hidden = false;
  if (models.length === 1) {
    place.textContent = model.id;
    return model;
  }
  const choice = make("select", { wordLabel: "model", onchange: () => {
    sessionStorage.setItem(CHOSEN, choice.value);
    location.reload();
  } }, models.map(({ id }) => make("option", { value: id, selected: id === model.id }, id)));
  place.append(choice);
  return model;
}

function rank(task) {
  const place = ORDER.indexOf(task.kind);
  return place < 0 ? ORDER.length : place;
}

function register(model, tasks) {
  const first = new Map();
  for (const task of tasks) {
    const isMain = !first.has(task.kind);
    if (isMain) first.set(task.kind, task);
    const maker = MAKERS[task.kind] ?? makePanel;
    views.set(`#/task/${encodeURIComponent(task.name)}`, { make: () => maker({ model, task, isMain }) });
  }
  views.set("#/history", { make: () => makeHistory({ tasks }) });
  views.set("#/training", { make: makeTraining });
}

function show() {
  const address = views.has(location.hash) ? location.hash : views.keys().next().value;
  const entry = views.get(address);
  entry.view ??= entry.make();
  byId("main").replaceChildren(entry.view.node);
  translate(entry.view.node);
  entry.view.enter?.();
  for (const link of byId("tabs").children) {
    const isHere = link.getAttribute("href") === address;
    if (isHere) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else link.removeAttribute("aria-current");
  }
  if (matchMedia("(hover: hover)").matches) entry.view.focus();
}

async function start() {
  setUpLanguage();
  setUpTheme();
  setUpKey();
  try {
    const model = choose((await get("/v1/models")).data);
    const tasks = (await get(`/v1/tasks?${new URLSearchParams({ model: model.id })}`)).data;
    tasks.sort((one, two) => rank(one) - rank(two));
    if (sessionStorage.getItem("banyan.key") || localStorage.getItem("banyan.key")) byId("key").hidden = false;
    register(model.id, tasks);
    byId("tabs").append(
      ...tasks.map((task) => tab(`#/task/${encodeURIComponent(task.name)}`, ICONS[task.kind], tabName(task))),
      tab("#/history", "clock", make("span", { word: "tab.history" })),
      tab("#/training", "chart", make("span", { word: "tab.training" })),
    );
    addEventListener("hashchange", show);
    translate();
    show();
    document.body.dataset.ready = "true";
  } catch (problem) {
    byId("notice").textContent = problem.message;
    byId("notice").hidden = false;
  }
}

start();
