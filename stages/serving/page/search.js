// Results of a search in the samples of a version: pictures in a grid, sounds, or a list of texts, the nearest first.

import { element, isolate, showBlob } from "./dom.js";
import { askBlob, token } from "./server.js";

const NAMES = { image: ["image", "images"], text: ["text", "texts"], audio: ["sound", "sounds"], video: ["video", "videos"] };

/** Name what is looked for, in the plural or for one. */
export const nameOf = (modality, several = true) => NAMES[modality]?.[Number(several)] ?? modality;

/** Return the directions in which a retrieve model searches: what is looked for, and the inputs that ask for it. */
export function waysOf(model) {
  const target = model.inputs.filter((input) => input.name === model.target);
  const others = model.inputs.filter((input) => input.name !== model.target);
  return [
    { wanted: others[0].name, inputs: target },
    { wanted: model.target, inputs: others },
  ].map(({ wanted, inputs }) => ({
    wanted,
    inputs: inputs.map(({ name }) => ({ name, required: inputs.length === 1 })),
    label: `${nameOf(wanted)} by ${inputs.map(({ name }) => nameOf(name, false)).join(" and ")}`,
  }));
}

/** Return `{spoken, nodes}` of the results; `searchBy(path, name)` is called when a picture is to be the next query. */
export function viewOfResults(found, given, searchBy) {
  const asked = [...given].map(([modality, value]) => (value instanceof Blob ? `the ${nameOf(modality, false)}` : `“${isolate(value)}”`));
  const heading = `${found.results.length} ${nameOf(found.looked_for)} for ${asked.join(" and ")}`;
  const kind = found.looked_for === "text" ? "list" : "grid";
  const items = found.results.map((result) => resultOf(result, searchBy));
  const results = element("ol", { className: `results ${kind}` }, ...items);
  return { spoken: heading, nodes: [element("p", { className: "asked" }, heading), results] };
}

function resultOf(result, searchBy) {
  const similarity = element("data", { title: "similarity" }, result.similarity.toFixed(3));
  const texts = [...new Set([result.text, ...result.texts].filter(Boolean))];
  return element(
    "li",
    {},
    result.image ? pictureButton(result, searchBy) : null,
    element("div", { className: "beside" }, element("p", { dir: "auto" }, texts[0] ?? ""), moreTexts(texts.slice(1)), player(result, "audio"), player(result, "video")),
    element("p", { className: "note" }, "similarity ", similarity, element("span", { className: "id", dir: "auto" }, result.sample_id)),
  );
}

function moreTexts(texts) {
  if (!texts.length) return null;
  const list = element("ul", {}, ...texts.map((text) => element("li", { dir: "auto" }, text)));
  return element("details", {}, element("summary", {}, `${texts.length} more ${nameOf("text", texts.length > 1)}`), list);
}

function pictureButton(result, searchBy) {
  const image = element("img", { alt: `Sample ${result.sample_id}`, decoding: "async" });
  loadImage(image, result.image);
  const label = `Search by this image, sample ${result.sample_id}`;
  const button = element("button", { type: "button", className: "picture-button", ariaLabel: label, title: "Search by this image" }, image);
  button.addEventListener("click", () => searchBy(result.image, result.sample_id));
  return button;
}

/** Load an image of the gallery; a server with a token gives it to requests that carry one, not to image elements. */
export async function loadImage(image, path) {
  if (!token()) return (image.src = path);
  const blob = await askBlob(path).catch(() => null);
  if (blob) await showBlob(image, blob);
}

export function player(result, modality) {
  const path = result[modality];
  if (!path) return null;
  const ariaLabel = `${modality === "audio" ? "Sound" : "Video"} of sample ${result.sample_id}`;
  const made = element(modality, { controls: true, preload: modality === "audio" ? "none" : "metadata", ariaLabel });
  if (!token()) made.src = path;
  else askBlob(path).then((blob) => dataUrl(blob)).then((url) => (made.src = url), () => made.remove());
  return made;
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
