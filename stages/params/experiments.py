"""The sections `experiments` and `train`: a model, what it reads and how it is trained."""

import string
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stages.params.encoders import Encoders, HuggingFaceEncoderParams, LoraParams
from stages.params.section import NONE, Count, Fraction, NonNegative, Positive, Section, Share, variant

IN_TIME = ("audio", "video")  # modalities whose places are moments


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
    video: str = NONE  # versions from before there was one are served and rebuilt without it
    fields: str = NONE  # the same

    def used(self) -> dict[str, str]:
        """Return the features' names by modality, of those that are used."""
        return {modality: name for modality, name in self.model_dump().items() if name != NONE}


class LanguageModelParams(Section):
    """A causal language model that writes: a folder, or a name on the hub with the revision that fixes it.

    `prompt` stands between what the encoders see and what is written; its fields are modalities that the model reads
    by itself.
    """

    name: Literal["language_model"]
    model: str
    revision: str = ""
    train: Literal["lora", "frozen"] = "lora"
    lora: LoraParams = LoraParams()
    gradient_checkpointing: bool = False
    prompt: str = ""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if value == "language_model":
            raise ValueError("a mapping: {name: language_model, model: ..., revision: ..., train: ..., prompt: ...}")
        return value

    def fields(self) -> tuple[str, ...]:
        """Return the modalities that the prompt names."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.prompt) if name is not None)

    @field_validator("prompt")
    @classmethod
    def _names_modalities(cls, prompt: str) -> str:
        allowed = ", ".join(f"{{{modality}}}" for modality in Inputs.model_fields)
        try:
            found = list(string.Formatter().parse(prompt))
        except ValueError:
            raise ValueError(f"a text with fields of {allowed}; a brace of its own is written twice") from None
        for _, name, form, conversion in found:
            if name is not None and (name not in Inputs.model_fields or form or conversion):
                raise ValueError(f"a text with fields of {allowed}; a brace of its own is written twice")
        return prompt


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

    def given(self) -> tuple[str, ...]:
        """Return the modalities that are given when the model is asked."""
        return tuple(self.inputs.used())

    def encoded(self) -> tuple[str, ...]:
        """Return the modalities that have an encoder: those that are used and that no language model reads itself."""
        return tuple(modality for modality in self.inputs.used() if modality not in self.prompted())

    def prompted(self) -> tuple[str, ...]:
        """Return the modalities that a language model reads in its prompt."""
        head = getattr(self, "head", NONE)
        return head.fields() if isinstance(head, LanguageModelParams) else ()

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
