"""Classification: any modalities in, one of the training split's labels out."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.base.store import FIELDS
from stages.models.baselines import VIDEO
from stages.models.boosted import BOOSTED, boosted
from stages.models.contrastive import text_vectors
from stages.models.encoders.video import is_frame
from stages.models.metrics.classification import accuracy_by, classification_metrics
from stages.models.rare import balanced, class_loss
from stages.models.tables import Split
from stages.models.targets import Fault, Splits, class_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.params import ClassifyParams, LabelPrompts
from stages.pretrained import bases

BATCH = 256


class ClassifyTask(FusedTask):
    """Encoders, a fusion, and a score for each class."""

    columns: ClassVar[tuple[str, ...]] = ("label", "group", "truth")
    needed: ClassVar[tuple[str, ...]] = ("label",)
    vocabularies: ClassVar[tuple[str, ...]] = ("labels",)
    headline: ClassVar[str] = "accuracy"
    answer_types: ClassVar[dict[str, str]] = {
        "label": "string",
        "probability": "double",
        "classes": "strings",
        "probabilities": "doubles",
    }
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "expected")
    sliced: ClassVar[str] = "group"
    weights_C: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders, and what scores the classes."""
        super().__init__(config)
        self.classes = config.vocabularies["labels"]
        self.make_head()

    def make_head(self) -> None:
        """Build the fusion, and the weights of classes where they are to count alike."""
        experiment = self.config.experiment
        assert isinstance(experiment, ClassifyParams)
        self.fusion, self.focus = self.make_fusion(self.config.features, len(self.classes)), experiment.focal_gamma
        weighed = experiment.class_weights == "balanced"
        self.register_buffer("weights_C", torch.ones(len(self.classes)) if weighed else None)

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the labels."""
        labels = {split: [row["label"] for row in found.rows] for split, found in splits.items()}
        yield from class_faults(config.experiment.dataset, "label", labels)

    def take_in(self, train: Split) -> None:
        """Take the weights of rare classes, where they are wanted."""
        if getattr(self, "weights_C", None) is not None:
            counts = np.bincount(self.targets(train.rows)["label"], minlength=len(self.classes))
            self.weights_C.copy_(balanced(torch.from_numpy(counts).float()))

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `label` (N,): the number of the class, -1 for one that training has not."""
        numbers = {label: i for i, label in enumerate(self.classes)}
        return {"label": np.array([numbers.get(row["label"], -1) for row in rows], np.int64)}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy."""
        smoothing = train.label_smoothing if train is not None else 0.0
        logits_BC = self.fusion(self.encode(batch, train))
        return class_loss(logits_BC, batch["label"], self.weights_C, self.focus, smoothing)

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a label of the training split."""
        return int((batch["label"] >= 0).sum())

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return label, its probability, and the probabilities of all classes."""
        return [class_answer(row, self.classes) for row in self.probabilities(batch).cpu().numpy()]

    def probabilities(self, batch: Batch) -> Tensor:
        """Return those of all classes, (B, C)."""
        return self.fusion(self.encode(batch)).float().softmax(-1)

    @torch.inference_mode()
    def explained(self, batch: Batch, answers: Answers) -> Answers:
        """Return answers with `frames`: by how much the label's probability falls without each frame of a video."""
        if VIDEO not in batch:
            return answers
        real_BT = is_frame(batch[VIDEO])
        falls: list[list[float]] = [[] for _ in answers]
        for moment in range(int(real_BT.sum(1).max())):
            without = batch[VIDEO].clone()
            without[:, moment] = 0
            left_BC = self.probabilities(batch | {VIDEO: without}).cpu().numpy()
            for fall, answer, left_C, there in zip(falls, answers, left_BC, real_BT[:, moment].tolist(), strict=True):
                if there:
                    fall.append(answer["probability"] - float(left_C[self.classes.index(answer["label"])]))
        return [answer | {"frames": fall} for answer, fall in zip(answers, falls, strict=True)]

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return how much each frame of a video counted, and how many seconds one stands for."""
        if not answer.get("frames"):
            return {}
        spec = self.config.features[VIDEO]
        return {"frames": [round(fall, 5) for fall in answer["frames"]], "frame_seconds": spec.seconds / spec.shape[0]}

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return accuracy, macro F1 and calibration error; accuracy by group where there are groups."""
        labels, predictions = [row["label"] for row in rows], [answer["label"] for answer in answers]
        confidences = np.array([answer["probability"] for answer in answers]).clip(0, 1)
        scores: dict[str, Any] = dict(classification_metrics(labels, predictions, confidences, self.classes))
        groups = [row["group"] for row in rows if row.get("group")]
        if len(groups) == len(rows) and len(set(groups)) > 1:
            scores["accuracy_by_group"] = accuracy_by(labels, predictions, groups)
        return scores

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the accuracy."""
        return float(np.mean([answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True)]))

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the most frequent label for everything; of fields boosted trees, of contrastive features their model.

        That model is asked as it is, untrained.
        """
        pooled = {m: spec.space for m, spec in self.config.features.items() if len(spec.shape) == 1}
        known = [modality for modality in LabelPrompts.model_fields if pooled.get(modality)]
        named = {m: "zero_shot" if len(known) == 1 else f"zero_shot_{m}" for m in known}
        alike = [majority([row["label"] for row in train.rows], "label")] * len(test)
        return {"majority": alike, **self._boosted(train, test), **{named[m]: self._zero_shot(m, test) for m in known}}

    def _boosted(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the answers of trees that read the fields alone, where there are any."""
        if FIELDS not in self.config.features:
            return {}
        numbers = self.targets(train.rows)["label"]
        rows = boosted(train, test, self.config.features[FIELDS].cardinalities, numbers, "class")
        return {BOOSTED: [class_answer(row, self.classes) for row in rows]}

    def _zero_shot(self, modality: str, test: Split) -> Answers:
        """Answer with the label whose prompt is nearest to a medium; where there is none, all are equally near."""
        assert isinstance(self.config.experiment, ClassifyParams)
        prompts = self.config.experiment.label_prompts.texts(modality, self.classes)
        labels_ND, scale = text_vectors(bases.locate(self.config.extractors[modality]).folder, prompts)
        answers: Answers = []
        for _, _, batch in test.in_order(BATCH):
            media_BD = F.normalize(batch[modality].float().cpu(), dim=-1)
            answers += [class_answer(row, self.classes) for row in (scale * media_BD @ labels_ND.T).softmax(-1).numpy()]
        return answers

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of the most probable label given the true cues, where the source knows them."""
        best = [json.loads(row.get("truth") or "{}").get("best_label") for row in test.rows]
        return self.metrics([{"label": label, "probability": 1.0} for label in best], test.rows) if all(best) else {}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample."""
        return {
            "sample_id": [row["sample_id"] for row in rows],
            "expected": [row["label"] for row in rows],
            "label": [answer["label"] for answer in answers],
            "probability": [answer["probability"] for answer in answers],
            "accuracy": [float(a["label"] == row["label"]) for a, row in zip(answers, rows, strict=True)],
            **({"group": [row["group"] for row in rows]} if rows[0].get("group") else {}),
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return predicted and true label."""
        return [Line(answer["label"], row["label"], answer["label"] == row["label"], answer["probability"])]


def class_answer(probabilities: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Return the most probable class and all probabilities."""
    best = int(probabilities.argmax())
    return {
        "label": classes[best],
        "probability": float(probabilities[best]),
        "classes": classes,
        "probabilities": [float(p) for p in probabilities],
    }


def majority(values: list[str], key: str) -> dict[str, Any]:
    """Return the most frequent value as an answer, as sure of it as it is frequent; of equals, the first by name."""
    counts = Counter(values)
    best = min(counts, key=lambda value: (-counts[value], value))
    return {key: best, "probability": counts[best] / len(values)}
