// Pictures that a model made: a grid, their seed, and a button that draws others of the same text.

import { element, isolate } from "../dom.js";

const MOST_SEED = 2 ** 31 - 1;

/** Return `{spoken, nodes}` of made pictures; `askAgain({ seed })` draws by another seed. */
export function picturesOf(answer, given, askAgain) {
  const asked = given.get("text") ?? given.get("question") ?? "";
  const pictures = answer.images.map((image, i) => {
    const alt = `Picture ${i + 1} of ${answer.images.length}${asked ? ` for “${isolate(asked)}”` : ""}`;
    const shown = element("img", { src: `data:image/png;base64,${image}`, alt, className: "made" });
    const link = element("a", { href: shown.src, download: `made-${answer.seed}-${i}.png`, className: "note" }, "Save");
    return element("li", {}, shown, link);
  });
  const another = element("button", { type: "button" }, "Another seed");
  another.addEventListener("click", () => askAgain({ seed: Math.floor(Math.random() * MOST_SEED) }));
  const heading = asked ? [element("p", { className: "asked", dir: "auto" }, `“${asked}”`)] : [];
  const seed = element("p", { className: "note" }, "Seed ", element("strong", {}, String(answer.seed)));
  const number = answer.images.length === 1 ? "One picture" : `${answer.images.length} pictures`;
  return { spoken: `${number} by seed ${answer.seed}`, nodes: [...heading, element("ol", { className: "results made-grid" }, ...pictures), element("div", { className: "row" }, another, seed)] };
}
