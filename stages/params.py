"""params.yaml -> one frozen typed object per section.

Checked whole, before anything heavy is imported: an unknown, missing or wrong value is named as `section.key`
with what stands there and what is allowed. The names of variants are read from the literal dict in their
folder's `__init__.py`, so a new variant needs no line here.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.errors import InputError, explain

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
NONE = "none"  # what stands in params.yaml where there is nothing; DVC needs every slot filled


def variant_names(folder: str, under: str | None = None) -> tuple[str, ...]:
    """Read the keys of the literal dict in `stages/<folder>/__init__.py` without importing it.

    `under` is a key of that dict: then those of the dict that it holds.
    """
    source = (Path(__file__).parent / folder / "__init__.py").read_text(encoding="utf8")
    found = next(v for n in ast.parse(source).body if isinstance(v := getattr(n, "value", None), ast.Dict))
    if under:
        entries = zip(found.keys, found.values, strict=True)
        inner = next(v for k, v in entries if k is not None and ast.literal_eval(k) == under)
        assert isinstance(inner, ast.Dict), f"stages/{folder}/__init__.py: {under} is no literal dict"
        found = inner
    return tuple(ast.literal_eval(key) for key in found.keys if key is not None)


def _variant(folder: str, under: str | None = None, also: tuple[str, ...] = ()) -> AfterValidator:
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


class DatasetBase(Section):
    """What all data sets have: `folder` is the user's own, under data/, which DVC watches; "none" without."""

    folder: str


class ScenesParams(DatasetBase):
    """The generated data set."""

    source: Literal["scenes"]
    samples: Count
    image_size_px: Annotated[int, Field(ge=32, le=512)]
    max_objects: Annotated[int, Field(ge=1, le=3)]
    captions_per_image: Count
    questions_per_image: Count
    noise: Fraction
    cue_error: Fraction


class Flickr8kParams(DatasetBase):
    """Flickr8k from its public archives; an empty sha256 accepts the public checksum alone."""

    source: Literal["flickr8k"]
    mirror: str
    images_sha256: str
    text_sha256: str


class EasyVqaParams(DatasetBase):
    """easy-VQA from its public repository."""

    source: Literal["easy_vqa"]
    mirror: str
    sha256: str
    val_fraction: Share


class SpokenDigitsParams(DatasetBase):
    """The free spoken digit data set, alone or paired with images of digits."""

    source: Literal["spoken_digits"]
    mirror: str
    sha256: str
    split: Literal["official", "speaker"]
    test_speaker: str
    images: Literal["none", "digits"]
    val_fraction: Share


class Cifar10BrownParams(DatasetBase):
    """CIFAR-10 images with sentences of the Brown corpus, a category for each class."""

    source: Literal["cifar10_brown"]
    mirror: str
    images_sha256: str
    text_sha256: str
    val_fraction: Share


class ImageFolderParams(DatasetBase):
    """Images in one folder per class."""

    source: Literal["image_folder"]
    mirror: str
    archive: str
    sha256: str
    torchvision: Literal["none", "Flowers102"]
    val_fraction: Share
    test_fraction: Share


class Columns(Section):
    """Which column of the user's table holds what: its name, `none`, or `auto` to guess."""

    id: str
    image: str
    audio: str
    text: str
    message: str
    question: str
    answer: str
    label: str
    group: str
    split: str


class TableParams(DatasetBase):
    """The user's own table."""

    source: Literal["table"]
    table: str
    columns: Columns
    split_by: Literal["column", "hash", "group"]
    val_fraction: Share
    test_fraction: Share


DatasetParams = Annotated[
    ScenesParams
    | Flickr8kParams
    | EasyVqaParams
    | SpokenDigitsParams
    | Cifar10BrownParams
    | ImageFolderParams
    | TableParams,
    Field(discriminator="source"),
]


class DownloadParams(Section):
    """Bounds on archives."""

    max_members: Count
    max_total_gb: Positive
    max_member_mb: Positive


class PrepareParams(Section):
    """Cleaning, vocabulary and Parquet sizes."""

    max_bad_fraction: Fraction
    max_image_megapixels: Annotated[float, Field(gt=0, le=178)]  # Pillow refuses larger ones itself
    max_audio_seconds: Positive
    min_word_count: Count
    shard_mb: Count


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


class TrainParams(Section):
    """Optimisation; an experiment's own `train` replaces single values."""

    seed: Annotated[int, Field(ge=0)]
    epochs: Count
    batch_size: Count
    texts_per_step: Count
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Positive
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


def _plain_or_backbone(value: Any) -> str:
    return "backbone" if isinstance(value, dict | BackboneParams) else "plain"


ImageEncoder = Annotated[
    Annotated[str, _variant("encoders", "image", also=(NONE,)), Tag("plain")]
    | Annotated[BackboneParams, Tag("backbone")],
    Discriminator(_plain_or_backbone),
]
AudioEncoder = Annotated[str, _variant("encoders", "audio", also=(NONE,))]
TextEncoder = Annotated[str, _variant("encoders", "text", also=(NONE,))]


class Encoders(Section):
    """The trained encoder of each modality; what stands at a modality that is not used has no effect."""

    image: ImageEncoder
    audio: AudioEncoder
    text: TextEncoder
    question: TextEncoder

    @field_validator("image")
    @classmethod
    def _backbone_has_weights(cls, encoder: str | BackboneParams) -> str | BackboneParams:
        if encoder == "torchvision":
            raise ValueError(
                "a mapping: {name: torchvision, backbone: ..., weights: ..., weights_sha256: ..., batch_norms: ...}"
            )
        return encoder


class ExperimentBase(Section):
    """What all models have: data, parts and sizes."""

    needs: ClassVar[tuple[str, ...]] = ()  # modalities without which the task makes no sense
    least: ClassVar[int] = 1  # modalities

    task: str
    dataset: str
    inputs: Inputs
    encoders: Encoders
    fusion: Annotated[str, _variant("fusions")]
    dim: Annotated[int, Field(ge=8, multiple_of=8)]
    layers: Count
    attention_heads: Count
    dropout: Share
    modality_dropout: Share
    train: dict[str, Any]

    @field_validator("attention_heads")
    @classmethod
    def _divides_dim(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("dim", 0) % heads:
            raise ValueError(f"a divisor of dim {info.data['dim']}")
        return heads


class CaptionParams(ExperimentBase):
    """A sentence for each sample."""

    task: Literal["caption"]
    head: Annotated[str, _variant("heads")]
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
    """One of the answers for each question."""

    needs: ClassVar[tuple[str, ...]] = ("question",)

    task: Literal["vqa"]


class MatchParams(ExperimentBase):
    """Whether `target` belongs to the other modalities."""

    least: ClassVar[int] = 2

    task: Literal["match"]
    target: Literal["image", "audio", "text"]


class TranslateParams(ExperimentBase):
    """One modality's encoding from another's, both ways: `direct`, or through a `shared` space."""

    least: ClassVar[int] = 2

    task: Literal["translate"]
    way: Literal["direct", "shared"]


ExperimentParams = Annotated[
    CaptionParams | ClassifyParams | RetrieveParams | VqaParams | MatchParams | TranslateParams,
    Field(discriminator="task"),
]


class EvaluateParams(Section):
    """Decoding and the page of samples."""

    beam_size: Annotated[int, Field(ge=1, le=50)]
    length_penalty: NonNegative
    batch_size: Count
    num_samples_shown: Count


class RegisterParams(Section):
    """The promotion gate."""

    metric: str
    max_loss: NonNegative
    min_gain: NonNegative
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]


class Params(Section):
    """All of params.yaml."""

    base: BaseParams
    datasets: dict[str, DatasetParams]
    download: DownloadParams
    prepare: PrepareParams
    features: dict[str, FeaturesParams]
    experiments: dict[str, ExperimentParams]
    train: TrainParams
    evaluate: EvaluateParams
    register_: RegisterParams = Field(alias="register")

    def train_of(self, experiment: str) -> TrainParams:
        """Return the `train` section with the experiment's own values in place."""
        return TrainParams(**{**self.train.model_dump(), **self.experiments[experiment].train})


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a params file.

    Raises:
        InputError: naming every key that is unknown, missing or wrong, and what is allowed.
    """
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the project's root, or copy one of presets/") from None
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected the sections {', '.join(_section_names())}, found {raw!r}")
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise InputError("\n".join([f"{path}:", *explain(Params, "", error)])) from None
    _check_references(path, params)
    return params


def _section_names() -> list[str]:
    return [field.alias or name for name, field in Params.model_fields.items()]


def _check_references(path: Path, params: Params) -> None:
    """Hold names that point from one section to another, and each experiment's own train values."""
    lines = []
    for name, feature in params.features.items():
        if feature.dataset not in params.datasets:
            lines.append(_wrong(f"features.{name}.dataset", feature.dataset, params.datasets))
    for name, experiment in params.experiments.items():
        if experiment.dataset not in params.datasets:
            lines.append(_wrong(f"experiments.{name}.dataset", experiment.dataset, params.datasets))
        lines += _check_inputs(params, name, experiment)
        try:
            params.train_of(name)
        except ValidationError as error:
            lines += explain(TrainParams, f"experiments.{name}.train.", error)
    if lines:
        raise InputError("\n".join([f"{path}:", *lines]))


def _check_inputs(params: Params, name: str, experiment: ExperimentBase) -> list[str]:
    """Hold an experiment's inputs against the features there are, and against what its task needs."""
    lines = []
    used = experiment.inputs.used()
    for modality, feature_name in used.items():
        key = f"experiments.{name}.inputs.{modality}"
        kind = "text" if modality == "question" else modality
        fitting = [n for n, f in params.features.items() if f.modality == kind and f.dataset == experiment.dataset]
        found = params.features.get(feature_name)
        if found is None:
            lines.append(_wrong(key, feature_name, [*fitting, NONE]))
        elif feature_name not in fitting and {experiment.dataset, found.dataset} <= set(params.datasets):
            lines.append(
                f"  {key}: got {feature_name!r}, which is {found.modality} of {found.dataset}; "
                f"expected {kind} of {experiment.dataset}: {', '.join([*fitting, NONE])}"
            )
        if getattr(experiment.encoders, modality) == NONE:
            allowed = variant_names("encoders", kind)
            lines.append(_wrong(f"experiments.{name}.encoders.{modality}", NONE, allowed))
    task = params.experiments[name].task
    target = getattr(experiment, "target", None)
    for modality in [*experiment.needs, *([target] if target else [])]:
        if modality not in used:
            lines.append(f"  experiments.{name}.inputs.{modality}: got 'none'; the task {task} needs it")
    if len(used) < experiment.least:
        at_least = "one modality" if experiment.least == 1 else f"{experiment.least} modalities"
        lines.append(f"  experiments.{name}.inputs: the task {task} needs at least {at_least}; got {used}")
    if task == "translate" and len(used) != 2:
        lines.append(f"  experiments.{name}.inputs: the task translate needs two modalities; got {used}")
    return lines


def _wrong(key: str, value: object, allowed: Iterable[str]) -> str:
    return f"  {key}: got {value!r}; expected one of {', '.join(allowed)}"


def column_of(features: Any) -> str:
    """Return the prepared column that a section of `features` reads."""
    return getattr(features, "column", features.modality)


def experiment_params(values: dict[str, Any]) -> ExperimentBase:
    """Check one experiment's values, such as those that stand in a model's folder."""
    return TypeAdapter(ExperimentParams).validate_python(values)
