"""The section of each task in `experiments`: what is asked for beside inputs and sizes."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, model_validator

from stages.params.experiments import ExperimentBase, LanguageModelParams
from stages.params.section import NONE, NonNegative, Section, Share, variant

LABEL = "{label}"


def _plain_or_language_model(value: Any) -> str:
    by_name = value == "language_model"  # which lacks the rest, and is told so
    return "language_model" if by_name or isinstance(value, dict | LanguageModelParams) else "plain"


_LANGUAGE_MODEL = Annotated[LanguageModelParams, Tag("language_model")]
_KIND_OF_HEAD = Discriminator(_plain_or_language_model)
Head = Annotated[Annotated[str, variant("models/heads"), Tag("plain")] | _LANGUAGE_MODEL, _KIND_OF_HEAD]
ClassWeights = Literal["none", "balanced"]
MaxWords = Annotated[int, Field(ge=2, le=500)]


class CaptionParams(ExperimentBase):
    """A sentence for each sample."""

    task: Literal["caption"]
    head: Head
    max_words: MaxWords


def _names_the_label(prompt: str) -> str:
    if LABEL not in prompt:
        raise ValueError(f"a text with {LABEL} in it")
    return prompt


Prompt = Annotated[str, AfterValidator(_names_the_label)]


class LabelPrompts(Section):
    """By modality, the text that stands for a label where a contrastive model compares media with labels, untrained."""

    image: Prompt = f"a photo of a {LABEL}"
    audio: Prompt = LABEL

    def texts(self, modality: str, labels: list[str]) -> list[str]:
        """Return the texts of labels."""
        return [getattr(self, modality).replace(LABEL, label) for label in labels]


class ClassifyParams(ExperimentBase):
    """One of the labels for each sample; with a `head` the one whose words it finds likeliest."""

    task: Literal["classify"]
    head: Annotated[Annotated[Literal["none"], Tag("plain")] | _LANGUAGE_MODEL, _KIND_OF_HEAD] = "none"
    label_prompts: LabelPrompts = LabelPrompts()
    class_weights: ClassWeights = "none"  # so in versions from before it was a value, as the next
    focal_gamma: NonNegative = 0.0

    @model_validator(mode="after")
    def _weighs_its_own_classes(self) -> Self:
        if self.head != NONE and (self.class_weights != NONE or self.focal_gamma):
            raise ValueError("class_weights none and focal_gamma 0 beside a language model, which compares words")
        return self


class TagParams(ExperimentBase):
    """As many of the tags for each sample as apply."""

    task: Literal["tag"]
    class_weights: ClassWeights = "none"
    focal_gamma: NonNegative = 0.0


class RegressParams(ExperimentBase):
    """One number or several for each sample, with intervals that hold in a share of `coverage` of the cases."""

    task: Literal["regress"]
    numbers: Annotated[list[str], Field(min_length=1)] | Literal["all"] = "all"
    loss: Literal["huber", "squared"] = "huber"
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9


class RetrieveParams(ExperimentBase):
    """A shared space of `target` and the other modalities."""

    least: ClassVar[int] = 2

    task: Literal["retrieve"]
    target: Literal["image", "audio", "text", "video", "fields"]


class VqaParams(ExperimentBase):
    """One of the answers for each question.

    With a `head` the question has no encoder and passes no fusion: the head, a decoder as captions have, reads it
    word by word beside the encoded rest. A language model as head reads it in its prompt and writes the answer, of at
    most `max_words` pieces, whatever answers the training split has.
    """

    needs: ClassVar[tuple[str, ...]] = ("question",)

    task: Literal["vqa"]
    head: Annotated[
        Annotated[str, variant("models/heads", also=(NONE,)), Tag("plain")] | _LANGUAGE_MODEL, _KIND_OF_HEAD
    ] = NONE  # so in versions from before it was a value, as the next
    max_words: MaxWords = 16

    def encoded(self) -> tuple[str, ...]:
        """Return the modalities that have an encoder."""
        used = super().encoded()
        return used if self.head == NONE else tuple(modality for modality in used if modality != "question")


class TranscribeParams(ExperimentBase):
    """The words that are spoken, letter by letter or word by word; all inputs are in time."""

    task: Literal["transcribe"]
    units: Literal["characters", "words"]
    ngram_order: Annotated[int, Field(ge=0, le=5)]  # of the model of the training texts that a search asks; 0: none
    times_loss: NonNegative = 0.0  # weight of naming what is said at each moment, where the source knows word times


class MatchParams(ExperimentBase):
    """Whether `target` belongs to the other modalities."""

    least: ClassVar[int] = 2

    task: Literal["match"]
    target: Literal["image", "audio", "text", "video", "fields"]

    def required(self) -> tuple[str, ...]:
        """Return the target, and of the others the only one: one side alone is no question."""
        others = [modality for modality in self.inputs.used() if modality != self.target]
        return (self.target, *(others if len(others) == 1 else ()))


class TranslateParams(ExperimentBase):
    """One modality's encoding from another's, both ways: `direct`, or through a `shared` space."""

    least: ClassVar[int] = 2

    task: Literal["translate"]
    way: Literal["direct", "shared"]


class RecommendParams(ExperimentBase):
    """What each user likes best, from the items' modalities and from who liked what."""

    task: Literal["recommend"]
    feedback: Literal["explicit", "implicit"]  # ratings as numbers, or what is liked among all there is
    loss: Literal["softmax", "bpr"] = "softmax"  # of implicit feedback
    item_number: bool  # an item that was rated in training has a vector of its own beside its modalities
    user_number: bool  # the same of a user
    user_fields: bool = False  # so in versions from before it was a value: what is told of a user is read, too
    history: Annotated[int, Field(ge=0, le=500)]  # the latest items that a user liked in training, which are looked at
    liked: float  # from this rating on an item counts as liked

    def required(self) -> tuple[str, ...]:
        """Return none: a user, items or media are told of, whichever are known."""
        return ()

    @model_validator(mode="after")
    def _knows_users(self) -> Self:
        if not self.user_number and not self.history and not self.user_fields:
            raise ValueError("user_number or user_fields: true, or a history above 0: else nothing is known of a user")
        return self


class GenerateParams(ExperimentBase):
    """A picture, `target`, from the other modalities; `channels` at the widest cells of what makes it."""

    least: ClassVar[int] = 2

    task: Literal["generate"]
    target: Literal["image"]
    head: Annotated[str, variant("models/heads/pictures")]
    channels: Annotated[int, Field(ge=8, multiple_of=8)]
    condition_dropout: Share = 0.1

    def given(self) -> tuple[str, ...]:
        """Return all modalities but the target."""
        return tuple(modality for modality in self.inputs.used() if modality != self.target)

    def encoded(self) -> tuple[str, ...]:
        """Return the modalities that have an encoder."""
        return self.given()

    def required(self) -> tuple[str, ...]:
        """Return the only modality that is given, if there is one."""
        return self.given() if len(self.given()) == 1 else ()


ExperimentParams = Annotated[
    CaptionParams
    | ClassifyParams
    | GenerateParams
    | MatchParams
    | RecommendParams
    | RegressParams
    | RetrieveParams
    | TagParams
    | TranscribeParams
    | TranslateParams
    | VqaParams,
    Field(discriminator="task"),
]


def experiment_params(values: dict[str, Any]) -> ExperimentBase:
    """Check one experiment's values, such as those that stand in a model's folder."""
    return TypeAdapter(ExperimentParams).validate_python(values)
