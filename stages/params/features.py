"""The section `features`: a frozen extractor for one modality of a data set."""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.params.section import Count, Positive, Section


class PixelsParams(Section):
    """Features that are the resized image itself."""

    dataset: str
    modality: Literal["image"]
    extractor: Literal["pixels"]
    size_px: Annotated[int, Field(ge=8, le=1024)]
    batch_size: Count


class TorchvisionParams(Section):
    """Features of a frozen torchvision classification backbone."""

    dataset: str
    modality: Literal["image"]
    extractor: Literal["torchvision"]
    size_px: Annotated[int, Field(ge=32, le=1024)]
    batch_size: Count
    backbone: str
    weights: str
    weights_sha256: str
    layer: Literal["grid", "pooled"]


TextColumn = Literal["texts", "message", "questions"]


class TokensParams(Section):
    """Texts as the numbers of their words."""

    dataset: str
    modality: Literal["text"]
    extractor: Literal["tokens"]
    column: TextColumn
    max_words: Count
    batch_size: Count


class HuggingFaceBase(Section):
    """A frozen Hugging Face model: a folder, or a name on the hub with the revision that fixes it."""

    dataset: str
    extractor: Literal["huggingface"]
    model: str
    revision: str = ""
    level: Literal["pooled", "token"]
    layer: int = -1
    batch_size: Count


class HuggingFaceTextParams(HuggingFaceBase):
    """Features of texts."""

    modality: Literal["text"]
    column: TextColumn
    max_words: Count


class HuggingFaceImageParams(HuggingFaceBase):
    """Features of images; `pool` x `pool` cells become one."""

    modality: Literal["image"]
    pool: Count = 1


class HuggingFaceAudioParams(HuggingFaceBase):
    """Features of sounds, cut after `seconds`."""

    modality: Literal["audio"]
    seconds: Positive


HuggingFaceParams = Annotated[
    HuggingFaceTextParams | HuggingFaceImageParams | HuggingFaceAudioParams, Field(discriminator="modality")
]


class LogMelParams(Section):
    """Log-mel spectrograms of sound."""

    dataset: str
    modality: Literal["audio"]
    extractor: Literal["log_mel"]
    rate_hz: Annotated[int, Field(ge=1000, le=192_000)]
    seconds: Positive
    mel_bands: Annotated[int, Field(ge=8, le=256)]
    window_ms: Positive
    hop_ms: Positive
    batch_size: Count


FeaturesParams = Annotated[
    PixelsParams | TorchvisionParams | TokensParams | HuggingFaceParams | LogMelParams,
    Field(discriminator="extractor"),
]


def column_of(features: Any) -> str:
    """Return the prepared column that a section of `features` reads."""
    return getattr(features, "column", features.modality)
