"""Translation between the encodings of two modalities, both ways, with a frozen reader at the end.

Each modality has a classifier of its own, trained on its own encodings alone. A translated encoding is what the
other modality's classifier then reads without ever having seen one. Way `direct` maps one encoding to the other;
`shared` maps both into one space, and from there to each (Ngiam et al. 2011; Frome et al. 2013 for the contrast).

Shapes: B batch, D dim.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.fusions.base import AttentionPool
from stages.models.metrics.classification import classification_metrics
from stages.models.metrics.retrieval import RECALL_AT, rank_all, recall_at
from stages.models.tables import Split
from stages.models.targets import Fault, Splits, class_faults, pair_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.classify import class_answer, majority
from stages.models.tasks.fused import FusedTask, cross_entropy
from stages.params import TranslateParams

TEMPERATURE = 0.1


class TranslateTask(FusedTask):
    """An encoding and a classifier for each modality, and the maps between the encodings."""

    columns: ClassVar[tuple[str, ...]] = ("label",)
    needed: ClassVar[tuple[str, ...]] = ("label",)
    vocabularies: ClassVar[tuple[str, ...]] = ("labels",)
    headline: ClassVar[str] = "translated_accuracy"
    answer_types: ClassVar[dict[str, str]] = {"label": "string", "probability": "double", "read_from": "string"}
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "expected")

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders, classifiers and maps."""
        super().__init__(config)
        assert isinstance(config.experiment, TranslateParams)
        dim, dropout = config.experiment.dim, config.experiment.dropout
        self.way = config.experiment.way
        self.kept = tuple(config.features)
        self.classes = config.vocabularies["labels"]
        first, second = config.features
        self.pairs = ((first, second), (second, first))
        self.pools = nn.ModuleDict({m: AttentionPool(dim, dropout) for m in config.features})
        self.classifiers = nn.ModuleDict({m: nn.Linear(dim, len(self.classes)) for m in config.features})
        self.into = nn.ModuleDict({m: _mlp(dim, dropout) for m in config.features})
        self.out_of = nn.ModuleDict({m: _mlp(dim, dropout) for m in config.features} if self.way == "shared" else {})

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the labels, and with the pairs of both modalities."""
        labels = {split: [row["label"] for row in found.rows] for split, found in splits.items()}
        yield from class_faults(config.experiment.dataset, "label", labels)
        yield from pair_faults(config.experiment.dataset, list(config.features)[1], splits)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `label` (N,): the number of the class, -1 for one that training has not."""
        numbers = {label: i for i, label in enumerate(self.classes)}
        return {"label": np.array([numbers.get(row["label"], -1) for row in rows], np.int64)}

    def encodings(self, batch: Batch, train: Any = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return each modality's vectors (B, D), and who has the modality (B,)."""
        encoded = self.encode(batch, train)
        return {m: self.pools[m](e) for m, e in encoded.items()}, {m: e.present_B for m, e in encoded.items()}

    def translate(self, vectors: Tensor, source: str, goal: str) -> Tensor:
        """Turn encodings of one modality into what the other's would be, (B, D)."""
        middle = self.into[source](vectors)
        return self.out_of[goal](middle) if self.way == "shared" else middle

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the classifiers' cross entropy and the distance of translations; the two do not touch."""
        vectors, there = self.encodings(batch, train)
        losses = []
        for modality, found in vectors.items():
            label = torch.where(there[modality], batch["label"], -1)
            losses.append(cross_entropy(self.classifiers[modality](found), label, train))
        frozen = {modality: found.detach() for modality, found in vectors.items()}
        both = there[self.pairs[0][0]] & there[self.pairs[0][1]]
        if both.any():
            frozen = {modality: found[both] for modality, found in frozen.items()}
            losses += [F.mse_loss(self.translate(frozen[a], a, b), frozen[b]) for a, b in self.pairs]
            losses += self._shared_space(frozen)
        return torch.stack(losses).sum()

    def _shared_space(self, frozen: dict[str, Tensor]) -> list[Tensor]:
        """Return what makes the shared space one: each encoding is told from it again, and pairs lie close."""
        if self.way == "direct":
            return []
        losses = [F.mse_loss(self.translate(found, m, m), found) for m, found in frozen.items()]
        one, other = (F.normalize(self.into[m](found).float(), dim=-1) for m, found in frozen.items())
        logits = one @ other.T / TEMPERATURE
        own = torch.arange(len(logits), device=logits.device)
        return [*losses, 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))]

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a label of the training split."""
        return int((batch["label"] >= 0).sum())

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return, for each modality there, its own reading, its translation and the other classifier's reading."""
        vectors, there = self.encodings(batch)
        answers: Answers = [{} for _ in next(iter(there.values()))]
        for source, goal in self.pairs:
            moved = self.translate(vectors[source], source, goal)
            read = self.classifiers[goal](moved).float().softmax(-1).cpu().numpy()
            own = self.classifiers[source](vectors[source]).float().softmax(-1).cpu().numpy()
            for i in np.flatnonzero(there[source].cpu().numpy()):
                found = class_answer(read[i], self.classes)
                answers[i] |= {"label": found["label"], "probability": found["probability"], "read_from": source}
                answers[i][source] = {
                    "own": class_answer(own[i], self.classes),
                    "translated": found,
                    "encoding": vectors[source][i].float().cpu().numpy(),
                    "translation": moved[i].float().cpu().numpy(),
                }
        return answers

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return, of each way, the frozen classifier's accuracy and the recall of the pair; and each one's own."""
        scores: dict[str, Any] = {}
        for source, goal in self.pairs:
            way = f"{source}_to_{goal}"
            scores[f"{way}_accuracy"] = self._accuracy(answers, rows, source, "translated")
            scores[f"{source}_accuracy"] = self._accuracy(answers, rows, source, "own")
            scores |= self._retrieval(answers, rows, source, goal)
        translated = [scores[f"{source}_to_{goal}_accuracy"] for source, goal in self.pairs]
        return {"translated_accuracy": float(np.mean(translated)), **scores}

    def _accuracy(self, answers: Answers, rows: list[dict[str, Any]], source: str, which: str) -> float:
        found = [
            (answer[source][which], row["label"]) for answer, row in zip(answers, rows, strict=True) if source in answer
        ]
        if not found:
            return 0.0
        sure = np.array([said["probability"] for said, _ in found])
        labels, said = [label for _, label in found], [said["label"] for said, _ in found]
        return classification_metrics(labels, said, sure, self.classes)["accuracy"]

    def _retrieval(self, answers: Answers, rows: list[dict[str, Any]], source: str, goal: str) -> dict[str, float]:
        """Return recall of a sample's own encoding for its translation, and whether the nearest has its label."""
        both = [i for i, a in enumerate(answers) if source in a and goal in a and "translation" in a[source]]
        if not both:
            return {}
        moved = np.stack([answers[i][source]["translation"] for i in both])
        known = np.stack([answers[i][goal]["encoding"] for i in both])
        labels = np.array([rows[i]["label"] for i in both])
        own = np.arange(len(both))
        numbers = np.unique(labels, return_inverse=True)[1]
        ranks, label_ranks = rank_all(moved, known, own, own), rank_all(moved, known, numbers, numbers)
        way = f"{source}_to_{goal}"
        scores = {f"{way}_recall_at_{k}": recall_at(ranks, k) for k in RECALL_AT}
        return scores | {f"{way}_same_label_at_1": recall_at(label_ranks, 1)}

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the most frequent label for everything."""
        usual = majority([row["label"] for row in train.rows], "label")
        return {"majority": [{m: {"own": usual, "translated": usual} for m in self.config.features}] * len(test)}

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name no row: each way reads one modality alone already."""
        return {}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample: what each classifier reads from the other modality's translated encoding."""
        records: dict[str, list[Any]] = {
            "sample_id": [row["sample_id"] for row in rows],
            "expected": [row["label"] for row in rows],
        }
        for source, goal in self.pairs:
            said = [answer[source]["translated"]["label"] if source in answer else None for answer in answers]
            records[f"{source}_to_{goal}"] = said
        ways = [records[f"{source}_to_{goal}"] for source, goal in self.pairs]
        hits = zip(*ways, records["expected"], strict=True)
        return records | {self.headline: [0.5 * ((a == label) + (b == label)) for a, b, label in hits]}

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return what is read each way."""
        found = [
            (answer[source]["translated"], f"{source} read as {goal}")
            for source, goal in self.pairs
            if source in answer
        ]
        return [Line(f["label"], row["label"], f["label"] == row["label"], f["probability"], way) for f, way in found]


def _mlp(dim: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
