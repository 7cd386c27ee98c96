// Runs in the audio thread: hands each block of the microphone's samples to the page.

class Microphone extends AudioWorkletProcessor {
  process([[block]]) {
    if (block) this.port.postMessage(block.slice());
    return true;
  }
}

registerProcessor("microphone", Microphone);
