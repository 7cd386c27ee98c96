"""The encoders of an experiment: a name, or a mapping for those that go on learning from pretrained weights."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from stages.params.section import NONE, Count, Positive, Section, Share, variant

TORCHVISION, HUGGINGFACE = "torchvision", "huggingface"


class LoraParams(Section):
    """Thin matrices beside linear layers (Hu et al. 2022); `targets` are names of layers, or all-linear."""

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: Share = 0.0
    targets: list[str] = ["all-linear"]


class BackboneParams(Section):
    """A torchvision backbone over `pixels`, from weights by torchvision's own name or by path.

    What learns of it is all in versions from before `train` was a value.
    """

    name: Literal["torchvision"]
    backbone: str
    weights: str
    weights_sha256: str
    batch_norms: Literal["frozen", "trained"]
    train: Literal["frozen", "lora", "last_layers", "all"] = "all"
    lora: LoraParams = LoraParams()
    last_layers: Count = 2


class HuggingFaceEncoderParams(Section):
    """A Hugging Face model: a folder, or a name on the hub with the revision that fixes it.

    It reads `pixels`, or what the extractor `model_input` makes of texts and sounds.
    """

    name: Literal["huggingface"]
    model: str
    revision: str = ""
    train: Literal["frozen", "lora", "last_layers", "all"] = "lora"
    lora: LoraParams = LoraParams()
    last_layers: Count = 2
    gradient_checkpointing: bool = False


MAPPINGS: dict[str, type[Section]] = {TORCHVISION: BackboneParams, HUGGINGFACE: HuggingFaceEncoderParams}


def form(name: str) -> str:
    """Return how an encoder's mapping is written."""
    return f"{{name: {name}, {', '.join(f'{key}: ...' for key in MAPPINGS[name].model_fields if key != 'name')}}}"


def _kind(value: Any) -> str:
    return "mapping" if isinstance(value, dict | Section) else "plain"


def _plain(modality: str, *mappings: str) -> tuple[AfterValidator, AfterValidator]:
    """Return the checks of a name that stands alone; `mappings` are those that need more."""

    def alone(name: str) -> str:
        if name in mappings:
            raise ValueError(f"a mapping: {form(name)}")
        return name

    return variant("models/encoders", modality, also=(*mappings, NONE)), AfterValidator(alone)


ImageMapping = Annotated[BackboneParams | HuggingFaceEncoderParams, Field(discriminator="name")]
ImageEncoder = Annotated[
    Annotated[str, *_plain("image", TORCHVISION, HUGGINGFACE), Tag("plain")] | Annotated[ImageMapping, Tag("mapping")],
    Discriminator(_kind),
]
AudioEncoder = Annotated[
    Annotated[str, *_plain("audio", HUGGINGFACE), Tag("plain")] | Annotated[HuggingFaceEncoderParams, Tag("mapping")],
    Discriminator(_kind),
]
TextEncoder = Annotated[
    Annotated[str, *_plain("text", HUGGINGFACE), Tag("plain")] | Annotated[HuggingFaceEncoderParams, Tag("mapping")],
    Discriminator(_kind),
]
VideoEncoder = Annotated[str, *_plain("video")]
FieldsEncoder = Annotated[str, *_plain("fields")]


class Encoders(Section):
    """The trained encoder of each modality that is used; what stands at another has no effect."""

    image: ImageEncoder = NONE
    audio: AudioEncoder = NONE
    text: TextEncoder = NONE
    question: TextEncoder = NONE
    video: VideoEncoder = NONE
    fields: FieldsEncoder = NONE
