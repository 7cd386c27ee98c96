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


class HuggingFaceParams(Section):
    """Features of a frozen Hugging Face text model, by name or folder."""

    dataset: str
    modality: Literal["text"]
    extractor: Literal["huggingface"]
    column: TextColumn
    model: str
    level: Literal["pooled", "token"]
    max_words: Count
    batch_size: Count


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
