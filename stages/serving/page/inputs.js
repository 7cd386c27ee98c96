// The form's fields, one a modality: which are shown, and what was chosen, dropped, pasted, recorded or typed.
// What was given stays when another model is chosen; only what the model takes is shown and sent.

import { byId, isolate, megabytes, showBlob } from "./dom.js";
import { givenFields, showFieldInputs } from "./fields.js";
import { givenItems } from "./liked.js";

const MEDIA = { image: "an image", audio: "a sound", video: "a video" };
const FIELDS = ["fields", "user_fields"]; // of a table, an input each
const LIKED = "liked"; // items that are chosen from a list
const fields = new Map([...document.querySelectorAll("[data-modality]")].map((field) => [field.dataset.modality, field]));
const typedIn = (field) => field.querySelector("textarea, input[type=number], input[type=text]");
const files = new Map(); // modality -> Blob
const played = new Map(); // modality -> URL of what can be played: revoked when another takes its place

/** Show the fields of these inputs, `{name, required}`, and say which are required. */
export function showInputs(inputs) {
  const required = new Map(inputs.map((input) => [input.name, input.required]));
  for (const [modality, field] of fields) {
    field.hidden = !required.has(modality);
    field.querySelector(".need").textContent = required.get(modality) ? "required" : "optional";
    const typed = typedIn(field);
    if (typed) typed.required = Boolean(required.get(modality));
  }
  for (const input of inputs) if (FIELDS.includes(input.name)) showFieldInputs(fields.get(input.name), input.fields);
}

/** Return what is given in the shown fields: modality to Blob or text. */
export function given() {
  const found = new Map();
  for (const [modality, field] of fields) {
    const value = valueOf(modality, field);
    if (value && !field.hidden) found.set(modality, value);
  }
  return found;
}

function valueOf(modality, field) {
  if (modality in MEDIA) return files.get(modality);
  if (modality === LIKED) return givenItems();
  return FIELDS.includes(modality) ? givenFields(field) : typedIn(field).value.trim();
}

/** Return which inputs are still to be given: the required ones, or all where none is given and one must be. */
export function missing(inputs) {
  const there = given();
  const lacking = inputs.filter((input) => input.required && !there.has(input.name));
  return (lacking.length || there.size ? lacking : inputs).map((input) => input.name);
}

/** Put a number into its field. */
export const setNumber = (name, number) => (typedIn(fields.get(name)).value = String(number));

/** Put the focus into a modality's field. */
export const focusInput = (modality) => fields.get(modality)?.querySelector("textarea, input, select").focus();

/** Take an image, a sound or a video into its field; null empties it. */
export async function setFile(modality, file, name = file?.name ?? "") {
  const field = fields.get(modality);
  if (file) files.set(modality, file);
  else files.delete(modality);
  field.classList.toggle("filled", Boolean(file));
  for (const part of [".name", ".remove"]) field.querySelector(part).hidden = !file;
  field.querySelector(".name").textContent = file ? `${isolate(name)}, ${megabytes(file.size)}` : "";
  byId(`${modality}-choose`).textContent = `Choose ${file ? "another" : MEDIA[modality]}`;
  say(modality, "");
  field.dispatchEvent(new Event("given", { bubbles: true }));
  await (modality === "image" ? preview(file, field, name) : playable(modality, file, field));
}

/** Say something under a field. */
export const say = (modality, sentence) => (fields.get(modality).querySelector(".note").textContent = sentence);

async function preview(file, field, name) {
  const image = field.querySelector(".preview");
  image.hidden = true;
  if (!file) return image.removeAttribute("src");
  const shown = await showBlob(image, file);
  if (files.get("image") !== file) return; // another was chosen meanwhile
  image.hidden = !shown;
  if (!shown) return say("image", "This browser cannot show it; the server decides whether it is an image.");
  field.querySelector(".name").textContent = `${isolate(name)}, ${image.naturalWidth} × ${image.naturalHeight}, ${megabytes(file.size)}`;
}

function playable(modality, file, field) {
  const player = field.querySelector(".preview");
  if (played.has(modality)) URL.revokeObjectURL(played.get(modality));
  played.delete(modality);
  player.hidden = !file;
  if (file) player.src = played.set(modality, URL.createObjectURL(file)).get(modality);
  else player.removeAttribute("src");
  player.onerror = () => {
    if (!player.hasAttribute("src")) return;
    player.hidden = true;
    say(modality, `This browser cannot play it; the server decides whether it is ${MEDIA[modality]}.`);
  };
}

/** Wire the fields: choosing, removing, dropping anywhere on the page, pasting, and Enter to send. */
export function wireInputs(form) {
  for (const modality of Object.keys(MEDIA)) wireFile(modality, fields.get(modality));
  for (const typed of form.querySelectorAll("textarea")) typed.addEventListener("keydown", sendOnEnter);
  document.addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    if (types.includes("text/plain") || !files.length) return; // text that brings its picture along is meant as text
    event.preventDefault();
    take(files, form);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files, form, event.target.closest?.(".file")?.dataset.modality);
  });
}

function wireFile(modality, field) {
  const input = field.querySelector("input");
  input.addEventListener("change", () => {
    if (input.files.length) setFile(modality, input.files[0]);
    input.value = ""; // so that the same file can be chosen again after it changed
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") input.click(); // browsers open the dialog by the space bar alone
  });
  field.querySelector(".remove").addEventListener("click", () => {
    setFile(modality, null);
    input.focus();
  });
  field.querySelector(".drop").addEventListener("click", (event) => {
    if (!files.has(modality) && !event.target.closest("button, label, audio, video")) input.click();
  });
}

/** Put files into the shown fields of their kind, or into the field they were dropped on. */
function take(list, form, onto) {
  for (const file of list) {
    const modality = onto ?? Object.keys(MEDIA).find((kind) => file.type.startsWith(kind));
    if (modality && !fields.get(modality).hidden) setFile(modality, file);
    else form.dispatchEvent(new CustomEvent("refused", { detail: `This model has no use for ${isolate(file.name)}.` }));
  }
}

function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}
