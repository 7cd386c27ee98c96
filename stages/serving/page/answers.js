// What each task's answer looks like. A view takes the answer and what was given, and returns a sentence for screen
// readers and the nodes to show.

import { captionWithAttention } from "./attention.js";
import { element, percent } from "./dom.js";
import { picturesOf } from "./pictures.js";
import { transcriptWithTimes } from "./transcript.js";

const BARS = 8; // shown of a ranked list before one asks for all
const NUMBERS = 6; // shown of a vector

const VIEWS = {
  caption(answer, given) {
    const score = `Mean log probability of a word: ${answer.score.toFixed(2).replace("-", "−")}`;
    const nodes = captionWithAttention(answer, given.get("image"));
    return { spoken: answer.caption, nodes: [...nodes, element("p", { className: "note" }, score)] };
  },
  transcribe(answer, given) {
    const nodes = transcriptWithTimes(answer, given.get("video") ?? given.get("audio"));
    return { spoken: answer.transcript || "Nothing was understood", nodes };
  },
  classify: (answer) => ranked(answer, answer.label),
  vqa(answer, given) {
    const view = ranked(answer, answer.answer);
    return { ...view, nodes: [element("p", { className: "asked", dir: "auto" }, `“${given.get("question")}”`), ...view.nodes] };
  },
  match(answer) {
    const spoken = answer.match === "yes" ? "Yes, they belong together" : "No, they do not belong together";
    const both = [["yes", answer.probability], ["no", 1 - answer.probability]];
    return { spoken, nodes: [verdict(spoken), bars(both.sort(byProbability))] };
  },
  translate(answer) {
    const source = element("p", { className: "note" }, "Read from the ", element("strong", {}, answer.read_from));
    const bar = bars([[answer.label, answer.probability]]);
    return { spoken: `${answer.label}, read from the ${answer.read_from}`, nodes: [verdict(answer.label), source, bar] };
  },
  generate: picturesOf,
  retrieve(answer) {
    const towers = Object.entries(answer).filter(([, numbers]) => numbers);
    return { spoken: "The encoding is shown", nodes: towers.map(([tower, numbers]) => vector(tower, numbers)) };
  },
};

/** Return `{spoken, nodes}` of an answer; `askAgain(numbers)` asks the same with other numbers, such as a seed.
 * that this page does not know is shown as its values. */
export function viewOf(task, answer, given, askAgain) {
  return VIEWS[task]?.(answer, given, askAgain) ?? { spoken: "The answer is shown", nodes: [values(answer)] };
}

const verdict = (text) => element("p", { className: "verdict", dir: "auto" }, text);

function ranked(answer, best) {
  const pairs = (answer.classes ?? []).map((name, i) => [name, answer.probabilities[i]]);
  if (!pairs.length) pairs.push([best, answer.probability]);
  pairs.sort(byProbability);
  const list = bars(pairs.slice(0, BARS));
  const nodes = [verdict(best), list];
  if (pairs.length > BARS) nodes.push(moreButton(pairs, list));
  return { spoken: `${best}, ${percent(answer.probability)}`, nodes };
}

function moreButton(pairs, list) {
  const button = element("button", { type: "button", className: "quiet" }, `Show all ${pairs.length}`);
  button.addEventListener("click", () => {
    list.append(...pairs.slice(BARS).map(bar));
    list.children[BARS].tabIndex = -1;
    list.children[BARS].focus(); // the button that had the focus goes
    button.remove();
  });
  return button;
}

const byProbability = (a, b) => b[1] - a[1];
const bars = (pairs) => element("ol", { className: "bars" }, ...pairs.map(bar));

function bar([name, probability]) {
  const fill = element("span", { className: "fill" });
  fill.style.width = `${100 * probability}%`;
  const track = element("span", { className: "track", ariaHidden: "true" }, fill);
  return element("li", {}, element("span", { className: "bar-name", dir: "auto" }, name), track, element("data", {}, percent(probability)));
}

function vector(tower, numbers) {
  const start = numbers.slice(0, NUMBERS).map((x) => x.toFixed(3));
  const all = element("details", {}, element("summary", {}, "All numbers"), element("code", {}, numbers.join(", ")));
  const short = element("p", { className: "vector" }, `${start.join("  ")}${numbers.length > NUMBERS ? "  …" : ""}`);
  return element("section", {}, element("h3", {}, `Encoding of the ${tower}: ${numbers.length} numbers`), short, all);
}

function values(answer) {
  const rows = Object.entries(answer).flatMap(([key, value]) => [
    element("dt", {}, key),
    element("dd", { dir: "auto" }, typeof value === "string" ? value : JSON.stringify(value)),
  ]);
  return element("dl", { className: "lineage" }, ...rows);
}
