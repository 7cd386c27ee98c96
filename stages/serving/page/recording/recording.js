// The record buttons of the sound's and the video's field: level or picture and seconds while one runs, then what was
// recorded, to be heard or seen before it is sent.

import { say, setFile } from "../inputs.js";
import { startFilming, whyNoCamera } from "./camera.js";
import { startRecording, whyNoMicrophone } from "./microphone.js";

const recorders = { audio: recorder("audio", whyNoMicrophone, startRecording), video: recorder("video", whyNoCamera, startFilming) };

/** Wire the record buttons; where recording cannot work, say why in its place. */
export function wireRecording() {
  for (const { wire } of Object.values(recorders)) wire();
  addEventListener("pagehide", () => endRecording());
}

/** Take over how long a sound and a video may be. */
export function limitRecording(seconds) {
  for (const [modality, most] of Object.entries(seconds)) recorders[modality].limit(most ?? Infinity);
}

/** End the recordings that run, or those of some modalities, and take what they hold. */
export async function endRecording(modalities = Object.keys(recorders)) {
  await Promise.all(modalities.map((modality) => recorders[modality].end()));
}

/** Make what runs one field's button; `start(progress, field)` resolves to a function that ends it and returns a Blob. */
function recorder(modality, whyNot, start) {
  const field = document.querySelector(`[data-modality=${modality}]`);
  const button = field.querySelector(".record");
  const label = field.querySelector(".record-label");
  const panel = field.querySelector(".recording");
  let maxSeconds = Infinity; // until a model is chosen, which says its own
  let running = null; // ends the recording and returns it
  let starting = false;
  let shownLevel = 0;

  async function begin() {
    if (starting) return;
    starting = true;
    say(modality, "");
    try {
      running = await start(progress, panel);
      show(true);
    } catch (error) {
      say(modality, error.message);
    } finally {
      starting = false;
    }
  }

  async function end() {
    if (!running) return;
    const stop = running;
    running = null;
    show(false);
    setFile(modality, await stop(), "Recording");
  }

  function progress(seconds, level) {
    if (!running) return;
    const meter = panel.querySelector(".level");
    shownLevel = Math.max(Math.sqrt(level), 0.97 * shownLevel); // the root is closer to how loudness is heard; peaks fade
    if (meter) meter.value = shownLevel;
    const text = maxSeconds === Infinity ? `${seconds.toFixed(0)} s` : `${seconds.toFixed(0)} s of ${maxSeconds} s`;
    const shown = panel.querySelector(".seconds");
    if (shown.textContent !== text) shown.textContent = text;
    if (seconds >= maxSeconds - 0.1) end();
  }

  function show(recording) {
    panel.hidden = !recording;
    field.classList.toggle("live", recording);
    label.textContent = recording ? "Stop" : "Record";
  }

  function wire() {
    const reason = whyNot();
    button.hidden = Boolean(reason);
    if (reason) say(modality, reason);
    button.addEventListener("click", () => (running ? end() : begin()));
  }

  return { wire, end, limit: (seconds) => (maxSeconds = seconds) };
}
