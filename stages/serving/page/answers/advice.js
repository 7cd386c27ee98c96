// What is recommended: each item as it looks, and what its score is made of.

import { element, isolate } from "../dom.js";
import { addItem } from "../liked.js";
import { loadImage, player } from "../search.js";

const NAMES = {
  image: "its picture",
  audio: "its sound",
  video: "its video",
  text: "its text",
  fields: "its fields",
  number: "who rated it",
  user: "this user",
  user_fields: "what is told of the user",
  liked: "what is liked",
  given: "what was given",
};
const MADE_OF = "Bars: how much of the score is gone where that is not known. They act together and need not add up.";

/** Return `{spoken, nodes}` of recommended items; `askAgain()` asks once more when one of them is liked, too. */
export function adviceOf(answer, given, askAgain) {
  if (!answer.items.length) {
    const spoken = "Nothing is left to recommend";
    return { spoken, nodes: [element("p", { className: "verdict" }, spoken)] };
  }
  const heading = `${answer.items.length} items for ${whoOf(given)}`;
  const most = Math.max(...(answer.parts ?? []).flatMap(Object.values).map(Math.abs), 1e-9);
  const items = answer.items.map((item, i) => itemOf({ ...answer.looks?.[i], item, title: answer.titles[i] }, i, answer, most, askAgain));
  const nodes = [element("p", { className: "asked" }, heading), element("ol", { className: "results grid advice" }, ...items)];
  if (answer.parts) nodes.push(element("p", { className: "note" }, MADE_OF));
  return { spoken: `${heading}, the first is ${isolate(answer.titles[0])}`, nodes };
}

function whoOf(given) {
  const told = [];
  if (given.has("user")) told.push(`user ${isolate(given.get("user"))}`);
  if (given.has("liked")) told.push(`who likes ${numberOf(given.get("liked"))}`);
  if (given.has("user_fields")) told.push("who is as told");
  for (const [modality, value] of given) {
    if (!["user", "liked", "user_fields"].includes(modality)) told.push(value instanceof Blob ? `the ${modality}` : `“${isolate(value)}”`);
  }
  return told.join(" and ");
}

function numberOf(liked) {
  const number = liked.startsWith("[") ? JSON.parse(liked).length : liked.split(/[,;]/).filter((id) => id.trim()).length;
  return number === 1 ? "one item" : `${number} items`;
}

function itemOf(look, i, answer, most, askAgain) {
  const parts = answer.parts ? barsOf(answer.parts[i], most) : element("p", { className: "note" }, answer.reasons[i]);
  const title = element("p", { className: "title" }, element("strong", { dir: "auto" }, look.title), " ", element("small", { dir: "auto" }, look.item === look.title ? "" : look.item));
  const score = element("p", { className: "note" }, "score ", element("data", {}, signed(answer.scores[i], "")));
  const like = element("button", { type: "button", className: "like", ariaLabel: `Like ${isolate(look.title)}, and ask again` }, "Like");
  like.addEventListener("click", () => {
    addItem(look);
    askAgain();
  });
  return element("li", {}, posterOf(look), title, player({ ...look, sample_id: look.item }, "audio"), element("div", { className: "row spread" }, score, like), parts);
}

function posterOf({ image, audio, text, title }) {
  if (image) {
    const made = element("img", { alt: `Picture of ${isolate(title)}`, className: "poster", decoding: "async" });
    loadImage(made, image);
    return made;
  }
  if (audio) return element("p", { className: "poster bare", ariaHidden: "true" }, "♪");
  const words = element("p", { dir: "auto" }, text && text !== title ? text : "");
  return element("div", { className: "poster bare" }, words);
}

/** Return a bar for each part, to the right of the middle where it adds to the score. */
function barsOf(parts, most) {
  const sorted = Object.entries(parts).sort((a, b) => b[1] - a[1]);
  const rows = sorted.map(([name, gain]) => {
    const fill = element("span", { className: gain < 0 ? "gain less" : "gain" });
    fill.style.inlineSize = `${(50 * Math.abs(gain)) / most}%`;
    const track = element("span", { className: "track balance", ariaHidden: "true" }, fill);
    return element("li", {}, element("span", {}, NAMES[name] ?? name), element("data", {}, signed(gain)), track);
  });
  return element("ul", { className: "parts" }, ...rows);
}

function signed(x, plus = "+") {
  const size = Math.abs(x).toFixed(2);
  return (size === "0.00" ? "" : x < 0 ? "−" : plus) + size;
}
