"""Sounds as encoded bytes: checked that they decode, made mono, and stripped of metadata without loss where possible.

libsndfile decodes: WAV, FLAC, Ogg, MP3, AIFF and more. All that leaves here has 16 bits and one channel.
"""

import contextlib
import io
import math
import wave
from collections.abc import Iterator

import numpy as np
import soundfile

from stages.base.errors import MediaError

RATES_HZ = (1_000, 192_000)  # the lowest and highest allowed
MAX_CHANNELS = 8
FULL_SCALE = 2**15
BLOCK_FRAMES = 2**16
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's word for a header that leaves the length open
STREAMED_BYTES = 0x7FFFF000  # and up: the size that programs write in a WAV header when they do not know it yet


class AudioError(MediaError):
    """The bytes are no sound that can be used; the message is the reason."""


class _Forward(soundfile.SoundFile):
    """Read from front to end without seeking, which fails at the end of a FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


def clean_audio(data: bytes, max_seconds: float) -> tuple[bytes, int]:
    """Return the sound as 16-bit mono without metadata, and its rate in Hz.

    A WAV stays a WAV, byte by byte if it is 16-bit mono and holds nothing else; others become FLAC.
    16-bit mono loses nothing; channels are averaged and other number formats rounded.

    Raises:
        AudioError: when it does not decode, is empty, too long, or of a rate or number of channels not allowed.
    """
    x, rate_hz, kind = _read(data, max_seconds)
    samples = np.clip(np.rint(x * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    out = io.BytesIO()
    if kind in ("WAV", "WAVEX"):
        with wave.open(out, "wb") as file:
            file.setparams((1, 2, rate_hz, len(samples), "NONE", ""))
            file.writeframes(samples.tobytes())
    else:
        soundfile.write(out, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue(), rate_hz


def decode_audio(data: bytes, rate_hz: int, max_seconds: float = 3600.0) -> np.ndarray:
    """Decode to float32 mono (num_samples,) in -1..1 at the given rate, resampled by a polyphase filter.

    Raises:
        AudioError: as `clean_audio`.
    """
    x, own_rate_hz, _ = _read(data, max_seconds)
    common = math.gcd(rate_hz, own_rate_hz)
    if rate_hz != own_rate_hz:
        from scipy.signal import resample_poly  # two seconds of imports

        x = resample_poly(x, rate_hz // common, own_rate_hz // common)
    return x.astype(np.float32, copy=False)


def seconds_of(data: bytes) -> float:
    """Return how long a clean sound is by its header.

    Raises:
        AudioError: when it does not decode.
    """
    with _decoding(), soundfile.SoundFile(io.BytesIO(data)) as file:
        return float(file.frames / file.samplerate)


def _read(data: bytes, max_seconds: float) -> tuple[np.ndarray, int, str]:
    """Return the whole sound as float32 mono, its rate in Hz and the name of its format."""
    with _decoding(), _Forward(io.BytesIO(data)) as file:
        _check_header(file, max_seconds)
        blocks = list(_mono_blocks(file, max_seconds))
        x = np.concatenate([np.zeros(0, np.float32), *blocks])
        _check_whole(data, file, len(x))
    if not len(x):
        raise AudioError("audio is empty")
    if not np.isfinite(x).all():
        raise AudioError("audio holds values that are not finite numbers")
    return x, file.samplerate, file.format


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Name the reason without the address in memory that libsndfile's own message carries."""
    try:
        yield
    except soundfile.SoundFileError as error:
        raise AudioError(f"audio does not decode: {getattr(error, 'error_string', error)}") from None


def _check_header(file: soundfile.SoundFile, max_seconds: float) -> None:
    low, high = RATES_HZ
    if not low <= file.samplerate <= high:
        raise AudioError(f"audio at {file.samplerate} Hz; allowed are {low} to {high} Hz")
    if file.channels > MAX_CHANNELS:
        raise AudioError(f"audio of {file.channels} channels; at most {MAX_CHANNELS} allowed")
    if file.frames != UNKNOWN_FRAMES:
        _check_length(file.frames, file.samplerate, max_seconds)


def _check_length(num_frames: int, rate_hz: int, max_seconds: float) -> None:
    if num_frames > max_seconds * rate_hz:
        raise AudioError(f"audio longer than {max_seconds:g} s, which is the most allowed")


def _mono_blocks(file: soundfile.SoundFile, max_seconds: float) -> Iterator[np.ndarray]:
    """Decode up to the bound, whatever the header says of the length."""
    num_frames = 0
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        num_frames += len(block)
        _check_length(num_frames, file.samplerate, max_seconds)
        yield block.mean(axis=1)


def _check_whole(data: bytes, file: soundfile.SoundFile, num_frames: int) -> None:
    """Refuse a sound cut short: libsndfile gives what is there, and mends the length in a WAV header silently."""
    fewer = num_frames < file.frames != UNKNOWN_FRAMES and file.format != "MP3"  # whose length is an estimate
    if fewer or (file.format in ("WAV", "WAVEX") and _wav_is_short(data)):
        raise AudioError("audio is cut short: its header promises more than there is")


def _wav_is_short(data: bytes) -> bool:
    """Tell whether the data chunk of a RIFF file ends before its size (Microsoft, RIFF WAVE, chunk layout)."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return at + 8 + size > len(data) and size < STREAMED_BYTES
        at += 8 + size + size % 2
    return False
