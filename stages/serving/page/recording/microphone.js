// Records the microphone as a 16-bit mono WAV: what browsers record by themselves (WebM, MP4) the server does not decode.

const REASONS = {
  NotAllowedError: "The browser does not let this page use the microphone; allow it in the site's settings, or choose a file.",
  NotFoundError: "No microphone was found; choose a file instead.",
  NotReadableError: "The microphone is in use by another program.",
};

/** Say why recording cannot even be tried here; empty where it can. */
export function whyNoMicrophone() {
  if (!window.isSecureContext) return "Recording needs https or localhost; here, choose a file.";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "This browser cannot record; choose a file.";
  return "";
}

/**
 * Start to record; `onBlock(seconds, level)` is called as sound comes in, with a level of 0 to 1.
 * Resolves to a function that ends the recording and returns the WAV as a Blob. Throws an Error that says why not.
 */
export async function startRecording(onBlock) {
  let stream, context;
  const blocks = [];
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false } });
    context = new AudioContext();
    await context.audioWorklet.addModule(new URL("microphone-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "microphone", { channelCount: 1, channelCountMode: "explicit" });
    let length = 0;
    node.port.onmessage = ({ data }) => {
      blocks.push(data);
      length += data.length;
      onBlock(length / context.sampleRate, Math.max(...data.map(Math.abs)));
    };
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // silent, but keeps it running
    await context.resume();
  } catch (error) {
    release(stream, context);
    throw new Error(REASONS[error.name] ?? `The microphone does not work: ${error.message}`);
  }
  return () => {
    release(stream, context);
    return wav(blocks, context.sampleRate);
  };
}

function release(stream, context) {
  stream?.getTracks().forEach((track) => track.stop());
  context?.close();
}

/** Write Float32 blocks as a WAV file: a header of 44 bytes, then little-endian 16-bit samples. */
export function wav(blocks, rateHz) {
  const numSamples = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * numSamples));
  const letters = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * numSamples, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rateHz, true);
  view.setUint32(28, 2 * rateHz, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  letters(36, "data");
  view.setUint32(40, 2 * numSamples, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
