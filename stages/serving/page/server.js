// The HTTP service as the page asks it: requests with the token, and every failure as one kind of error.

const TOKEN = "fuseline-token"; // in sessionStorage: gone with the tab

/** What went wrong, in the server's own sentence where it gave one. */
export class Problem extends Error {
  constructor(message, { status = 0, requestId = "", retrySeconds = 0, token = null } = {}) {
    super(message);
    Object.assign(this, { status, requestId, retrySeconds, token });
  }
}

export const token = () => sessionStorage.getItem(TOKEN);
export const keepToken = (value) => sessionStorage.setItem(TOKEN, value);
export const dropToken = () => sessionStorage.removeItem(TOKEN);

/** Ask for JSON: a GET, or a POST where there is a body. */
export async function askJson(path, options = {}) {
  return read(await ask(path, options), "json");
}

/** Ask for bytes, such as an image of the gallery. */
export async function askBlob(path) {
  return read(await ask(path), "blob");
}

/** Ask for an answer that comes in parts (server-sent events): `onPart` takes each; returns the whole. */
export async function askParts(path, options, onPart) {
  const response = await ask(path, options);
  const lost = () => new Problem("The server's answer broke off.", { requestId: requestIdOf(response) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", whole = null; ; ) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : lost();
    });
    if (done && whole) return whole;
    if (done) throw lost();
    const events = (text += value).split(/\r?\n\r?\n/);
    text = events.pop();
    for (const event of events) {
      const line = (name) => new RegExp(`^${name}: ?(.*)$`, "m").exec(event)?.[1];
      if (!line("data")) continue; // a comment that keeps the connection alive
      const data = JSON.parse(line("data"));
      if (line("event") === "problem") throw new Problem(data.error.message, { requestId: data.error.request_id });
      if (line("event") === "answer") whole = data;
      else onPart(data);
    }
  }
}

async function ask(path, { body, signal } = {}) {
  const shown = token();
  const headers = shown ? { Authorization: `Bearer ${shown}` } : {};
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached, or it closed the connection.");
  }
  if (!response.ok) throw await problemOf(response, shown);
  return response;
}

async function read(response, kind) {
  try {
    return await response[kind]();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server's answer broke off or is not as expected.", { requestId: requestIdOf(response) });
  }
}

async function problemOf(response, shown) {
  const { error = {} } = await response.json().catch(() => ({}));
  return new Problem(error.message ?? `The server answered ${response.status} without a reason.`, {
    status: response.status,
    requestId: error.request_id ?? requestIdOf(response),
    retrySeconds: Number(response.headers.get("Retry-After")) || 0,
    token: shown,
  });
}

const requestIdOf = (response) => response.headers.get("X-Request-ID") ?? "";
