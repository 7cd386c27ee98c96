"""Tagging: any modalities in; of the training split's tags as many as apply out.

Shapes: B samples of a batch, N of a split, C tags.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from stages.base.store import FIELDS
from stages.models.boosted import BOOSTED, boosted
from stages.models.metrics.tagging import (
    average_precisions,
    best_threshold,
    f1_scores,
    macro_precision,
    truth_of,
    weighed_precisions,
)
from stages.models.numbers_and_tags import tag_faults
from stages.models.rare import balanced, tag_loss
from stages.models.tables import Split
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.params import TagParams

MICRO_F1 = "micro_f1"


class TagTask(FusedTask):
    """Encoders, a fusion, and for each tag a probability and the threshold from which on it is said."""

    columns: ClassVar[tuple[str, ...]] = ("tags", "group", "truth")
    needed: ClassVar[tuple[str, ...]] = ("tags",)
    vocabularies: ClassVar[tuple[str, ...]] = ("tags",)
    headline: ClassVar[str] = "macro_average_precision"
    answer_types: ClassVar[dict[str, str]] = {
        "tags": "strings",
        "tag_probabilities": "doubles",
        "classes": "strings",
        "probabilities": "doubles",
    }
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "expected")
    sliced: ClassVar[str] = "group"
    calibrated: ClassVar[tuple[str, ...]] = ("thresholds_C",)
    thresholds_C: Tensor
    weights_C2: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and fusion; thresholds are chosen after training, weights before it."""
        super().__init__(config)
        assert isinstance(config.experiment, TagParams)
        self.classes, size = config.vocabularies["tags"], len(config.vocabularies["tags"])
        self.fusion = self.make_fusion(config.features, size)
        self.focus = config.experiment.focal_gamma
        self.register_buffer("thresholds_C", torch.full((size,), 0.5, dtype=torch.float64))
        weighed = config.experiment.class_weights == "balanced"
        self.register_buffer("weights_C2", torch.ones(size, 2) if weighed else None)

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the tags."""
        tags = {split: [row["tags"] for row in found.rows] for split, found in splits.items()}
        yield from tag_faults(config.experiment.dataset, tags)

    def take_in(self, train: Split) -> None:
        """Take the weights of rare tags, where they are wanted: of each tag both sides count alike."""
        if self.weights_C2 is not None:
            there_C = torch.from_numpy(truth_of([row["tags"] for row in train.rows], self.classes)).sum(0)
            counts_C2 = torch.stack([len(train) - there_C, there_C], 1).float()
            self.weights_C2.copy_(torch.stack([balanced(counts) for counts in counts_C2]))

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `tags` (N, C): 1 for those that a sample has; one that training has not is none of them."""
        return {"tags": truth_of([row["tags"] for row in rows], self.classes).astype(np.float32)}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the binary cross entropy, a mean over samples and tags."""
        return tag_loss(self.fusion(self.encode(batch, train)), batch["tags"], self.weights_C2, self.focus)

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return the tags above their thresholds, the likeliest first, and the probabilities of all."""
        found = self.fusion(self.encode(batch)).double().sigmoid().cpu().numpy()
        return [tag_answer(self.classes, row, self.thresholds_C.cpu().numpy()) for row in found]

    def calibrate(self, validation: Split, evaluate: Any) -> None:
        """Choose each tag's threshold, of the best F1 on the validation split; 0.5 where no sample there has it."""
        scores_NC = np.array([answer["probabilities"] for answer in self.answer(validation, evaluate)])
        truth_NC = truth_of([row["tags"] for row in validation.rows], self.classes)
        for place, (truth, scores) in enumerate(zip(truth_NC.T, scores_NC.T, strict=True)):
            if truth.any():
                self.thresholds_C[place] = best_threshold(truth, scores)

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how well the tags are ranked and said; one that training has not can only be missed, and counts."""
        expected = [row["tags"] for row in rows]
        names = sorted(set().union(*expected))
        scores_NC = _scores([a["classes"] for a in answers], [a["probabilities"] for a in answers], names)
        each = average_precisions(truth_of(expected, names), scores_NC, names)
        unknown = Counter(tag for found in expected for tag in found if tag not in self.classes)
        return {
            "macro_average_precision": float(np.mean(list(each.values()))) if each else 0.0,
            **f1_scores(expected, [answer["tags"] for answer in answers]),
            "average_precision_by_tag": each,
            **({"unknown_tags": unknown.total()} if unknown else {}),
        }

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return each tag as likely as in training; who cannot tell samples apart has the best F1 with all of them.

        Beside it, of fields, boosted trees.
        """
        there_NC = truth_of([row["tags"] for row in train.rows], self.classes)
        alike = tag_answer(self.classes, there_NC.mean(0), np.zeros(len(self.classes)))
        return {"frequencies": [alike] * len(test), **self._boosted(train, test, there_NC)}

    def _boosted(self, train: Split, test: Split, there_NC: np.ndarray) -> dict[str, Answers]:
        """Return the answers of trees that read the fields alone, where there are any."""
        if FIELDS not in self.config.features:
            return {}
        rows = boosted(train, test, self.config.features[FIELDS].cardinalities, there_NC, "labels")
        return {BOOSTED: [tag_answer(self.classes, row, np.full(len(row), 0.5)) for row in rows]}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of the true tags, where the source tells that its media hold them all."""
        best = [json.loads(row.get("truth") or "{}").get("best_tags") for row in test.rows]
        if any(found is None for found in best):
            return {}
        sure = truth_of(best, self.classes)
        return self.metrics([tag_answer(self.classes, row, np.full(len(row), 0.5)) for row in sure], test.rows)

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample."""
        return {
            "sample_id": [row["sample_id"] for row in rows],
            "expected": [sorted(row["tags"]) for row in rows],
            "tags": [sorted(answer["tags"]) for answer in answers],
            "classes": [answer["classes"] for answer in answers],
            "probabilities": [answer["probabilities"] for answer in answers],
            **({"group": [row["group"] for row in rows]} if rows[0].get("group") else {}),
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return the tags that are said, and the true ones."""
        said, right = sorted(answer["tags"]), sorted(row["tags"])
        return [Line(", ".join(said) or "none", ", ".join(right) or "none", said == right)]

    @classmethod
    def gate_metrics(cls) -> tuple[str, ...]:
        """Name the metrics that the gate can compare."""
        return (cls.headline, MICRO_F1)

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return of each sample the scores of all tags that occur, then which it has; for F1 what that is made of."""
        if metric == MICRO_F1:
            pairs = list(zip(map(set, records["expected"]), map(set, records["tags"]), strict=True))
            return np.array([[2.0 * len(one & other), float(len(one) + len(other))] for one, other in pairs])
        names = sorted(set().union(*records["expected"]))
        scores = _scores(records["classes"], records["probabilities"], names)
        return np.concatenate([scores, truth_of(records["expected"], names)], axis=1)

    @classmethod
    def summed(cls, counts: np.ndarray, statistics: np.ndarray, metric: str) -> np.ndarray:
        """Return what the statistics come to: average precisions depend on which samples are drawn together."""
        if metric == MICRO_F1:
            return super().summed(counts, statistics, metric)
        scores, truth = np.split(statistics, 2, axis=1)
        return weighed_precisions(counts, truth, scores)

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Turn what `summed` gives into the metric."""
        return summed[..., 0] / np.maximum(summed[..., 1], 1e-12) if metric == MICRO_F1 else macro_precision(summed)


def tag_answer(classes: list[str], probabilities: np.ndarray, thresholds: np.ndarray) -> dict[str, Any]:
    """Return the tags from their thresholds on, the likeliest first, and the probabilities of all."""
    said = sorted(np.flatnonzero(probabilities >= thresholds), key=lambda place: -probabilities[place])
    return {
        "tags": [classes[place] for place in said],
        "tag_probabilities": [float(probabilities[place]) for place in said],
        "classes": classes,
        "probabilities": probabilities.tolist(),
    }


def _scores(classes: list[list[str]], probabilities: list[list[float]], names: list[str]) -> np.ndarray:
    """Return the probabilities of the named tags, (N, C), 0 for those that are no class."""
    places = {name: place for place, name in enumerate(classes[0])}
    known = [(column, places[name]) for column, name in enumerate(names) if name in places]
    scores = np.zeros((len(classes), len(names)))
    for column, place in known:
        scores[:, column] = [row[place] for row in probabilities]
    return scores
