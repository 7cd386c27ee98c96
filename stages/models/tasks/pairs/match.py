"""Matching: does this `target` (such as a text) belong to the other modalities of the sample?

In training each sample's own target stands against another sample's of the batch. For evaluation the others are
chosen by hash: of some candidates, the one that is most like the right one without being equal.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.media.text import fold, is_foreign, tokenize
from stages.models.encoders.base import Encoded
from stages.models.metrics.classification import binary_auc
from stages.models.tables import Split
from stages.models.targets import Fault, Splits, pair_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.params import MatchParams

CANDIDATES = 16
THRESHOLD = 0.5


class MatchTask(FusedTask):
    """Encoders, a fusion, one score."""

    columns: ClassVar[tuple[str, ...]] = ("tokens", "message", "label")
    headline: ClassVar[str] = "accuracy"
    answer_types: ClassVar[dict[str, str]] = {"match": "string", "probability": "double"}

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and fusion."""
        super().__init__(config)
        assert isinstance(config.experiment, MatchParams)
        self.target = config.experiment.target
        self.fusion = self.make_fusion(config.features, 1)

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the pairs of the target and the rest."""
        assert isinstance(config.experiment, MatchParams)
        yield from pair_faults(config.experiment.dataset, config.experiment.target, splits)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return nothing: what belongs together is what stands in one row."""
        return {}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the binary cross entropy of right pairs, and of as many with another sample's target.

        Samples that lack the target, or all the rest, are no pairs.
        """
        encoded = self.encode(batch, train)
        found = encoded[self.target]
        shift = 1 if train is None else int(torch.randint(1, max(2, len(found.x_BLD)), (1,)))
        wrong = Encoded(found.x_BLD.roll(shift, 0), found.real_BL.roll(shift, 0))
        logits = torch.cat([self.fusion(encoded), self.fusion(encoded | {self.target: wrong})]).squeeze(1).float()
        rest = torch.stack([e.present_B for modality, e in encoded.items() if modality != self.target]).any(0)
        pairs = torch.cat([rest & found.present_B, rest & wrong.present_B])
        right = torch.arange(len(logits), device=logits.device) < len(found.x_BLD)
        smoothing = train.label_smoothing if train is not None else 0.0
        goals = right * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits, goals, reduction="none")
        return (each * pairs).sum() / pairs.sum().clamp_min(1)

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return the probability that the target belongs to the rest, and yes or no."""
        probabilities = self.fusion(self.encode(batch)).squeeze(1).float().sigmoid().tolist()
        return [{"match": "yes" if p > THRESHOLD else "no", "probability": p} for p in probabilities]

    def answer(self, split: Split, evaluate: Any) -> Answers:
        """Predict each sample with its own target, and with that of its negative."""
        others = negatives(split.rows)
        wrong = super().answer(split.reordered(self.target, others), evaluate)
        right = super().answer(split, evaluate)
        ids = [split.rows[i]["sample_id"] for i in others]
        return [
            answer | {"negative": other, "negative_probability": no["probability"]}
            for answer, no, other in zip(right, wrong, ids, strict=True)
        ]

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return accuracy over right and wrong pairs, and the area under the ROC curve."""
        if "negative_probability" not in answers[0]:  # while training: only right pairs are there
            return {"accuracy": float(np.mean([answer["probability"] > THRESHOLD for answer in answers]))}
        right = np.array([answer["probability"] for answer in answers])
        wrong = np.array([answer["negative_probability"] for answer in answers])
        targets = np.repeat([1, 0], len(right))
        accuracy = float(np.mean(np.concatenate([right > THRESHOLD, wrong <= THRESHOLD])))
        return {"accuracy": accuracy, "auc": binary_auc(targets, np.concatenate([right, wrong]))}

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return yes for everything: half of the pairs are right."""
        return {"majority": [{"probability": 1.0, "negative_probability": 1.0}] * len(test)}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample: its own pair and its negative one."""
        keys = ("match", "probability", "negative", "negative_probability")
        hits = [0.5 * ((a["probability"] > THRESHOLD) + (a["negative_probability"] <= THRESHOLD)) for a in answers]
        return {
            "sample_id": [row["sample_id"] for row in rows],
            **{key: [answer[key] for answer in answers] for key in keys},
            "accuracy": hits,
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return the verdict on the right pair and on the wrong one."""
        sure, wrong = answer["probability"], answer["negative_probability"]
        return [
            Line("yes" if sure > THRESHOLD else "no", "yes", sure > THRESHOLD, sure, f"its own {self.target}"),
            Line(
                "yes" if wrong > THRESHOLD else "no",
                "no",
                wrong <= THRESHOLD,
                wrong,
                f"the {self.target} of {answer['negative']}",
            ),
        ]


def negatives(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return for each sample another whose target it does not have: of a few chosen by hash, the most alike.

    Likeness is the share of words in common of the first texts (or messages); without texts, the same label.
    When all candidates are equal to the right one it is the next sample that is not.
    """
    words = [frozenset(_words(row)) for row in rows]
    chosen = []
    for i, row in enumerate(rows):
        candidates = [_hashed(row["sample_id"], k) % len(rows) for k in range(CANDIDATES)]
        hard = [j for j in candidates if words[j] != words[i]]
        chosen.append(max(hard, key=lambda j: _overlap(words[i], words[j])) if hard else _next_other(words, i))
    return np.array(chosen)


def _next_other(words: list[frozenset[str]], i: int) -> int:
    """Return the next sample with other words than sample i, round the end; where all are equal, the very next."""
    ring = [(i + k) % len(words) for k in range(1, len(words))] or [i]
    return next((j for j in ring if words[j] != words[i]), ring[0])


def _words(row: dict[str, Any]) -> list[str]:
    if row.get("tokens"):
        return row["tokens"][0].split()
    text = row.get("message") or row.get("label") or row["sample_id"]
    return tokenize(text) if is_foreign(fold(text)) else text.split()


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _hashed(sample_id: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{sample_id}/{number}".encode()).digest()[:8], "big")
