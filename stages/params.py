"""params.yaml -> one frozen typed object per section.

Checked whole, before anything heavy is imported: an unknown, missing or wrong value is named as `section.key`
with what stands there and what is allowed. The names of variants are read from the literal dict in their
folder's `__init__.py`, so a new variant needs no line here.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.errors import InputError, explain

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Metric = Literal["bleu_1", "bleu_2", "bleu_3", "bleu_4"]


def variant_names(folder: str) -> tuple[str, ...]:
    """Read the keys of the one literal dict in `stages/<folder>/__init__.py` without importing it."""
    source = (Path(__file__).parent / folder / "__init__.py").read_text(encoding="utf8")
    for node in ast.parse(source).body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict):
            return tuple(ast.literal_eval(key) for key in value.keys if key is not None)
    raise AssertionError(f"stages/{folder}/__init__.py has no literal dict")


def _variant(folder: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in variant_names(folder):
            raise ValueError(f"one of {', '.join(variant_names(folder))}")
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


class ScenesParams(Section):
    """The generated data set."""

    source: Literal["scenes"]
    samples: Count
    image_size_px: Annotated[int, Field(ge=32, le=512)]
    max_objects: Annotated[int, Field(ge=1, le=3)]
    captions_per_image: Count
    noise: Fraction


class Flickr8kParams(Section):
    """Flickr8k from its public archives; an empty sha256 accepts the public checksum alone."""

    source: Literal["flickr8k"]
    mirror: str
    images_sha256: str
    text_sha256: str


DatasetParams = Annotated[ScenesParams | Flickr8kParams, Field(discriminator="source")]


class DownloadParams(Section):
    """Bounds on archives."""

    max_members: Count
    max_total_gb: Positive
    max_member_mb: Positive


class PrepareParams(Section):
    """Cleaning, vocabulary and Parquet sizes."""

    max_bad_fraction: Fraction
    max_image_megapixels: Annotated[float, Field(gt=0, le=178)]  # Pillow refuses larger ones itself
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


FeaturesParams = Annotated[PixelsParams | TorchvisionParams, Field(discriminator="extractor")]


class TrainParams(Section):
    """Optimisation; an experiment's own `train` replaces single values."""

    epochs: Count
    batch_size: Count
    captions_per_step: Count
    learning_rate: Positive
    weight_decay: NonNegative
    warmup_fraction: Fraction
    word_loss: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    gradient_clip: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    flip_fraction: Fraction
    monitor: Literal["bleu_4", "loss"]
    patience: Count
    device_cache_gb: NonNegative
    devices: Count


class Inputs(Section):
    """Which features an experiment reads, by modality."""

    image: str


class ExperimentParams(Section):
    """One model: its data, parts and sizes."""

    dataset: str
    task: Annotated[str, _variant("tasks")]
    inputs: Inputs
    encoder: Annotated[str, _variant("encoders")]
    head: Annotated[str, _variant("heads")]
    dim: Annotated[int, Field(ge=8, multiple_of=8)]
    layers: Count
    attention_heads: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    max_words: Annotated[int, Field(ge=2, le=500)]
    train: dict[str, Any]

    @field_validator("attention_heads")
    @classmethod
    def _divides_dim(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("dim", 0) % heads:
            raise ValueError(f"a divisor of dim {info.data['dim']}")
        return heads


class EvaluateParams(Section):
    """Decoding and the page of samples."""

    beam_size: Annotated[int, Field(ge=1, le=50)]
    length_penalty: NonNegative
    batch_size: Count
    num_samples_shown: Count


class RegisterParams(Section):
    """The promotion gate."""

    metric: Metric
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
        for modality, feature_name in experiment.inputs.model_dump().items():
            key = f"experiments.{name}.inputs.{modality}"
            used = params.features.get(feature_name)
            if used is None:
                lines.append(_wrong(key, feature_name, params.features))
            elif used.dataset != experiment.dataset and {used.dataset, experiment.dataset} <= set(params.datasets):
                lines.append(f"  {key}: got {feature_name!r} of {used.dataset}; expected one of {experiment.dataset}")
        try:
            params.train_of(name)
        except ValidationError as error:
            lines += explain(TrainParams, f"experiments.{name}.train.", error)
    if lines:
        raise InputError("\n".join([f"{path}:", *lines]))


def _wrong(key: str, value: object, allowed: Iterable[str]) -> str:
    return f"  {key}: got {value!r}; expected one of {', '.join(allowed)}"
