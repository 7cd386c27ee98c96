"""The section `features`: a frozen extractor for one modality of a data set."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.params.section import NONE, Count, Positive, Section

PIXELS, MODEL_INPUT = "pixels", "model_input"  # what encoders from pretrained weights read


class FeaturesBase(Section):
    """What all features have: the data set, and for texts the experiment that writes them, if it is not the source."""

    dataset: str
    answers: str = NONE  # versions from before it was a value are rebuilt without it


class PixelsParams(FeaturesBase):
    """Features that are the resized image itself."""

    modality: Literal["image"]
    extractor: Literal["pixels"]
    size_px: Annotated[int, Field(ge=8, le=1024)]
    batch_size: Count


class TorchvisionParams(FeaturesBase):
    """Features of a frozen torchvision classification backbone."""

    modality: Literal["image"]
    extractor: Literal["torchvision"]
    size_px: Annotated[int, Field(ge=32, le=1024)]
    batch_size: Count
    backbone: str
    weights: str
    weights_sha256: str
    layer: Literal["grid", "pooled"]


class TorchvisionVideoParams(TorchvisionParams):
    """The same of frames of a video, `fps` in a second for `seconds`; `pool` x `pool` cells become one."""

    modality: Literal["video"]  # type: ignore[assignment]
    fps: Positive
    seconds: Positive
    pool: Count = 1


def _is_part(crop: list[float]) -> list[float]:
    if len(crop) != 4 or not (0 <= crop[0] < crop[2] <= 1 and 0 <= crop[1] < crop[3] <= 1):
        raise ValueError("left, top, right and bottom as shares of the sides, such as [0.25, 0.5, 0.75, 1.0]")
    return crop


class FramesParams(FeaturesBase):
    """Features that are the resized frames of a video, or what differs from each to the next; `crop` is a part."""

    modality: Literal["video"]
    extractor: Literal["frames"]
    fps: Positive
    seconds: Positive
    size_px: Annotated[int, Field(ge=8, le=1024)]
    difference: bool = False
    crop: Annotated[list[float], AfterValidator(_is_part)] = [0.0, 0.0, 1.0, 1.0]
    batch_size: Count


TextColumn = Literal["texts", "message", "transcript", "questions"]


class TokensParams(FeaturesBase):
    """Texts as the numbers of their words."""

    modality: Literal["text"]
    extractor: Literal["tokens"]
    column: TextColumn
    max_words: Count
    batch_size: Count


class Utf8Params(FeaturesBase):
    """Texts as they are, for a language model that reads them."""

    modality: Literal["text"]
    extractor: Literal["utf8"]
    column: TextColumn
    max_bytes: Count
    batch_size: Count


class HuggingFaceBase(FeaturesBase):
    """A frozen Hugging Face model: a folder, or a name on the hub with the revision that fixes it."""

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


class HuggingFaceVideoParams(HuggingFaceBase):
    """Features of frames of a video, `fps` in a second for `seconds`; `pool` x `pool` cells become one."""

    modality: Literal["video"]
    fps: Positive
    seconds: Positive
    pool: Count = 1


HuggingFaceParams = Annotated[
    HuggingFaceTextParams | HuggingFaceImageParams | HuggingFaceAudioParams | HuggingFaceVideoParams,
    Field(discriminator="modality"),
]


class ModelInputBase(FeaturesBase):
    """What a Hugging Face model itself reads, for the encoder that goes on learning from it."""

    extractor: Literal["model_input"]
    model: str
    revision: str = ""
    batch_size: Count


class ModelInputTextParams(ModelInputBase):
    """Texts as the word pieces of the model's tokenizer."""

    modality: Literal["text"]
    column: TextColumn
    max_words: Count


class ModelInputAudioParams(ModelInputBase):
    """Sounds as the model's preprocessor makes them, cut after `seconds`."""

    modality: Literal["audio"]
    seconds: Positive


ModelInputParams = Annotated[ModelInputTextParams | ModelInputAudioParams, Field(discriminator="modality")]


class LogMelParams(FeaturesBase):
    """Log-mel spectrograms of sound."""

    modality: Literal["audio"]
    extractor: Literal["log_mel"]
    rate_hz: Annotated[int, Field(ge=1000, le=192_000)]
    seconds: Positive
    mel_bands: Annotated[int, Field(ge=8, le=256)]
    window_ms: Positive
    hop_ms: Positive
    leading_silence: Literal["cut", "kept"] = "cut"  # versions from before it was a value are rebuilt without it
    snr_db: float | Literal["none"] = "none"  # of white noise that is added; so in versions from before as well
    batch_size: Count


class FieldsParams(FeaturesBase):
    """Fields of a table as numbers."""

    modality: Literal["fields"]
    extractor: Literal["fields"]
    batch_size: Count


FeaturesParams = Annotated[
    PixelsParams
    | FramesParams
    | Annotated[TorchvisionParams | TorchvisionVideoParams, Field(discriminator="modality")]
    | TokensParams
    | Utf8Params
    | HuggingFaceParams
    | ModelInputParams
    | LogMelParams
    | FieldsParams,
    Field(discriminator="extractor"),
]


def column_of(features: Any) -> str:
    """Return the prepared column that a section of `features` reads."""
    return getattr(features, "column", features.modality)
