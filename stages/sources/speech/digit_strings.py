"""Strings of spoken digits: recordings of one speaker, one after another, with silence between.

The recordings of a string are of one split, so none serves two. String i depends on i and on which recordings there
are: asking for more leaves those before as they were.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.base.errors import InputError
from stages.sources.base import RawSample
from stages.sources.splits import stream

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class StringsParams(Protocol):
    """What is asked of the strings."""

    @property
    def digits(self) -> Sequence[int]:
        """The fewest and the most digits of a string."""

    @property
    def count(self) -> int:
        """How many strings, all splits together; a split and a speaker have as many as their recordings are."""

    @property
    def silence_s(self) -> Sequence[float]:
        """The shortest and the longest silence between two digits."""


@dataclass(frozen=True)
class Recording:
    """One digit, where it lies in the archive and on which split."""

    member: str
    digit: int
    speaker: str
    split: str


def make_strings(
    recordings: Sequence[Recording], read: Callable[[str], bytes], params: StringsParams
) -> Iterator[RawSample]:
    """Yield the strings; a recording that cannot be read is a fault of those that have it.

    Raises:
        InputError: a speaker has fewer recordings on a split than a string has digits.
    """
    if not recordings:
        return
    pools: dict[tuple[str, str], list[Recording]] = {}
    for recording in recordings:
        pools.setdefault((recording.split, recording.speaker), []).append(recording)
    (split, speaker), pool = min(pools.items(), key=lambda entry: len(entry[1]))
    if len(pool) < params.digits[1]:
        raise InputError(
            f"strings.digits of the source spoken_digits asks for {params.digits[1]}: {speaker} has only {len(pool)} "
            f"recordings on the split {split}; ask for fewer, or raise val_fraction"
        )
    for index in range(params.count):
        random = stream(f"string/{index}")
        first = recordings[int(random.integers(len(recordings)))]
        pool = pools[first.split, first.speaker]
        length = int(random.integers(params.digits[0], params.digits[1], endpoint=True))
        chosen = [pool[i] for i in random.choice(len(pool), length, replace=False)]
        pauses_s = random.uniform(params.silence_s[0], params.silence_s[1], size=length - 1)
        yield _sample(f"string-{index:06d}", chosen, pauses_s, read)


def _sample(
    sample_id: str, chosen: Sequence[Recording], pauses_s: np.ndarray, read: Callable[[str], bytes]
) -> RawSample:
    split, speaker = chosen[0].split, chosen[0].speaker
    try:
        audio, word_times = _joined([(recording.member, read(recording.member)) for recording in chosen], pauses_s)
    except ValueError as error:
        return RawSample(sample_id, split, group=speaker, fault=str(error))
    transcript = " ".join(WORDS[recording.digit] for recording in chosen)
    return RawSample(sample_id, split, audio=audio, transcript=transcript, word_times=word_times, group=speaker)


def _joined(
    members: Sequence[tuple[str, bytes]], pauses_s: np.ndarray
) -> tuple[bytes, tuple[tuple[float, float], ...]]:
    """Return the recordings with silence between as 16-bit WAV, and from when to when each is heard.

    Raises:
        ValueError: one does not decode, has several channels, or another rate than the first.
    """
    import soundfile

    pieces: list[np.ndarray] = []
    word_times: list[tuple[float, float]] = []
    rate_hz = samples = 0
    for (member, data), pause_s in zip(members, (*pauses_s, 0.0), strict=True):
        try:
            signal, own_hz = soundfile.read(io.BytesIO(data), dtype="int16")
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{member}: audio does not decode: {error}") from None
        rate_hz = rate_hz or own_hz
        if signal.ndim > 1 or own_hz != rate_hz or not len(signal):
            raise ValueError(f"{member}: expected some sound of one channel at {rate_hz} Hz, as before it")
        word_times.append((samples / rate_hz, (samples + len(signal)) / rate_hz))
        pieces += [signal, np.zeros(round(pause_s * rate_hz), np.int16)]
        samples += sum(map(len, pieces[-2:]))
    out = io.BytesIO()
    soundfile.write(out, np.concatenate(pieces), rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue(), tuple(word_times)
