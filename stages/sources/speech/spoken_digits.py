"""Spoken digits (Jackson et al., the Free Spoken Digit Dataset): 8 kHz recordings of "zero" to "nine".

With `images: digits` each recording is paired with a scanned digit of the same class (scikit-learn's bundled
8 x 8 pictures, so no further download), and both are degraded so that neither alone suffices. On the official
split a support-vector machine reaches about 0.90 from pixels, 0.90 from cepstra (0.99 from clean recordings) and
0.98 from the product of both. No picture serves two splits.

With `strings` a sample is several digits of one speaker, to be written down: `digit_strings`.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from stages.base.errors import InputError
from stages.raw.archive import open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.speech.digit_strings import Recording, StringsParams, make_strings
from stages.sources.splits import digest, split_by_hash, stream

FILE = "free-spoken-digit-dataset.zip"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.zip"
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<index>\d+)")
OFFICIAL_TEST_INDICES = range(5)

IMAGE_SIZE_PX = 32
IMAGE_NOISE = 60.0  # standard deviation, of 255
HIDDEN_PX = 11  # side of the square that is painted over
AUDIO_SNR_DB = (-3.0, 7.0)  # of white noise; uniform between
IMAGE_FRACTIONS = {"val_fraction": 1 / 6, "test_fraction": 1 / 3}  # of the pictures, by hash


class SpokenDigitsParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def sha256(self) -> str:
        """The digest of the archive; empty accepts any, as GitHub's may change."""

    @property
    def split(self) -> Literal["official", "speaker"]:
        """What is test: the first five recordings of each digit and speaker, or one speaker."""

    @property
    def test_speaker(self) -> str:
        """The speaker who is test, with `split: speaker`."""

    @property
    def images(self) -> Literal["none", "digits"]:
        """Whether a picture of the digit goes with each recording."""

    @property
    def val_fraction(self) -> float:
        """The part of the training recordings that is kept for validation, by hash."""

    @property
    def strings(self) -> StringsParams | Literal["none"]:
        """What strings of digits are made of the recordings, or none."""


class SpokenDigits(Source):
    """One sample is one recording, with or without a picture of the same digit; or a string of recordings."""

    required = ("audio", "label")

    def __init__(self, params: SpokenDigitsParams) -> None:
        """Keep the params.

        Raises:
            InputError: a picture of one digit beside a string of several.
        """
        self.params = params
        self.fields = ("image",) * (params.images == "digits") + ("audio", "label", "group")
        if params.strings != "none":
            if params.images != "none":
                raise InputError("images of the source spoken_digits show one digit: with strings they must be none")
            self.fields, self.required = ("audio", "transcript", "word_times", "group"), ("audio", "transcript")

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive of the repository."""
        return (RemoteFile(FILE, (URL,), tuple(filter(None, (self.params.sha256,)))),)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the recordings in order of their names, or the strings that are made of them."""
        pictures = _pictures() if self.params.images == "digits" else {}
        with open_archive(folder / FILE) as archive:
            members = [n for n in archive.names() if PurePosixPath(n).match("recordings/*.wav")]
            if not members:
                raise InputError(f"{archive.path}: no recordings/*.wav in it; is it the archive of {URL}?")
            self._check_speaker(members)
            recordings: list[Recording] = []
            for member in members:
                name = NAME.fullmatch(PurePosixPath(member).stem)
                if name is None:
                    yield Fault(f"{FILE}: {member}", "expected a name <digit>_<speaker>_<index>.wav")
                elif self.params.strings == "none":
                    yield self._sample(name, archive.read(member), pictures)
                else:
                    recordings.append(Recording(member, int(name["digit"]), name["speaker"], self._split(name)))
            if self.params.strings != "none":
                yield from make_strings(recordings, archive.read, self.params.strings)

    def _check_speaker(self, members: list[str]) -> None:
        names = [NAME.fullmatch(PurePosixPath(member).stem) for member in members]
        speakers = sorted({name["speaker"] for name in names if name})
        if self.params.split == "speaker" and self.params.test_speaker not in speakers:
            raise InputError(
                f"test_speaker of the source spoken_digits is {self.params.test_speaker!r}: "
                f"the archive has {', '.join(speakers)}"
            )

    def _sample(self, name: re.Match[str], audio: bytes, pictures: dict[tuple[str, str], np.ndarray]) -> RawSample:
        sample_id, digit, speaker = name.string, name["digit"], name["speaker"]
        split = self._split(name)
        image, fault = None, None
        if pictures:
            image = draw_digit(sample_id, pictures[split, digit])
            try:
                audio = add_noise(sample_id, audio)
            except ValueError as error:
                fault = str(error)
        return RawSample(sample_id, split, image=image, audio=audio, label=digit, group=speaker, fault=fault)

    def _split(self, name: re.Match[str]) -> str:
        if self.params.split == "official":
            is_test = int(name["index"]) in OFFICIAL_TEST_INDICES
        else:
            is_test = name["speaker"] == self.params.test_speaker
        return "test" if is_test else split_by_hash(name.string, self.params.val_fraction)


def _pictures() -> dict[tuple[str, str], np.ndarray]:
    """Return the pictures (N, 8, 8), values 0 to 16, by (split, digit)."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    chosen: dict[tuple[str, str], list[np.ndarray]] = {}
    for image, digit in zip(bundled.images, bundled.target, strict=True):
        split = split_by_hash(image.astype(np.uint8).tobytes().hex(), **IMAGE_FRACTIONS)
        chosen.setdefault((split, str(digit)), []).append(image)
    return {key: np.stack(images) for key, images in chosen.items()}


def draw_digit(key: str, pictures_NHW: np.ndarray) -> bytes:
    """Choose a picture by the key, enlarge it, hide a square and add noise; return a PNG."""
    picture = pictures_NHW[digest(key) % len(pictures_NHW)]
    size = (IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    large = Image.fromarray((picture * (255 / 16)).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(large).astype(np.float64)
    random = stream(f"{key}/image")
    top, left = random.integers(0, IMAGE_SIZE_PX - HIDDEN_PX + 1, 2)
    pixels[top : top + HIDDEN_PX, left : left + HIDDEN_PX] = random.uniform(0, 255)
    pixels += random.normal(0, IMAGE_NOISE, pixels.shape)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def add_noise(key: str, audio: bytes) -> bytes:
    """Add white noise at a signal-to-noise ratio drawn by the key; return 16-bit WAV.

    Raises:
        ValueError: the bytes are no recording that can be read.
    """
    import soundfile

    try:
        signal, rate_hz = soundfile.read(io.BytesIO(audio), dtype="float64")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"audio does not decode: {error}") from None
    random = stream(f"{key}/audio")
    snr_db = random.uniform(*AUDIO_SNR_DB)
    noise_rms = np.sqrt(np.square(signal).mean()) * 10 ** (-snr_db / 20) if signal.size else 0.0
    noisy = (signal + random.normal(0, 1, signal.shape) * noise_rms).clip(-1, 1)
    out = io.BytesIO()
    soundfile.write(out, noisy, rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()
