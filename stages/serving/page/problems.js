// What went wrong, said near the form: the server's own sentence, its request id, and what can be done now.

import { byId, copyButton, element } from "./dom.js";
import { dropToken, keepToken, token } from "./server.js";

const LONGEST_WAIT = 60; // seconds; past that the person says when to try again

const region = byId("problem");
const tokenForm = byId("token-form");
let countdown = null;
let afterToken = null;

/** Remove what is said. */
export function clearProblem() {
  clearInterval(countdown);
  region.hidden = true;
  region.replaceChildren();
}

/**
 * Say what went wrong. `again()` asks once more: by a button, and by itself after a while where the server names
 * one and `mayRetry` says that this was the first time.
 */
export function showProblem(problem, again = null, mayRetry = false) {
  clearProblem();
  if (problem.status === 401) return askForToken(problem, again);
  const parts = [element("p", {}, problem.message)];
  if (problem.status === 503) parts.push(waiting(problem.retrySeconds, again, mayRetry));
  if (problem.requestId) parts.push(requestId(problem.requestId));
  if (again && [0, 408, 503].includes(problem.status)) parts.push(againButton(again));
  say(parts);
}

function say(parts) {
  region.replaceChildren(...parts);
  region.hidden = false;
  region.scrollIntoView({ block: "nearest" });
}

function waiting(seconds, again, mayRetry) {
  if (!seconds) return element("p", {}, "Try again in a moment.");
  if (!mayRetry || seconds > LONGEST_WAIT) return element("p", {}, `Try again in ${seconds} seconds.`);
  let left = seconds;
  const shown = element("span", {}, String(left));
  const line = element("p", {}, "Trying again by itself in ", shown, " s.");
  countdown = setInterval(() => {
    left -= 1;
    if (left > 0) return (shown.textContent = String(left));
    clearProblem();
    again();
  }, 1000);
  return line;
}

function requestId(id) {
  const code = element("code", {}, id);
  return element("p", { className: "note" }, "request ", code, " ", copyButton(id, "the request id", code));
}

function againButton(again) {
  const button = element("button", { type: "button" }, "Try again");
  button.addEventListener("click", () => {
    clearProblem();
    again();
  });
  return button;
}

function askForToken(problem, again) {
  if (problem.token !== token()) return again?.(); // another was given since this request was sent
  dropToken();
  afterToken = again;
  tokenForm.hidden = false;
  say([element("p", {}, problem.token ? "The server does not accept this token." : problem.message), requestId(problem.requestId)]);
  byId("token").focus();
}

/** Wire the form that takes a token. */
export function wireToken() {
  tokenForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("token");
    if (!field.value.trim()) return;
    keepToken(field.value.trim());
    field.value = "";
    tokenForm.hidden = true;
    clearProblem();
    afterToken?.();
  });
}
