// The page of the server: choose a model, give its inputs, see its answer. This file joins the parts:
// `server.js` asks, `inputs.js` and `recording/recording.js` are the form, `answers/` and `search.js` show what
// comes back, `lineage.js` says where it is from, `problems.js` what went wrong.

import { viewOf } from "./answers/views.js";
import { byId, element, MB, megabytes } from "./dom.js";
import { focusInput, given, missing, setFile, setNumber, showInputs, wireInputs } from "./inputs.js";
import { showItems, wireItems } from "./liked.js";
import { factsOf, lineageOf } from "./lineage.js";
import { clearProblem, showProblem, wireToken } from "./problems.js";
import { nameOf, viewOfResults, waysOf } from "./search.js";
import { askBlob, askJson, askParts, Problem } from "./server.js";
import { endRecording, limitRecording, wireRecording } from "./recording/recording.js";

const TASKS = {
  caption: { purpose: "says in a sentence what it is given.", verb: "Describe" },
  classify: { purpose: "tells the class of what it is given.", verb: "Classify" },
  transcribe: { purpose: "writes down what is said.", verb: "Transcribe" },
  vqa: { purpose: "answers a question.", verb: "Ask" },
  regress: { purpose: "tells a number, and between which ends it should lie.", verb: "Estimate" },
  tag: { purpose: "names the tags that apply.", verb: "Tag" },
  retrieve: { purpose: "finds the samples that fit, in either direction.", verb: "Search" },
  recommend: { purpose: "tells what someone would like, by what they liked or by what is given.", verb: "Recommend" },
  generate: { purpose: "draws pictures of what it is given.", verb: "Draw" },
  match: { purpose: "tells whether what it is given belongs together.", verb: "Compare" },
  translate: { purpose: "reads the class of one modality through the other's encoding.", verb: "Translate" },
};
const UNKNOWN = { purpose: "its answer is shown as it comes.", verb: "Ask" };
const ENCODE = { purpose: "encodes what it is given; there is no gallery to search.", verb: "Encode" };

const SETTLE_MS = 2000;

const state = {
  models: null, // a list once the server has answered
  model: null, // the chosen one
  way: null, // of a search: what is looked for and by which inputs
  settling: null, // the timer of the next look at the models of a server that starts
  limits: {}, // of the server, where it says them
  waiting: null, // aborts the request that is under way
  answered: new Map(), // model -> the version that answered last
};

// --- which model

async function loadModels() {
  try {
    const { models, limits = {} } = await askJson("models");
    const settled = models.length && models.length === state.models?.length;
    takeModels(models, limits);
    clearTimeout(state.settling); // a server that starts lists its models as they are loaded
    if (!settled) state.settling = setTimeout(loadModels, SETTLE_MS);
  } catch (problem) {
    byId("loading").hidden = true;
    if (!state.models || problem.status === 401) showProblem(problem, loadModels, true);
  }
}

function takeModels(models, limits) {
  state.limits = limits;
  if (JSON.stringify(models) === JSON.stringify(state.models)) return;
  if (!state.models) clearProblem();
  const before = state.model;
  state.models = models;
  fillPicker();
  byId("ask").hidden = !models.length;
  note(byId("loading"), models.length ? "" : "The server has loaded no model yet.");
  const same = models.find((model) => model.name === before?.name);
  if (same) choose(same, { keepAnswer: true });
  else chooseFromHash();
  if (same && same.version !== before.version) note(byId("swap"), `Version ${same.version} is served now; it was ${before.version}.`);
}

function fillPicker() {
  const label = ({ name, version, alias }) => [name, `version ${version}`, alias].filter(Boolean).join(" · ");
  byId("model").replaceChildren(...state.models.map((model) => element("option", { value: model.name }, label(model))));
}

function chooseFromHash() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("model");
  const named = state.models.find((one) => one.name === wanted);
  const model = named ?? state.models[0];
  if (model) choose(model);
  if (wanted && !named) note(byId("swap"), `${wanted} is not served here.`);
}

function choose(model, { keepAnswer = false } = {}) {
  const another = model.name !== state.model?.name;
  state.model = model;
  limitRecording({ audio: model.max_audio_seconds, video: model.max_video_seconds });
  byId("model").value = model.name;
  document.title = `${model.name} · Fuseline`;
  if (location.hash !== hashOf(model)) history.replaceState(null, "", hashOf(model));
  if (another) {
    state.waiting?.abort();
    clearProblem();
    note(byId("swap"), "");
  }
  if (!keepAnswer) showEmpty();
  const task = taskOf(model);
  byId("purpose").textContent = `Task ${model.task}: ${task.purpose}`;
  byId("send").textContent = task.verb;
  showItems(model);
  showWays(model, another);
}

const hashOf = (model) => `#model=${encodeURIComponent(model.name)}`;
const taskOf = (model) => (model.task === "retrieve" && !model.searchable ? ENCODE : (TASKS[model.task] ?? UNKNOWN));

function showWays(model, another) {
  const ways = model.searchable ? waysOf(model) : [];
  state.way = ways.find((way) => !another && way.wanted === state.way?.wanted) ?? ways[0] ?? null;
  byId("ways").hidden = !ways.length;
  byId("ways").querySelector(".segments").replaceChildren(
    ...ways.map((way) => {
      const radio = element("input", { type: "radio", name: "way", value: way.wanted, checked: way.wanted === state.way.wanted });
      radio.addEventListener("change", () => takeWay(way));
      return element("label", {}, radio, element("span", {}, way.label));
    }),
  );
  showFields();
}

function takeWay(way) {
  state.way = way;
  clearProblem();
  for (const radio of byId("ways").querySelectorAll("input")) radio.checked = radio.value === way.wanted;
  showFields();
}

const inputs = () => state.way?.inputs ?? state.model.inputs;

function showFields() {
  endRecording(["audio", "video"].filter((modality) => !inputs().some((input) => input.name === modality)));
  showInputs(inputs());
  byId("give").hidden = inputs().length < 2 || inputs().some((input) => input.required);
}

// --- asking

async function send({ mayRetry = true } = {}) {
  if (state.waiting || !state.model) return;
  await endRecording();
  if (state.waiting) return;
  clearProblem();
  note(byId("swap"), "");
  const parts = given();
  const refused = whyNot(parts);
  if (refused) return showProblem(refused);
  const abort = new AbortController();
  busy(abort);
  try {
    await refuseChanged(parts);
    await exchange(parts, abort.signal);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (!(problem instanceof Problem)) throw problem; // a bug of the page's own
    showProblem(explained(problem, parts), () => send({ mayRetry: false }), mayRetry);
  } finally {
    if (state.waiting === abort) busy(null);
  }
}

async function exchange(parts, signal) {
  const { model, way } = state;
  const body = new FormData();
  for (const [modality, value] of parts) body.append(modality, value);
  const inParts = model.task === "transcribe";
  const asked = way ? "search?limit=12" : inParts ? "stream" : "predict?attention=true";
  const path = `models/${encodeURIComponent(model.name)}/${asked}`;
  const started = performance.now();
  const answer = await (inParts ? askParts(path, { body, signal }, showPart()) : askJson(path, { body, signal }));
  const milliseconds = performance.now() - started;
  if (answer.version !== model.version) await loadModels();
  if (state.model.name === model.name) showAnswer(answer, parts, { before: model.version, milliseconds });
}

/** Return the problem for which a request need not be sent, if there is one. */
function whyNot(parts) {
  const lacking = missing(inputs());
  if (lacking.length) {
    focusInput(lacking[0]);
    const anyOne = lacking.length > 1 && !inputs().some((input) => input.required);
    const names = lacking.map((name) => nameOf(name, false)).join(anyOne ? " or " : " and ");
    return new Problem(`Something is missing: give the ${names}.`);
  }
  const size = sizeOf(parts);
  const most = (state.limits.max_body_mb ?? Infinity) * MB;
  if (size <= most) return null;
  return new Problem(`This is too large to send: ${megabytes(size)}; the server takes at most ${megabytes(most)}.`);
}

/** Refuse a file that changed on disk since it was chosen: sending it fails as if the server were away. */
async function refuseChanged(parts) {
  for (const [modality, value] of parts) {
    if (!(value instanceof Blob)) continue;
    await value.slice(0, 1).arrayBuffer().catch(() => {
      throw new Problem(`The ${nameOf(modality, false)} has changed since it was chosen; choose it again.`);
    });
  }
}

const sizeOf = (parts) => [...parts.values()].reduce((sum, value) => sum + (value.size ?? value.length), 0);

/** Add what was sent to failures that may come from its size. */
function explained(problem, parts) {
  const size = sizeOf(parts);
  if (problem.status === 413 || (problem.status === 0 && size > MB)) problem.message += ` ${megabytes(size)} were sent.`;
  return problem;
}

function busy(abort) {
  state.waiting = abort;
  byId("send").ariaDisabled = String(Boolean(abort)); // not disabled: it would lose the focus
  byId("answer").ariaBusy = String(Boolean(abort));
}

// --- the answer

function showEmpty() {
  byId("answer-body").replaceChildren(element("p", { className: "empty" }, "It appears here."));
  note(byId("swapped"), "");
  byId("status").textContent = "";
}

/** Return what shows the words of a long sound as they come. */
function showPart() {
  const shown = element("p", { className: "verdict", dir: "auto" });
  return ({ transcript }) => {
    shown.append(`${transcript} `);
    byId("answer-body").replaceChildren(shown);
  };
}

function showAnswer(answer, parts, { before, milliseconds }) {
  const { model } = state;
  const view = answer.results ? viewOfResults(answer, parts, searchBy) : viewOf(model.task, answer.answer, parts, askAgain);
  const known = model.version === answer.version; // else it has moved on since, and its lineage is not at hand
  const lineage = known ? [lineageOf(model)] : [];
  byId("answer-body").replaceChildren(...view.nodes, factsOf(model, answer, milliseconds), ...lineage);
  byId("status").textContent = `Answer: ${view.spoken}.`;
  const last = state.answered.get(model.name) ?? before;
  state.answered.set(model.name, answer.version);
  note(byId("swapped"), last === answer.version ? "" : `Version ${answer.version} gave this answer; before it was version ${last}.`);
  bringIntoView(byId("answer"));
}

/** On a phone the answer is below the form: scroll to it, unless most of it is in view. */
function bringIntoView(section) {
  const { top } = section.getBoundingClientRect();
  const gentle = matchMedia("(prefers-reduced-motion: no-preference)").matches;
  if (top < 0 || top > 0.4 * innerHeight) section.scrollIntoView({ behavior: gentle ? "smooth" : "auto" });
}

/** Ask the same with other numbers, such as another seed, or with what else was chosen. */
function askAgain(numbers = {}) {
  for (const [name, number] of Object.entries(numbers)) setNumber(name, number);
  send();
}

/** Make a picture of the results the next query. */
async function searchBy(path, name) {
  const way = waysOf(state.model).find((one) => one.inputs.some((input) => input.name === "image"));
  try {
    const image = await askBlob(path);
    takeWay(way);
    await setFile("image", image, name);
    send();
  } catch (problem) {
    showProblem(problem, () => searchBy(path, name));
  }
}

function note(place, sentence) {
  place.textContent = sentence;
  place.hidden = !sentence;
}

// --- wiring

byId("model").addEventListener("change", (event) => (location.hash = hashOf({ name: event.target.value })));
addEventListener("hashchange", chooseFromHash);
addEventListener("focus", () => loadModels());
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
byId("ask").addEventListener("given", clearProblem);
byId("ask").addEventListener("refused", (event) => showProblem(new Problem(event.detail)));
wireInputs(byId("ask"));
wireItems();
wireRecording();
wireToken();
loadModels();
