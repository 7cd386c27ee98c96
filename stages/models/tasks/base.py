"""What a task is: a model with its loss, its targets from prepared rows, its predictions and what they are worth.

Shapes: N samples of a split, B of a batch, K media that a sample brings of a modality that comes in several.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.base.lexicon import Lexicon
from stages.models.catalogue import Built
from stages.models.encoders.base import FeatureSpec
from stages.models.metrics.truth import Judgement
from stages.models.tables import Picks, Split
from stages.models.targets import Fault, Splits
from stages.params import ExperimentBase
from stages.pretrained.bases import Base

Batch = dict[str, Tensor]  # keys: each modality (B, ...), `<modality>_present`, and those of `Task.take`
Answers = list[dict[str, Any]]  # one a sample
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a task's model anew; it stands in `model.json`."""

    experiment: ExperimentBase
    features: dict[str, FeatureSpec]  # by modality
    vocabularies: dict[str, list[str]]  # words of the text columns, answers, labels; of the training split
    bases: dict[str, Base] = field(default_factory=dict)
    """By place (`head`, `encoders.image`), the model that stands there; not in `model.json`."""
    extractors: dict[str, Path] = field(default_factory=dict)
    """By modality, the folder of what made its features, where a trained model is read; not in `model.json`."""
    shared_on: torch.device | None = None
    """The device on which bases share their frozen weights with other models; None for one that learns."""


@dataclass(frozen=True)
class Line:
    """One line of the page of samples: what was asked, what the model says, what is right."""

    predicted: str
    expected: str
    right: bool
    probability: float | None = None
    asked: str = ""


class Task(nn.Module):
    """The protocol of a task."""

    columns: ClassVar[tuple[str, ...]] = ()  # of the prepared rows that it reads
    needed: ClassVar[tuple[str, ...]] = ()  # those without which a sample is of no use to it
    several: ClassVar[tuple[str, ...]] = ()  # modalities of which a sample brings several media
    pooled: ClassVar[bool] = False  # all samples are one pool, whichever split is asked about
    vocabularies: ClassVar[tuple[str, ...]] = ()  # that its model is built from
    headline: ClassVar[str]  # the metric that is shown first and that picks the best epoch
    answer_types: ClassVar[dict[str, str]]  # of a served answer: "string", "double", "strings" or "doubles"
    compared: ClassVar[tuple[str, ...]] = ("sample_id",)  # columns of the predictions that two models must share
    sliced: ClassVar[str] = ""  # the column of the predictions by whose values a change is worth a look, if any
    calibrated: ClassVar[tuple[str, ...]] = ()  # buffers that `calibrate` sets, kept with the weights
    studies: ClassVar[bool] = False  # whether its measures learn from the training split first, see `study`
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    spoken: ClassVar[str] = ""  # whose words its `decoder` knows, where it has one: a text column or a modality
    also: ClassVar[tuple[str, ...]] = ()  # what may be given in service beside modalities
    enough: ClassVar[bool] = False  # whether a model can be asked by any of `beside` alone
    lexicon: Lexicon | None = None  # of the data set that is evaluated, where its source has one

    def __init__(self, config: ModelConfig) -> None:
        """Build the model."""
        super().__init__()
        self.config = config

    @classmethod
    def learn(cls, experiment: ExperimentBase, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Return what a model is built from beside the prepared vocabularies, of the training rows."""
        return {}

    @classmethod
    def beside(cls, experiment: ExperimentBase) -> tuple[str, ...]:
        """Name what may be given in service beside modalities."""
        return cls.also

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what keeps targets from being learnt or compared; it is asked before the model is built."""
        yield from ()

    def take_in(self, train: Split) -> None:
        """Note what of the training split the model keeps beside its weights, such as scales; before training."""

    def calibrate(self, validation: Split, evaluate: Any) -> None:
        """Set the buffers in `calibrated` by the validation split, when the best epoch is found."""

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Turn prepared rows into arrays whose first axis is the sample."""
        raise NotImplementedError

    def take(self, targets: Arrays, samples: np.ndarray, picks: Picks, train: Any = None, rng: Any = None) -> Arrays:
        """Choose what a batch of these samples sees of the targets: with `rng` drawn for training, else all."""
        return {key: value[samples] for key, value in targets.items()}

    def cut(self, rows: list[dict[str, Any]]) -> str:
        """Say what of the training rows is too long and is cut, in words for a person; empty where nothing is."""
        return ""

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the mean loss of a batch; with `train`, what regularises training is in it."""
        raise NotImplementedError

    def num_known(self, batch: Batch) -> int:
        """Return how many samples of a batch have a target that the model knows: what its loss is a mean of."""
        return size_of(batch)

    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return one dict per sample."""
        raise NotImplementedError

    def keep_beside(self, folder: Path, pool: Split) -> None:
        """Write beside a trained model what it needs in service of the pool that it was trained on, if anything."""

    def read_beside(self, folder: Path) -> None:
        """Read what `keep_beside` wrote, to be in service."""

    def index_beside(self, folder: Path, exact_below: int, recall: float) -> dict[str, Built]:
        """Build indexes beside what `keep_beside` wrote, where it is more than that; return them by what is in them."""
        return {}

    def asked_of_users(self) -> list[dict[str, Any]]:
        """Return what may be told of a user in service, field by field; see `Columns.described`."""
        return []

    def read_also(self, given: dict[str, bytes | None]) -> Arrays:
        """Return what is given in service beside modalities, by the names of `beside`, each of one shape.

        Raises:
            InputError: saying what is wrong, and what is allowed.
        """
        return {}

    def answer(self, split: Split, evaluate: Any) -> Answers:
        """Predict a whole split; tasks whose answers depend on other samples add that here."""
        return [
            answer for _, _, batch in split.in_order(evaluate.batch_size) for answer in self.predict(batch, evaluate)
        ]

    def study(self, train: Split) -> None:
        """Learn from the training split what measures need; asked before any score."""

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Score answers: names to numbers, or to numbers by name."""
        raise NotImplementedError

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the headline alone, which compares epochs."""
        return self.metrics(answers, rows)[self.headline]

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the answers of those who look nothing up but the training split."""
        return {}

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name the rows for parts of the modalities: by default each alone."""
        modalities = tuple(self.config.features)
        return {f"only_{modality}": (modality,) for modality in modalities} if len(modalities) > 1 else {}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of answers from the truth, where it is known."""
        return {}

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say what the metrics are, where their names leave it open."""
        return {}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return the columns of the predictions file."""
        raise NotImplementedError

    def explained(self, batch: Batch, answers: Answers) -> Answers:
        """Return answers with what of a batch they come from, for `details`, as far as the task can tell."""
        return answers

    def sketch(self, split: Split, evaluate: Any) -> bytes | None:
        """Return a PNG for a person to see how training goes, None where there is nothing to see."""
        return None

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what a person may want to see of one answer beside the values of `answer_types`, as JSON values."""
        return {}

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return what the page of samples says of one sample."""
        raise NotImplementedError

    def made(self, answer: dict[str, Any]) -> list[bytes]:
        """Return the pictures that an answer made, as PNG."""
        return []

    def judged(self, answer: dict[str, Any], row: dict[str, Any]) -> Judgement | None:
        """Return which statements of an answer's words hold for its sample, None where nobody can know."""
        return None

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return, from the columns of a predictions file, what the gate sums per sample, (N, statistics)."""
        values = np.asarray(records[metric], np.float64)
        return np.stack([values, np.ones(len(values))], axis=1)

    @classmethod
    def summed(cls, counts: np.ndarray, statistics: np.ndarray, metric: str) -> np.ndarray:
        """Return what the statistics (N, K) come to, (..., K), where each sample is drawn so often, (..., N)."""
        return counts @ statistics

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Turn summed statistics (..., statistics) into the metric (...)."""
        return summed[..., 0] / summed[..., 1]

    @classmethod
    def gate_metrics(cls) -> tuple[str, ...]:
        """Name the metrics that the gate can compare."""
        return (cls.headline,)


def size_of(batch: Batch) -> int:
    """Return the number of samples of a batch."""
    return len(next(iter(batch.values())))


def to_look_at(split: Split, most: int) -> np.ndarray:
    """Return the numbers of at most so many samples, spread evenly over the split, whose order may be that of classes.

    Example:
        >>> to_look_at(Split([{}] * 9, {}), 3).tolist(), to_look_at(Split([{}] * 2, {}), 3).tolist()
        ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(int)
