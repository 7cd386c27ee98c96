"""Small data for the stages' tests: params with single values replaced, media, Flickr8k in its public layout."""

import copy
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image
from ruamel.yaml import YAML

from stages.base.store import sha256_file
from stages.params import Params, load_params
from stages.sources.flickr8k import CAPTIONS, IMAGES, LISTS, TEXT

PROJECT = Path(__file__).parents[2]
REMOVED = object()
"""The value of a key that is left out."""


@cache
def _own_params() -> dict[str, Any]:
    return YAML(typ="safe").load(PROJECT / "params.yaml")


def write_params(path: Path, changes: dict[str, Any]) -> Path:
    """Write the project's own params with the value at each `section.key` replaced, added or removed.

    Each experiment starts from nothing, so that a test can run or change one alone.
    """
    values = copy.deepcopy(_own_params())
    for experiment in values["experiments"].values():
        experiment["init"] = "none"
    for place, value in changes.items():
        *sections, key = place.split(".")
        section = values
        for name in sections:
            section = section[name]
        if value is REMOVED:
            del section[key]
        else:
            section[key] = copy.deepcopy(value)  # later changes may go into it
    YAML(typ="safe").dump(values, path)
    return path


def make_params(folder: Path, changes: dict[str, Any]) -> Params:
    return load_params(write_params(folder / "params.yaml", changes))


def make_image(seed: int = 0, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Image.Image:
    """Make a smooth picture that differs from seed to seed and at every corner."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def sound(seconds: float = 0.05, rate_hz: int = 8000, pitch_hz: float = 440.0) -> bytes:
    """Make a plain tone as a WAV of 16 bits and one channel."""
    wave = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    out = io.BytesIO()
    soundfile.write(out, wave, rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()


def caption_rows(names: list[str]) -> str:
    """Write five captions for each image, as the public file does."""
    return "".join(f"{name}#{number}\tA dog number {number} runs .\n" for name in names for number in range(5))


def write_flickr8k(
    folder: Path, images: dict[str, bytes], captions: str, lists: dict[str, list[str]]
) -> dict[str, str]:
    """Write both archives, with what macOS adds to the public ones; return their section of `datasets`."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / IMAGES, "w") as archive:
        for name, data in images.items():
            archive.writestr(f"Flicker8k_Dataset/{name}", data)
            archive.writestr(f"__MACOSX/Flicker8k_Dataset/._{name}", b"\0\5\x16\7")
    with zipfile.ZipFile(folder / TEXT, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CAPTIONS, captions)
        archive.writestr(f"__MACOSX/._{CAPTIONS}", b"\0\5\x16\7")
        archive.writestr("readme.txt", "If you publish ...")
        for split, file_name in LISTS.items():
            archive.writestr(file_name, "".join(f"{name}\n" for name in lists.get(split, [])))
    return {
        "source": "flickr8k",
        "folder": "none",
        "mirror": str(folder),
        "images_sha256": sha256_file(folder / IMAGES),
        "text_sha256": sha256_file(folder / TEXT),
    }
