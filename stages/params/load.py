"""params.yaml, read whole and checked, names that point from one section to another too."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.base.errors import InputError, explain
from stages.params.answers import answering, answers_faults, given_columns, trained_for
from stages.params.datasets import DatasetParams
from stages.params.encoders import HUGGINGFACE, HuggingFaceEncoderParams, form
from stages.params.experiments import IN_TIME, ExperimentBase, TrainParams
from stages.params.features import MODEL_INPUT, PIXELS, FeaturesParams
from stages.params.inits import unfit_inits, wrong_inits
from stages.params.language_models import language_model_faults
from stages.params.production import EvaluateParams, RegisterParams, RetrainParams, ServeParams
from stages.params.section import NONE, BaseParams, DownloadParams, PrepareParams, Section, variant_names
from stages.params.tasks import ExperimentParams, GenerateParams, TranscribeParams

LONGEST_NAME = 80


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
    retrain: RetrainParams
    serve: ServeParams

    def train_of(self, experiment: str) -> TrainParams:
        """Return the `train` section with the experiment's own values in place."""
        return TrainParams(**{**self.train.model_dump(), **self.experiments[experiment].train})

    def trained_for(self, name: str) -> list[str]:
        """Return the experiments that are trained for this one, in order: those that it stands on, then itself."""
        return trained_for(name, self.experiments, self.features)

    def answering(self, name: str) -> dict[str, str]:
        """Return, by modality, the experiment whose answers this one reads."""
        return answering(self.experiments[name], self.features)

    def given_columns(self, name: str) -> dict[str, str]:
        """Return, by modality, the prepared column of what a person gives who asks an experiment's model."""
        return given_columns(name, self.experiments, self.features)

    def data_folders(self, name: str) -> set[str]:
        """Return the folders under data/ that this experiment's trainings come from."""
        return {self.datasets[self.experiments[other].dataset].folder for other in self.trained_for(name)}


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a params file.

    Raises:
        InputError: naming every key that is unknown, missing or wrong, and what is allowed.
    """
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; run from the project's root, or write one: `make preset` lists them"
        ) from None
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
    lines = [line for key in ("datasets", "features", "experiments") for line in wrong_names(key, getattr(params, key))]
    for name, feature in params.features.items():
        if feature.dataset not in params.datasets:
            lines.append(_wrong(f"features.{name}.dataset", feature.dataset, params.datasets))
    for name, experiment in params.experiments.items():
        if experiment.dataset not in params.datasets:
            lines.append(_wrong(f"experiments.{name}.dataset", experiment.dataset, params.datasets))
        lines += _check_inputs(params, name, experiment)
        lines += _check_encoders(params, name, experiment)
        try:
            params.train_of(name)
        except ValidationError as error:
            lines += explain(TrainParams, f"experiments.{name}.train.", error)
    inits = {name: experiment.init for name, experiment in params.experiments.items()}
    lines += list(wrong_inits(inits)) or list(unfit_inits(params.experiments))
    lines += list(answers_faults(params.features, params.experiments))
    for name in set(params.register_.floors) - set(params.experiments):
        lines.append(_wrong("register.floors", name, params.experiments))
    if lines:
        raise InputError("\n".join([f"{path}:", *lines]))


def wrong_names(section: str, names: Iterable[object]) -> Iterator[str]:
    """Yield a line for each name that the shell, DVC, MLflow or a file system would take for something else."""
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name) or len(name) > LONGEST_NAME or name == NONE:
            fitting = re.sub(r"[^\w-]+", "-", str(name)).strip("-")[:LONGEST_NAME]
            example = f", such as {fitting}" if fitting not in ("", NONE, name) else ""
            yield (
                f"  {section}: got the name {name!r}; expected letters, digits, _ and -, at most {LONGEST_NAME} and "
                f"not {NONE!r}{example}: commands, folders and registered models are called after it"
            )


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
        if modality in experiment.encoded() and getattr(experiment.encoders, modality) == NONE:
            allowed = variant_names("models/encoders", kind)
            lines.append(_wrong(f"experiments.{name}.encoders.{modality}", NONE, allowed))
    task = params.experiments[name].task
    target = getattr(experiment, "target", None)
    for modality in [*experiment.needs, *([target] if target else [])]:
        if modality not in used:
            lines.append(f"  experiments.{name}.inputs.{modality}: got 'none'; the task {task} needs it")
    if len(used) < experiment.least:
        at_least = "one modality" if experiment.least == 1 else f"{experiment.least} modalities"
        lines.append(f"  experiments.{name}.inputs: the task {task} needs at least {at_least}; got {used}")
    if used and not experiment.encoded() and not experiment.prompted():
        lines.append(
            f"  experiments.{name}.head: got {getattr(experiment, 'head', NONE)!r}, which reads the question beside "
            f"other modalities; name one in experiments.{name}.inputs, or set it to {NONE}"
        )
    if isinstance(experiment, TranscribeParams):
        lines += _transcribe_faults(f"experiments.{name}.inputs", params, used)
    lines += language_model_faults(f"experiments.{name}", experiment, params.features, params.train.word_loss)
    if isinstance(experiment, GenerateParams):
        lines += _generate_faults(name, params, experiment)
    if task == "translate" and len(used) != 2:
        lines.append(f"  experiments.{name}.inputs: the task translate needs two modalities; got {used}")
    return lines


def _transcribe_faults(key: str, params: Params, used: dict[str, str]) -> Iterator[str]:
    """Yield what has no times that are true: texts and pictures, and sounds that lost their beginning."""
    for modality, feature in used.items():
        if modality not in IN_TIME:
            yield f"  {key}.{modality}: got {feature!r}; the task transcribe reads {' and '.join(IN_TIME)}"
        elif getattr(params.features.get(feature), "leading_silence", None) == "cut":
            yield (
                f"  features.{feature}.leading_silence: got 'cut', which takes from each sound nobody knows how "
                f"much; the task transcribe tells when each word was said and needs 'kept'"
            )


def _generate_faults(name: str, params: Params, experiment: GenerateParams) -> Iterator[str]:
    """Yield a target that is no pixels, and an adversarial training whose best epoch would be picked by its loss."""
    feature = experiment.inputs.used().get(experiment.target, NONE)
    extractor = getattr(params.features.get(feature), "extractor", PIXELS)
    if extractor != PIXELS:
        yield (
            f"  experiments.{name}.inputs.{experiment.target}: got {feature!r}, which is of the extractor {extractor}; "
            f"what the task generate makes is {PIXELS}"
        )
    if experiment.head == "gan" and {"monitor": params.train.monitor, **experiment.train}["monitor"] != "score":
        yield (
            f"  experiments.{name}.train.monitor: got 'loss', which says nothing of a gan, whose two parts work "
            f"against each other; expected score"
        )


def _check_encoders(params: Params, name: str, experiment: ExperimentBase) -> Iterator[str]:
    """Hold encoders from pretrained weights against the features that they read."""
    for modality in experiment.encoded():
        feature = experiment.inputs.used()[modality]
        extractor = getattr(params.features.get(feature), "extractor", None)
        own = PIXELS if modality == "image" else MODEL_INPUT
        encoder = getattr(experiment.encoders, modality)
        if isinstance(encoder, HuggingFaceEncoderParams) and extractor not in (own, None):
            yield (
                f"  experiments.{name}.inputs.{modality}: got {feature!r}, which is of the extractor {extractor}; the "
                f"encoder {HUGGINGFACE} reads {own}"
            )
        elif extractor == MODEL_INPUT and isinstance(encoder, str) and encoder != NONE:
            yield (
                f"  experiments.{name}.encoders.{modality}: got {encoder!r}, which cannot read {feature}, of the "
                f"extractor {MODEL_INPUT}; expected {form(HUGGINGFACE)}"
            )


def _wrong(key: str, value: object, allowed: Iterable[str]) -> str:
    return f"  {key}: got {value!r}; expected one of {', '.join(allowed)}"
