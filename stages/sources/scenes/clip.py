"""Encodes frames as a clip that decodes to the same pixels: H.264 of RGB, one thread, no dates or versions in it."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags

CODEC, PIXELS = "libx264rgb", "rgb24"
OPTIONS = {"qp": "0", "preset": "medium", "bf": "0"}
"""No loss, and frames in the order in which they are shown."""
WITHOUT_VERSION = "filter_units=remove_types=6"
"""The encoder signs its first frame with its version and settings."""


def encode(frames: Sequence[np.ndarray], rate_hz: int) -> bytes:
    """Return frames, (H, W, C) in uint8, as an MP4 file; the same frames give the same bytes."""
    file = BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(CODEC, rate=rate_hz, options=OPTIONS)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = PIXELS
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        unsigned = BitStreamFilterContext(WITHOUT_VERSION, stream)
        for frame in (*(av.VideoFrame.from_ndarray(pixels, format=PIXELS) for pixels in frames), None):
            for packet in stream.encode(frame):
                container.mux(unsigned.filter(packet))
    return file.getvalue()
