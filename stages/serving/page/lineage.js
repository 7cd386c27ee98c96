// What stands under an answer: which model version gave it, how fast, and where that version comes from.

import { copyButton, element } from "./dom.js";

const SHORT = 12; // characters shown of a digest
const DIGEST = /^[0-9a-f]{20,}$/i;

/** Return the line of facts under an answer. */
export function factsOf(model, answer, milliseconds) {
  const id = element("code", {}, answer.request_id);
  return element(
    "p",
    { className: "facts" },
    fact("model", answer.model),
    fact("version", answer.version),
    model.alias && model.version === answer.version ? element("span", { className: "alias" }, model.alias) : null,
    fact("answered in", `${Math.round(milliseconds)} ms`),
    element("span", {}, "request ", id, " ", copyButton(answer.request_id, "the request id", id)),
  );
}

const fact = (name, value) => element("span", {}, `${name} `, element("strong", { dir: "auto" }, value));

/** Return the score and the lineage of a model version, folded. */
export function lineageOf(model) {
  const rows = { "mlflow run": model.run_id, ...model.lineage };
  const score = model.score ? { [model.score.metric.replaceAll("_", " ")]: model.score.value.toFixed(4) } : {};
  const list = element("dl", { className: "lineage" });
  for (const [name, value] of Object.entries({ ...score, ...rows })) {
    if (value) list.append(element("dt", {}, name.replaceAll("_", " ")), element("dd", { dir: "auto" }, ...valueOf(name, String(value))));
  }
  return element("details", { className: "where" }, element("summary", {}, "Score and lineage of this version"), list);
}

function valueOf(name, text) {
  if (!DIGEST.test(text)) return [text];
  const shown = element("code", {}, `${text.slice(0, SHORT)}…`);
  const digest = element("button", { type: "button", className: "digest", ariaExpanded: "false", title: "Show all of it" }, shown);
  digest.addEventListener("click", () => {
    const opened = digest.ariaExpanded !== "true";
    digest.ariaExpanded = String(opened);
    shown.textContent = opened ? text : `${text.slice(0, SHORT)}…`;
  });
  return [digest, " ", copyButton(text, name.replaceAll("_", " "), shown)];
}
