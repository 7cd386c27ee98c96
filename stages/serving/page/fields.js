// The inputs of a table's fields: a number, a choice of categories, a date, or yes, no and unknown, each by its name.

import { element } from "./dom.js";

/** Put an input for each field, `{name, kind, unit, categories, range}`, into the fieldset. */
export function showFieldInputs(fieldset, fields) {
  const place = fieldset.querySelector(".cells");
  const shown = JSON.stringify(fields);
  if (place.dataset.shown === shown) return; // what was given stays when the model is looked at again
  place.dataset.shown = shown;
  place.replaceChildren(
    ...fields.map((field) => {
      const unit = field.unit ? ` (${field.unit})` : "";
      const input = inputOf(field);
      input.dataset.field = field.name;
      input.dataset.kind = field.kind;
      return element("label", { className: "cell" }, element("span", { dir: "auto" }, `${field.name}${unit}`), input);
    }),
  );
}

/** Return what is given, the JSON text of an object by name; empty where nothing is. */
export function givenFields(fieldset) {
  const found = {};
  for (const input of fieldset.querySelectorAll("[data-field]")) {
    const value = input.value.trim();
    if (value === "") continue;
    if (input.dataset.kind === "number") found[input.dataset.field] = Number(value);
    else found[input.dataset.field] = input.dataset.kind === "boolean" ? value === "true" : value;
  }
  return Object.keys(found).length ? JSON.stringify(found) : "";
}

function inputOf({ kind, categories, range }) {
  if (kind === "boolean") return choice([["true", "yes"], ["false", "no"]]);
  if (kind === "category" && categories.length) return choice(categories.map((name) => [name, name]));
  const hint = range.length ? `${range[0]} to ${range[1]}` : "";
  if (kind === "number") return element("input", { type: "number", step: "any", placeholder: hint });
  return element("input", { type: kind === "date" ? "date" : "text", title: hint });
}

function choice(options) {
  const made = options.map(([value, label]) => element("option", { value }, label));
  return element("select", {}, element("option", { value: "" }, "unknown"), ...made);
}
