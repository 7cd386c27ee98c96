"""What every section of params.yaml is made of: kinds of numbers, names of variants, strict keys; and the plainest."""

import ast
import contextlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
NONE = "none"  # what stands in params.yaml where there is nothing; DVC needs every slot filled


def _is_colour(name: str) -> str:
    from PIL import ImageColor

    channels: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        channels = ImageColor.getrgb(name)
    if len(channels) != 3:
        raise ValueError("a colour such as white, black or '#f0f0f0'")
    return name


Colour = Annotated[str, AfterValidator(_is_colour)]


def variant_names(folder: str, under: str | None = None) -> tuple[str, ...]:
    """Read the keys of the literal dict in `stages/<folder>/__init__.py` without importing it.

    `under` is a key of that dict: then those of the dict that it holds.
    """
    source = (Path(__file__).parents[1] / folder / "__init__.py").read_text(encoding="utf8")
    found = next(v for n in ast.parse(source).body if isinstance(v := getattr(n, "value", None), ast.Dict))
    if under:
        entries = zip(found.keys, found.values, strict=True)
        inner = next(v for k, v in entries if k is not None and ast.literal_eval(k) == under)
        assert isinstance(inner, ast.Dict), f"stages/{folder}/__init__.py: {under} is no literal dict"
        found = inner
    return tuple(ast.literal_eval(key) for key in found.keys if key is not None)


def variant(folder: str, under: str | None = None, also: tuple[str, ...] = ()) -> AfterValidator:
    """Return the check that a value is the name of a variant in a folder, or one of `also`."""

    def check(name: str) -> str:
        allowed = (*variant_names(folder, under), *also)
        if name not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return name

    return AfterValidator(check)


class Section(BaseModel):
    """A section of params.yaml: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BaseParams(Section):
    """What every stage shares."""

    seed: Annotated[int, Field(ge=0)]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Count
    feature_cache_gb: Positive

    def hardware(self) -> tuple[str, str, int]:
        """Return device, precision and threads, as `base.device.set_up` takes them."""
        return self.device, self.precision, self.threads


class DownloadParams(Section):
    """Bounds on archives."""

    max_members: Count
    max_total_gb: Positive
    max_member_mb: Positive


class PrepareParams(Section):
    """Cleaning, vocabulary and Parquet sizes."""

    max_bad_fraction: Fraction
    max_image_megapixels: Annotated[float, Field(gt=0, le=178)]  # Pillow refuses larger ones itself
    transparent_on: Colour = "white"  # versions from before it was a value are rebuilt without it
    max_audio_seconds: Positive
    max_video_seconds: Positive = 60.0  # also of versions from before there were videos, as the next
    max_video_megapixels: Positive = 9.0
    min_word_count: Count
    shard_mb: Count
