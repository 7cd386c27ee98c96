// A picture, the words said about it, and where the model looked for each: shown while a word is pointed at, has the
// focus, or was tapped; Escape clears it.

import { element, isolate, percent, showBlob } from "../dom.js";

const HINT = "Point at a word, move to it with Tab, or tap it, to see where the model looked.";

/** Return the nodes of a caption answer; `image` is what the model was given, if any. */
export function captionWithAttention(answer, image) {
  const attended = Boolean(image && answer.attention?.length && answer.grid);
  const words = answer.words.map((word, i) => wordNode(word, answer.word_probabilities[i], attended));
  const list = element("p", { className: "words", lang: "", dir: "auto" }, ...spaced(words, answer.caption, answer.words));
  if (!image) return [list];
  const canvas = element("canvas", { ariaHidden: "true" });
  const picture = element("div", { className: "picture" }, canvas);
  addImage(picture, image);
  if (!attended) return [picture, list];
  const note = element("p", { className: "note looked", role: "status" }, HINT);
  wireWords(words, (place) => {
    words.forEach((word, i) => word.classList.toggle("shown", i === place));
    picture.classList.toggle("attended", place !== null);
    note.textContent = place === null ? HINT : sentence(answer, place);
    if (place !== null) paint(canvas, answer.attention[place], answer.grid);
  });
  return [picture, list, note];
}

/** Put spaces between words where their text has them: scripts such as Chinese have none. */
export function spaced(nodes, text, words) {
  let end = 0;
  return nodes.flatMap((node, i) => {
    const start = text.indexOf(words[i], end);
    const gap = start > end;
    end = start + words[i].length;
    return gap ? [" ", node] : [node];
  });
}

function wordNode(word, probability, attended) {
  const number = element("small", {}, percent(probability, 0));
  const text = element("span", { className: "word" }, word);
  const node = element(attended ? "button" : "span", { className: "gloss" }, text, " ", number);
  if (attended) Object.assign(node, { type: "button", ariaPressed: "false" });
  node.style.setProperty("--p", probability);
  return node;
}

async function addImage(picture, blob) {
  const image = element("img", { alt: "The image that was described" });
  picture.prepend(image);
  if (await showBlob(image, blob)) picture.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  else picture.hidden = true;
}

/** Let `show(place)` follow pointer, focus and taps; a tapped word stays until it is tapped again. */
function wireWords(words, show) {
  let kept = null;
  const keep = (place) => {
    kept = place;
    words.forEach((word, i) => (word.ariaPressed = String(i === kept)));
    show(kept);
  };
  words.forEach((word, i) => {
    for (const kind of ["pointerenter", "focus"]) word.addEventListener(kind, () => show(i));
    for (const kind of ["pointerleave", "blur"]) word.addEventListener(kind, () => show(kept));
    word.addEventListener("click", () => keep(kept === i ? null : i));
    word.addEventListener("keydown", (event) => {
      const onward = getComputedStyle(word.parentElement).direction === "rtl" ? -1 : 1;
      const step = { ArrowRight: onward, ArrowLeft: -onward }[event.key];
      if (step) words[i + step]?.focus();
    });
  });
  const clear = (event) => {
    if (!words[0].isConnected) document.removeEventListener("keydown", clear);
    else if (event.key === "Escape") keep(null);
  };
  document.addEventListener("keydown", clear);
}

/** Darken what was not looked at, and warm what was; the browser smooths one pixel a cell over the picture. */
function paint(canvas, weights, [rows, columns]) {
  Object.assign(canvas, { width: columns, height: rows });
  const peak = Math.max(...weights) || 1;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  weights.slice(0, rows * columns).forEach((value, i) => {
    const weight = value / peak;
    pixels.data.set([255 * weight, 120 * weight, 0, 255 * (1 - 0.85 * weight)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
}

function sentence(answer, place) {
  const [rows, columns] = answer.grid;
  const weights = answer.attention[place];
  const cell = weights.indexOf(Math.max(...weights));
  const third = (at, length, names) => names[Math.min(2, Math.floor((3 * (at + 0.5)) / length))];
  const row = third(Math.floor(cell / columns), rows, ["top", "middle", "bottom"]);
  const column = third(cell % columns, columns, ["left", "centre", "right"]);
  return `“${isolate(answer.words[place])}”, ${percent(answer.word_probabilities[place])}: looked most at the ${row} ${column}.`;
}
