"""Videos of a few frames, made here: of any container and codec, with times, sound, a turn and things beside."""

import io
from collections.abc import Sequence
from typing import Any

import av
import numpy as np

RATE_HZ = 10
SIZE = (48, 32)  # width, height
SOUND_HZ = 8000
TITLE = "filmed at 52.5 N 13.4 E"
LOSSLESS = {"codec": "libx264rgb", "options": {"qp": "0"}}


def shades(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Make frames that differ: each of one shade, with a bright mark at the top left that turning moves."""
    frames = np.zeros((number, size[1], size[0], 3), np.uint8)
    frames += (20 + 180 * np.arange(number) / max(1, number - 1)).astype(np.uint8)[:, None, None, None]
    frames[:, : size[1] // 4, : size[0] // 4] = 250
    return frames


def video(
    frames: np.ndarray | None = None,
    kind: str = "mp4",
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    **more: Any,
) -> bytes:
    """Encode uint8 frames (T, H, W, 3), shown at `times` in tenths of a second.

    `more`: `options` of the codec, `pixels` its format, `sound_s`, `turn` in degrees, `title`, `beside` for subtitles
    and an attachment.
    """
    frames = shades(RATE_HZ) if frames is None else frames
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, RATE_HZ, options=more.get("options", {}))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = more.get("pixels", "rgb24" if codec == "libx264rgb" else "yuv420p")
        if turn := more.get("turn"):
            stream.set_display_rotation(turn)
        if title := more.get("title"):
            container.metadata["title"] = stream.metadata["comment"] = title
        sound = container.add_stream("aac", SOUND_HZ, layout="mono") if more.get("sound_s") else None
        beside = _beside(container) if more.get("beside") else None
        for pixels, at in zip(frames, times if times is not None else range(len(frames)), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = at
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
        if sound:
            _add_sound(container, sound, more["sound_s"])
        if beside:
            packet = av.Packet(TITLE.encode())
            packet.stream, packet.pts, packet.dts, packet.duration = beside, 0, 0, 500
            container.mux(packet)
    return out.getvalue()


def _beside(container: Any) -> Any:
    container.add_attachment("secret.txt", "text/plain", TITLE.encode())
    return container.add_mux_stream("subrip")


def _add_sound(container: Any, stream: Any, seconds: float) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = SOUND_HZ, 0
    fifo = av.AudioFifo()
    fifo.write(frame)
    for part in fifo.read_many(stream.frame_size or 1024, partial=True):
        container.mux(stream.encode(part))
    container.mux(stream.encode())
