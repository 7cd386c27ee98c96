"""The sections `experiments` and `train`: a model, what it reads and how it is trained."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationInfo, field_validator

from stages.params.section import NONE, Count, Fraction, NonNegative, Positive, Section, Share, variant


class TrainParams(Section):
    """Optimisation; an experiment's own `train` replaces single values."""

    seed: Annotated[int, Field(ge=0)]
    epochs: Count
    batch_size: Count
    texts_per_step: Count
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
    pretrained_learning_rate: Positive | Literal["none"] = "none"  # so in versions from before it was a value
    momentum: Share
    weight_decay: NonNegative
    warmup_fraction: Fraction
    word_loss: NonNegative
    label_smoothing: Share
    gradient_clip: Positive
    ema_decay: Share
    flip_fraction: Fraction
    shift_fraction: Annotated[float, Field(ge=0, le=0.5)]
    monitor: Literal["score", "loss"]
    patience: Count
    device_cache_gb: NonNegative
    devices: Count


class Inputs(Section):
    """Which features an experiment reads, by modality; "none" for a modality it does not use."""

    image: str
    audio: str
    text: str
    question: str

    def used(self) -> dict[str, str]:
        """Return the features' names by modality, of those that are used."""
        return {modality: name for modality, name in self.model_dump().items() if name != NONE}


class BackboneParams(Section):
    """A torchvision backbone trained end to end, from weights by torchvision's own name or by path."""

    name: Literal["torchvision"]
    backbone: str
    weights: str
    weights_sha256: str
    batch_norms: Literal["frozen", "trained"]


class LoraParams(Section):
    """Thin matrices beside linear layers (Hu et al. 2022); `targets` are names of layers, or all-linear."""

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: Share = 0.0
    targets: list[str] = ["all-linear"]


class HuggingFaceEncoderParams(Section):
    """A Hugging Face image model over `pixels`: a folder, or a name on the hub with the revision that fixes it."""

    name: Literal["huggingface"]
    model: str
    revision: str = ""
    train: Literal["frozen", "lora", "last_layers", "all"] = "lora"
    lora: LoraParams = LoraParams()
    last_layers: Count = 2


class LanguageModelParams(Section):
    """A causal language model that writes: a folder, or a name on the hub with the revision that fixes it."""

    name: Literal["language_model"]
    model: str
    revision: str = ""
    train: Literal["lora", "frozen"] = "lora"
    lora: LoraParams = LoraParams()
    prompt: str = ""


def _kind_of_encoder(value: Any) -> str:
    if isinstance(value, BackboneParams | HuggingFaceEncoderParams):
        return value.name
    if not isinstance(value, dict):
        return "plain"
    return "huggingface" if value.get("name") == "huggingface" else "torchvision"


ImageEncoder = Annotated[
    Annotated[str, variant("models/encoders", "image", also=(NONE,)), Tag("plain")]
    | Annotated[BackboneParams, Tag("torchvision")]
    | Annotated[HuggingFaceEncoderParams, Tag("huggingface")],
    Discriminator(_kind_of_encoder),
]
AudioEncoder = Annotated[str, variant("models/encoders", "audio", also=(NONE,))]
TextEncoder = Annotated[str, variant("models/encoders", "text", also=(NONE,))]


class Encoders(Section):
    """The trained encoder of each modality that is used; what stands at another has no effect."""

    image: ImageEncoder = NONE
    audio: AudioEncoder = NONE
    text: TextEncoder = NONE
    question: TextEncoder = NONE

    @field_validator("image")
    @classmethod
    def _backbone_has_weights(
        cls, encoder: str | BackboneParams | HuggingFaceEncoderParams
    ) -> str | BackboneParams | HuggingFaceEncoderParams:
        if encoder == "torchvision":
            raise ValueError(
                "a mapping: {name: torchvision, backbone: ..., weights: ..., weights_sha256: ..., batch_norms: ...}"
            )
        return encoder


class ExperimentBase(Section):
    """What all models have: data, parts and sizes."""

    needs: ClassVar[tuple[str, ...]] = ()  # modalities without which a sample makes no sense
    least: ClassVar[int] = 1  # modalities

    task: str
    dataset: str
    inputs: Inputs
    encoders: Encoders
    fusion: Annotated[str, variant("models/fusions")]
    dim: Annotated[int, Field(ge=8, multiple_of=8)]
    layers: Count
    attention_heads: Count
    dropout: Share
    modality_dropout: Share
    train: dict[str, Any]
    init: str = NONE  # another experiment; versions from before it was a value are rebuilt without it

    @field_validator("attention_heads")
    @classmethod
    def _divides_dim(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("dim", 0) % heads:
            raise ValueError(f"a divisor of dim {info.data['dim']}")
        return heads

    def source_of(self, modality: str, other: "ExperimentBase") -> str:
        """Return the modality of another experiment whose encoder this one's could be, or "none".

        A question is a text: where the other has no questions, its texts' will do.
        """
        there = other.encoded()
        kinds = (modality, "text") if modality == "question" else (modality,)
        return next((kind for kind in kinds if modality in self.encoded() and kind in there), NONE)

    def encoded(self) -> tuple[str, ...]:
        """Return the modalities that have an encoder: those that are used."""
        return tuple(self.inputs.used())

    def required(self) -> tuple[str, ...]:
        """Return the modalities that must be given when the model is asked."""
        used = tuple(self.inputs.used())
        return used if len(used) == 1 else self.needs

    def bases(self) -> dict[str, LanguageModelParams | HuggingFaceEncoderParams]:
        """Return the pretrained models of Hugging Face that the model stands on, by their place in its section."""
        places = {f"encoders.{modality}": getattr(self.encoders, modality) for modality in self.encoded()}
        places["head"] = getattr(self, "head", NONE)
        kinds = LanguageModelParams | HuggingFaceEncoderParams
        return {place: named for place, named in places.items() if isinstance(named, kinds)}


def _plain_or_language_model(value: Any) -> str:
    if value == "language_model":
        raise ValueError(
            "a mapping: {name: language_model, model: ..., revision: ..., train: ..., lora: ..., prompt: ...}"
        )
    return "language_model" if isinstance(value, dict | LanguageModelParams) else "plain"


Head = Annotated[
    Annotated[str, variant("models/heads"), Tag("plain")] | Annotated[LanguageModelParams, Tag("language_model")],
    Discriminator(_plain_or_language_model),
]


class CaptionParams(ExperimentBase):
    """A sentence for each sample."""

    task: Literal["caption"]
    head: Head
    max_words: Annotated[int, Field(ge=2, le=500)]


class ClassifyParams(ExperimentBase):
    """One of the labels for each sample."""

    task: Literal["classify"]


class RetrieveParams(ExperimentBase):
    """A shared space of `target` and the other modalities."""

    least: ClassVar[int] = 2

    task: Literal["retrieve"]
    target: Literal["image", "audio", "text"]


class VqaParams(ExperimentBase):
    """One of the answers for each question.

    With a `head` the question has no encoder and passes no fusion: the head, a decoder as captions have, reads it
    word by word beside the encoded rest.
    """

    needs: ClassVar[tuple[str, ...]] = ("question",)

    task: Literal["vqa"]
    head: Annotated[str, variant("models/heads", also=(NONE,))] = NONE  # so in versions from before it was a value

    def encoded(self) -> tuple[str, ...]:
        """Return the modalities that have an encoder."""
        used = super().encoded()
        return used if self.head == NONE else tuple(modality for modality in used if modality != "question")


class MatchParams(ExperimentBase):
    """Whether `target` belongs to the other modalities."""

    least: ClassVar[int] = 2

    task: Literal["match"]
    target: Literal["image", "audio", "text"]

    def required(self) -> tuple[str, ...]:
        """Return the target, and of the others the only one: one side alone is no question."""
        others = [modality for modality in self.inputs.used() if modality != self.target]
        return (self.target, *(others if len(others) == 1 else ()))


class TranslateParams(ExperimentBase):
    """One modality's encoding from another's, both ways: `direct`, or through a `shared` space."""

    least: ClassVar[int] = 2

    task: Literal["translate"]
    way: Literal["direct", "shared"]


ExperimentParams = Annotated[
    CaptionParams | ClassifyParams | RetrieveParams | VqaParams | MatchParams | TranslateParams,
    Field(discriminator="task"),
]


def experiment_params(values: dict[str, Any]) -> ExperimentBase:
    """Check one experiment's values, such as those that stand in a model's folder."""
    return TypeAdapter(ExperimentParams).validate_python(values)
