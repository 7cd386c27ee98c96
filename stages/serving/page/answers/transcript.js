// What was said, word by word at its time: the words run along with the sound, a word that is chosen plays from there,
// and a strip below shows when each was said.

import { spaced } from "./attention.js";
import { element, percent } from "../dom.js";

const HINT = "Choose a word to hear it.";
let playing = null; // URL of the medium that is played: revoked when another takes its place

/** Return the nodes of a transcript; `medium` is the sound or the video that the model was given. */
export function transcriptWithTimes(answer, medium) {
  if (!answer.spoken.length) return [element("p", { className: "verdict" }, "Nothing was understood.")];
  const words = answer.spoken.map((word, i) => wordNode(word, answer, i, medium));
  const list = element("p", { className: "words", lang: "", dir: "auto" }, ...spaced(words, answer.transcript, answer.spoken));
  if (!medium) return [list];
  const player = element(medium.type.startsWith("video") ? "video" : "audio", { controls: true, preload: "metadata" });
  if (playing) URL.revokeObjectURL(playing);
  player.src = playing = URL.createObjectURL(medium);
  player.onerror = () => (player.hidden = true);
  const strip = element("ol", { className: "strip", ariaHidden: "true" });
  player.addEventListener("loadedmetadata", () => strip.replaceChildren(...strokes(answer, player.duration)));
  player.addEventListener("timeupdate", () => {
    const at = player.currentTime;
    words.forEach((word, i) => word.classList.toggle("shown", answer.starts_s[i] <= at && at < answer.ends_s[i]));
  });
  words.forEach((word, i) => {
    word.addEventListener("click", () => {
      player.currentTime = answer.starts_s[i];
      player.play();
    });
    word.addEventListener("keydown", (event) => {
      const onward = getComputedStyle(list).direction === "rtl" ? -1 : 1;
      const step = { ArrowRight: onward, ArrowLeft: -onward }[event.key];
      if (step) words[i + step]?.focus();
    });
  });
  return [player, list, strip, element("p", { className: "note" }, HINT)];
}

function wordNode(word, answer, i, medium) {
  const sure = percent(answer.probabilities[i], 0);
  const from = `${answer.starts_s[i].toFixed(2)} s`;
  const text = element("span", { className: "word" }, word);
  const node = element(medium ? "button" : "span", { className: "gloss" }, text, " ", element("small", {}, from));
  if (medium) Object.assign(node, { type: "button", ariaLabel: `${word}, at ${from}, ${sure} sure` });
  node.title = `${sure} sure`;
  node.style.setProperty("--p", answer.probabilities[i]);
  return node;
}

function strokes(answer, duration) {
  return answer.spoken.map((word, i) => {
    const stroke = element("li", { title: word });
    stroke.style.insetInlineStart = `${(100 * answer.starts_s[i]) / duration}%`;
    stroke.style.inlineSize = `${(100 * (answer.ends_s[i] - answer.starts_s[i])) / duration}%`;
    return stroke;
  });
}
