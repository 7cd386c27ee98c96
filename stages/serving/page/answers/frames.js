// Which frames of a video counted: each in small, and below it by how much the answer is less likely without it.

import { element } from "../dom.js";

const WIDTH = 96; // of a frame, in pixels
const MOST = 24; // frames shown; of more, the ones that counted most
const LEAST = 0.05; // a fall of probability that fills a bar, if none is larger

/** Return the nodes of a strip of frames; nothing where an answer has none or the browser cannot play the video. */
export function framesThatCounted(answer, video) {
  if (!video || !answer.frames?.length) return [];
  const most = Math.max(...answer.frames.map(Math.abs), LEAST); // what hardly counts has a short bar
  const shown = answer.frames
    .map((fall, place) => ({ fall, seconds: place * answer.frame_seconds }))
    .sort((a, b) => Math.abs(b.fall) - Math.abs(a.fall))
    .slice(0, MOST)
    .sort((a, b) => a.seconds - b.seconds);
  const cells = shown.map((frame) => cell(frame, most));
  draw(video, shown, cells.map(({ canvas }) => canvas));
  const list = element("ol", { className: "frames" }, ...cells.map(({ node }) => node));
  list.setAttribute("aria-label", "Frames of the video, with how much each counted");
  const first = shown.reduce((best, frame) => (frame.fall > best.fall ? frame : best));
  const told =
    first.fall < 0.005
      ? "No single frame counted: without any one of them the answer is as probable."
      : `The frame at ${first.seconds.toFixed(1)} s counted most: without it the answer's probability falls by ${first.fall.toFixed(2)}.`;
  return [element("h3", {}, "Frames"), list, element("p", { className: "note" }, told)];
}

function cell({ fall, seconds }, most) {
  const canvas = element("canvas", { width: WIDTH, height: WIDTH });
  canvas.setAttribute("aria-hidden", "true");
  const bar = element("span", { className: fall < 0 ? "weight against" : "weight" });
  bar.style.inlineSize = `${(100 * Math.abs(fall)) / most}%`;
  const says = `${seconds.toFixed(1)} s: without it the probability ${fall < 0 ? "rises" : "falls"} by ${Math.abs(fall).toFixed(2)}`;
  const text = element("small", {}, `${seconds.toFixed(1)} s`);
  return { canvas, node: element("li", { title: says, ariaLabel: says }, canvas, bar, text) };
}

async function draw(file, frames, canvases) {
  const player = element("video", { muted: true, preload: "auto" });
  const url = URL.createObjectURL(file);
  try {
    await new Promise((done, failed) => Object.assign(player, { onloadeddata: done, onerror: failed, src: url }));
    for (const [place, { seconds }] of frames.entries()) {
      const at = Math.min(seconds + 0.001, player.duration || seconds);
      await new Promise((done, failed) => Object.assign(player, { onseeked: done, onerror: failed, currentTime: at }));
      const canvas = canvases[place];
      canvas.height = Math.max(1, Math.round((WIDTH * player.videoHeight) / player.videoWidth));
      canvas.getContext("2d").drawImage(player, 0, 0, canvas.width, canvas.height);
    }
  } catch {
    canvases.forEach((canvas) => canvas.remove()); // the bars and their times stay
  } finally {
    URL.revokeObjectURL(url);
  }
}
