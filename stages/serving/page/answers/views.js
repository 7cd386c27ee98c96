// What each task's answer looks like. A view takes the answer and what was given, and returns a sentence for screen
// readers and the nodes to show.

import { adviceOf } from "./advice.js";
import { captionWithAttention } from "./attention.js";
import { element, percent } from "../dom.js";
import { framesThatCounted } from "./frames.js";
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
  classify(answer, given) {
    const view = ranked(answer, answer.label);
    return { ...view, nodes: [...view.nodes, ...framesThatCounted(answer, given.get("video"))] };
  },
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
  regress(answer) {
    const rows = answer.names.map((name, i) => ({ name, number: answer.numbers[i], low: answer.low[i], high: answer.high[i] }));
    const spoken = rows.map(({ name, number, low, high }) => `${name} ${short(number)}, from ${short(low)} to ${short(high)}`);
    return { spoken: spoken.join("; "), nodes: rows.map((row) => interval(row)) };
  },
  tag(answer) {
    const said = answer.tags.join(", ") || "No tag";
    const pairs = answer.classes.map((name, i) => [name, answer.probabilities[i]]).sort(byProbability);
    const chosen = new Set(answer.tags);
    return { spoken: said, nodes: [verdict(said), ...barList(pairs, (name) => chosen.has(name))] };
  },
  recommend: adviceOf,
  retrieve(answer) {
    const towers = Object.entries(answer).filter(([, numbers]) => numbers);
    return { spoken: "The encoding is shown", nodes: towers.map(([tower, numbers]) => vector(tower, numbers)) };
  },
};

/** Return `{spoken, nodes}` of an answer; `askAgain(numbers)` asks the same with other numbers, such as a seed.
 * A task that this page does not know is shown as its values. */
export function viewOf(task, answer, given, askAgain) {
  return VIEWS[task]?.(answer, given, askAgain) ?? { spoken: "The answer is shown", nodes: [values(answer)] };
}

const verdict = (text) => element("p", { className: "verdict", dir: "auto" }, text);

function ranked(answer, best) {
  const pairs = (answer.classes ?? []).map((name, i) => [name, answer.probabilities[i]]);
  if (!pairs.length) pairs.push([best, answer.probability]);
  pairs.sort(byProbability);
  return { spoken: `${best}, ${percent(answer.probability)}`, nodes: [verdict(best), ...barList(pairs)] };
}

/** Return the first bars of ranked pairs and, if there are more, what shows them; `chosen` tells those that are said. */
function barList(pairs, chosen) {
  const made = pairs.map(([name, probability]) => bar([name, probability], chosen?.(name)));
  const list = element("ol", { className: chosen ? "bars tags" : "bars" }, ...made.slice(0, BARS));
  return made.length > BARS ? [list, moreButton(made, list)] : [list];
}

/** Write a number with four digits, or all of its whole part. */
const short = (x) => (Math.abs(x) >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(4)))).replace("-", "−");

/** Show a number with the interval that it lies in, which is half of the track. */
function interval({ name, number, low, high }) {
  const span = element("span", { className: "span" });
  const point = element("span", { className: "point" });
  const track = element("span", { className: "track interval", ariaHidden: "true" }, span, point);
  const ends = element("p", { className: "ends note" }, element("data", {}, short(low)), " to ", element("data", {}, short(high)));
  return element("section", { className: "number" }, element("h3", { dir: "auto" }, name), verdict(short(number)), track, ends);
}

function moreButton(made, list) {
  const button = element("button", { type: "button", className: "quiet" }, `Show all ${made.length}`);
  button.addEventListener("click", () => {
    list.append(...made.slice(BARS));
    list.children[BARS].tabIndex = -1;
    list.children[BARS].focus(); // the button that had the focus goes
    button.remove();
  });
  return button;
}

const byProbability = (a, b) => b[1] - a[1];
const bars = (pairs) => element("ol", { className: "bars" }, ...pairs.map((pair) => bar(pair)));

function bar([name, probability], chosen = false) {
  const fill = element("span", { className: "fill" });
  fill.style.width = `${100 * probability}%`;
  const track = element("span", { className: "track", ariaHidden: "true" }, fill);
  return element("li", { className: chosen ? "chosen" : "" }, element("span", { className: "bar-name", dir: "auto" }, name), track, element("data", {}, percent(probability)));
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
