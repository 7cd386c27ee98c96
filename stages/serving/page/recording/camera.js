// Records the camera, and the microphone with it where there is one, as the browser writes videos: WebM or MP4.

const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera; allow it in the site's settings, or choose a file.",
  NotFoundError: "No camera was found; choose a file instead.",
  NotReadableError: "The camera is in use by another program.",
};
const TICK_MS = 200;

/** Say why filming cannot even be tried here; empty where it can. */
export function whyNoCamera() {
  if (!window.isSecureContext) return "Recording needs https or localhost; here, choose a file.";
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return "This browser cannot record; choose a file.";
  return "";
}

/**
 * Start to film and show it in the panel; `onTick(seconds, 0)` is called as time passes.
 * Resolves to a function that ends the recording and resolves to a Blob. Throws an Error that says why not.
 */
export async function startFilming(onTick, panel) {
  const stream = await open();
  const pieces = [];
  const recorder = new MediaRecorder(stream);
  recorder.addEventListener("dataavailable", ({ data }) => pieces.push(data));
  recorder.start();
  const begun = performance.now();
  const ticking = setInterval(() => onTick((performance.now() - begun) / 1000, 0), TICK_MS);
  const view = panel.querySelector("video");
  view.srcObject = stream;
  view.play().catch(() => {}); // a view that cannot play does not end the recording
  return async () => {
    clearInterval(ticking);
    const ended = new Promise((done) => recorder.addEventListener("stop", done));
    if (recorder.state !== "inactive") recorder.stop();
    await ended;
    view.srcObject = null;
    stream.getTracks().forEach((track) => track.stop());
    return new Blob(pieces, { type: recorder.mimeType.split(";")[0] || "video/webm" });
  };
}

async function open() {
  const { mediaDevices } = navigator;
  try {
    return await mediaDevices.getUserMedia({ video: true, audio: true });
  } catch {
    try {
      return await mediaDevices.getUserMedia({ video: true }); // without a microphone, or leave to use it
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera does not work: ${error.message}`);
    }
  }
}
