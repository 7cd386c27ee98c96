"""Sounds that are longer than a model hears at once: cut into windows that overlap, their transcripts joined again.

Of two windows that overlap, each tells the words on its own side of the middle of the overlap: near its edges a window
lacks what came before, or what comes behind.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from stages.media.audio import decode_audio, seconds_of
from stages.media.text import join

SHARE, MOST_S = 0.4, 3.0  # of a window that overlaps with the next, and the most of it
TIMED = ("spoken", "starts_s", "ends_s", "probabilities")


@dataclass(frozen=True)
class Window:
    """A part of a sound, where it begins, and from when to when its words count, in seconds of the whole."""

    audio: bytes
    start_s: float
    from_s: float
    until_s: float


def windows_of(audio: bytes, seconds: float, rate_hz: int) -> list[Window]:
    """Cut a clean sound into windows of so many seconds; one that is no longer is its only window, as it is.

    Raises:
        AudioError: when it does not decode.
    """
    total = seconds_of(audio)
    if total <= seconds:
        return [Window(audio, 0.0, -math.inf, math.inf)]
    x = decode_audio(audio, rate_hz)
    overlap = min(SHARE * seconds, MOST_S)
    number = math.ceil((total - overlap) / (seconds - overlap))
    starts = np.linspace(0, total - seconds, number)  # evenly: the last is as long as the others
    middles = [(one + seconds + other) / 2 for one, other in zip(starts, starts[1:], strict=False)]
    edges = [-math.inf, *middles, math.inf]
    return [
        Window(_part(x, rate_hz, start, seconds), float(start), float(edges[i]), float(edges[i + 1]))
        for i, start in enumerate(starts)
    ]


def _part(x: np.ndarray, rate_hz: int, start_s: float, seconds: float) -> bytes:
    begin = round(start_s * rate_hz)
    out = io.BytesIO()
    soundfile.write(out, x[begin : begin + round(seconds * rate_hz)], rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()


def within(window: Window, answer: dict[str, Any]) -> dict[str, Any]:
    """Return a window's transcript in seconds of the whole sound, of the words that count."""
    starts, ends = ([round(at + window.start_s, 3) for at in answer[key]] for key in ("starts_s", "ends_s"))
    middles = [(start + end) / 2 for start, end in zip(starts, ends, strict=True)]
    kept = [i for i, middle in enumerate(middles) if window.from_s <= middle < window.until_s]
    timed = answer | {"starts_s": starts, "ends_s": ends}
    found = {key: [timed[key][i] for i in kept] for key in TIMED}
    return {"transcript": join(found["spoken"]), **found}


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the transcript of a whole sound from those of its windows, as `within` gives them."""
    found = {key: [value for part in parts for value in part[key]] for key in TIMED}
    return {"transcript": join(found["spoken"]), **found}
