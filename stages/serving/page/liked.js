// Items that someone likes, for a model that recommends: looked for by title, chosen by pointer or keyboard, each shown
// with a button that takes it away. They belong to a model, and stay when another one is looked at meanwhile.

import { byId, element, isolate } from "./dom.js";
import { loadImage } from "./search.js";
import { askJson } from "./server.js";

const SHOWN = 20; // in the list at once
const SETTLE_MS = 150; // after a key, before the list is asked for
const NOTE = "Search by title, choose with the arrows and Enter, or type ids with commas between.";
const IDS_NOTE = "Ids with commas between, as the answers show them."; // of a version without a list

const input = byId("liked");
const list = byId("liked-list");
const field = input.closest(".field");
const chosenOf = new Map(); // model -> items in the order they were chosen
let model = null;
let active = -1; // place of the option that Enter takes
let settling = null;
let asked = 0; // how often the list was asked for: an answer that another has overtaken is dropped

const chosen = () => chosenOf.get(model?.name) ?? [];
const listed = () => model?.num_items != null;

/** Show what is liked among the items of a model. */
export function showItems(of) {
  const same = of.name === model?.name;
  model = of;
  if (same) return;
  input.value = "";
  say(listed() ? NOTE : IDS_NOTE);
  close();
  showChosen();
}

/** Return what is liked, as a model takes it; empty where nothing is. */
export function givenItems() {
  const typed = input.value.split(/[,;]/).map((id) => id.trim()).filter(Boolean);
  const ids = [...chosen().map(({ item }) => item), ...typed];
  if (!ids.length) return "";
  return listed() ? JSON.stringify(ids) : ids.join(", ");
}

/** Add an item, `{item, title, image}`, to what is liked. */
export function addItem(item) {
  if (!chosen().some((one) => one.item === item.item)) chosenOf.set(model.name, [...chosen(), item]);
  showChosen();
  field.dispatchEvent(new Event("given", { bubbles: true }));
}

function removeItem(item) {
  chosenOf.set(model.name, chosen().filter((one) => one.item !== item.item));
  showChosen();
  say(`${isolate(item.title)} was removed.`);
  input.focus();
}

function showChosen() {
  field.querySelector(".chosen").replaceChildren(
    ...chosen().map((item) => {
      const button = element("button", { type: "button", ariaLabel: `Remove ${isolate(item.title)}` }, "×");
      button.addEventListener("click", () => removeItem(item));
      return element("li", {}, thumb(item), element("span", { dir: "auto" }, item.title), button);
    }),
  );
}

function thumb({ image }) {
  const made = element("img", { alt: "", className: "thumb", decoding: "async" }); // its title stands beside it
  if (image) loadImage(made, image);
  return image ? made : null;
}

// --- the list

function openSoon() {
  clearTimeout(settling);
  if (listed()) settling = setTimeout(open, SETTLE_MS);
}

async function open() {
  clearTimeout(settling);
  if (!listed()) return;
  const number = (asked += 1);
  const sought = input.value.trim();
  const path = `models/${encodeURIComponent(model.name)}/items?limit=${SHOWN}&search=${encodeURIComponent(sought)}`;
  try {
    const { items } = await askJson(path);
    if (number !== asked) return;
    showOptions(items.filter(({ item }) => !chosen().some((one) => one.item === item)));
    say(list.hidden ? `No item of ${model.num_items} has these words.` : NOTE);
  } catch (problem) {
    if (number === asked) say(problem.message);
  }
}

function showOptions(items) {
  list.replaceChildren(
    ...items.map((item, i) => {
      const names = element("span", { dir: "auto" }, item.title, " ", element("small", {}, item.item === item.title ? "" : item.item));
      const option = element("li", { id: `liked-option-${i}`, role: "option", ariaSelected: "false" }, thumb(item), names);
      option.addEventListener("click", () => take(item));
      option.take = () => take(item);
      return option;
    }),
  );
  list.hidden = !items.length;
  list.scrollTop = 0;
  list.scrollIntoView({ block: "nearest" });
  input.ariaExpanded = String(!list.hidden);
  activate(items.length && input.value.trim() ? 0 : -1);
}

function activate(place) {
  list.children[active]?.setAttribute("aria-selected", "false");
  active = place;
  const option = list.children[place];
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  if (option) input.setAttribute("aria-activedescendant", option.id);
  else input.removeAttribute("aria-activedescendant");
}

function take(item) {
  addItem(item);
  input.value = "";
  close();
  say(`${isolate(item.title)} was chosen, ${chosen().length} in all.`);
}

function close() {
  clearTimeout(settling);
  asked += 1;
  list.hidden = true;
  list.replaceChildren();
  input.ariaExpanded = "false";
  activate(-1);
}

const move = (step) => (list.hidden ? open() : activate(Math.min(Math.max(active + step, 0), list.children.length - 1)));

/** Return what a key does here, if anything; others do what they always do. */
function actionOf(key) {
  if (key === "ArrowDown") return () => move(1);
  if (key === "ArrowUp") return () => move(-1);
  if (key === "Enter") return list.children[active]?.take;
  if (key === "Escape" && !list.hidden) return close;
  if (key === "Backspace" && !input.value && chosen().length) return () => removeItem(chosen().at(-1));
  return undefined;
}

/** Wire the field. */
export function wireItems() {
  input.addEventListener("input", openSoon);
  input.addEventListener("click", open);
  input.addEventListener("blur", close);
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
  input.addEventListener("keydown", (event) => {
    const action = event.isComposing ? undefined : actionOf(event.key);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

const say = (sentence) => (byId("liked-note").textContent = sentence);
