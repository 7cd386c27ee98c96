// The record button of the sound's field: level and seconds while it runs, then the sound to listen to before it is sent.

import { say, setFile } from "../inputs.js";
import { startRecording, whyNoMicrophone } from "./microphone.js";

const field = document.querySelector("[data-modality=audio]");
const button = field.querySelector(".record");
const label = field.querySelector(".record-label");
const panel = field.querySelector(".recording");
let maxSeconds = Infinity; // until a model is chosen, which says its own
let running = null; // ends the recording and returns the sound
let starting = false;
let shownLevel = 0;

/** Wire the record button; where recording cannot work, say why in its place. */
export function wireRecording() {
  const reason = whyNoMicrophone();
  button.hidden = Boolean(reason);
  if (reason) say("audio", reason);
  button.addEventListener("click", () => (running ? endRecording() : begin()));
  addEventListener("pagehide", endRecording);
}

/** Take over how long a sound may be. */
export const limitRecording = (seconds) => (maxSeconds = seconds);

async function begin() {
  if (starting) return;
  starting = true;
  say("audio", "");
  try {
    running = await startRecording(progress);
    show(true);
  } catch (error) {
    say("audio", error.message);
  } finally {
    starting = false;
  }
}

/** End a recording that runs and take what it holds. */
export function endRecording() {
  if (!running) return;
  const sound = running();
  running = null;
  show(false);
  setFile("audio", sound, "Recording");
}

function progress(seconds, level) {
  if (!running) return;
  shownLevel = Math.max(Math.sqrt(level), 0.97 * shownLevel); // the root is closer to how loudness is heard; peaks fade
  panel.querySelector(".level").value = shownLevel;
  const text = `${seconds.toFixed(0)} s of ${maxSeconds} s`;
  const shown = panel.querySelector(".seconds");
  if (shown.textContent !== text) shown.textContent = text;
  if (seconds >= maxSeconds - 0.1) endRecording();
}

function show(recording) {
  panel.hidden = !recording;
  field.classList.toggle("live", recording);
  label.textContent = recording ? "Stop" : "Record";
}
