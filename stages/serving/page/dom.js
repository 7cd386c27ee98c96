// Elements from text alone (nothing from the server is ever parsed as HTML), and how values are written.

export const byId = (id) => document.getElementById(id);

/** Make an element; `properties` are its own, `children` are nodes or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set a text of a person into a sentence, so that its direction changes nothing around it. */
export const isolate = (text) => `\u2068${text}\u2069`;

/** Write a probability as a percentage, never as 0 or 100 where it is neither. */
export function percent(probability, digits = 1) {
  const step = 10 ** -digits;
  const value = 100 * probability;
  if (value > 0 && value < step) return `< ${step}%`;
  if (value < 100 && value > 100 - step / 2) return `> ${100 - step}%`;
  return `${value.toFixed(digits)}%`;
}

export const MB = 2 ** 20; // as the server counts

export function megabytes(bytes) {
  return bytes < MB ? `${Math.ceil(bytes / 2 ** 10)} kB` : `${(bytes / MB).toFixed(1)} MB`;
}

/** Make a button that copies a text; where the browser has no clipboard for us, it selects what it would copy. */
export function copyButton(text, what, shown) {
  const button = element("button", { type: "button", className: "copy", ariaLabel: `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    } catch {
      shown.textContent = text;
      getSelection().selectAllChildren(shown);
    }
  });
  return button;
}

/** Show a blob in an image element; the object URL lives only while it decodes. Returns whether it could. */
export async function showBlob(image, blob) {
  const url = URL.createObjectURL(blob);
  image.src = url;
  try {
    await image.decode();
    return true;
  } catch {
    return false;
  } finally {
    URL.revokeObjectURL(url);
  }
}
