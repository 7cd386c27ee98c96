"""Cross-modal retrieval: a space shared by one modality (`target`) and the others, trained by contrast.

Shapes: B samples, K targets of each (such as its captions), D dim.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.models.encoders.base import Encoded
from stages.models.fusions.base import VERY_LOW
from stages.models.metrics.fitting import misfits
from stages.models.metrics.retrieval import RECALL_AT, expected_recalls, rank_all, rank_metrics
from stages.models.tables import PRESENT, Split
from stages.models.targets import Fault, Splits, pair_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.params import RetrieveParams

LARGEST_SCALE = 100.0  # of similarities; as CLIP bounds it (Radford et al. 2021, section 2.5)
SHOWN = 3


class RetrieveTask(FusedTask):
    """Two towers: the fusion of the other modalities, and the target."""

    columns: ClassVar[tuple[str, ...]] = ("texts", "tokens", "label", "truth")
    several: ClassVar[tuple[str, ...]] = ("text",)
    headline: ClassVar[str] = "mean_recall"
    answer_types: ClassVar[dict[str, str]] = {"query": "doubles", "target": "doubles"}

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and both towers."""
        super().__init__(config)
        assert isinstance(config.experiment, RetrieveParams)
        self.target = config.experiment.target
        self.others = [modality for modality in config.features if modality != self.target]
        self.source = "_".join(self.others)
        self.kept = (self.target,) if len(self.others) > 1 else tuple(config.features)
        self.query_tower = self._tower(self.others)
        self.target_tower = self._tower([self.target])
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def _tower(self, modalities: list[str]) -> nn.Module:
        """Return the fusion of several modalities; one alone is only pooled and projected, and learns faster so."""
        dim = self.config.experiment.dim
        return self.make_fusion(modalities, dim) if len(modalities) > 1 else SinglePool(modalities[0], dim)

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the pairs of the target and the rest."""
        assert isinstance(config.experiment, RetrieveParams)
        yield from pair_faults(config.experiment.dataset, config.experiment.target, splits)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return nothing: what belongs together is what stands in one row."""
        return {}

    def towers(self, batch: Batch, train: Any = None) -> tuple[Tensor, Tensor]:
        """Return unit vectors of queries and targets; media that come in several are joined on the batch axis."""
        encoded = self.encode(batch, train)
        query = self.query_tower({modality: encoded[modality] for modality in self.others})
        target = self.target_tower({self.target: encoded[self.target]})
        return F.normalize(query.float(), dim=-1), F.normalize(target.float(), dim=-1)

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the contrastive loss both ways (Radford et al. 2021); several texts of a sample are all right."""
        query, target = self.towers(batch, train)
        owners_q, owners_t = self._owners(batch, query, target)
        query, owners_q = _there(query, owners_q)
        target, owners_t = _there(target, owners_t)
        logits = query @ target.T * self.log_scale.exp().clamp(max=LARGEST_SCALE)
        same = (owners_q[:, None] == owners_t[None, :]).float()
        return 0.5 * (_soft_cross_entropy(logits, same) + _soft_cross_entropy(logits.T, same.T))

    def _owners(self, batch: Batch, query: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sample of each query and target; -1 where it lacks what they are made of."""

        def owners(vectors: Tensor, modalities: list[str]) -> Tensor:
            size = len(batch[modalities[0] + PRESENT])
            each = len(vectors) // size  # what comes once stands beside each that comes in several
            there = torch.stack([batch[m + PRESENT].reshape(size, -1).expand(size, each) for m in modalities]).any(0)
            numbers = torch.arange(size, device=vectors.device).repeat_interleave(each)
            return torch.where(there.flatten(), numbers, -1)

        return owners(query, self.others), owners(target, [self.target])

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return a sample's vector in the shared space as a query and as a target, None where it lacks either."""
        return self._answers(batch, *self.towers(batch))

    def _answers(self, batch: Batch, query: Tensor, target: Tensor) -> Answers:
        owners_q, owners_t = (owners.cpu().numpy() for owners in self._owners(batch, query, target))
        answers = []
        for i in range(len(batch[self.target + PRESENT])):
            queries, found = query.cpu().numpy()[owners_q == i], target.cpu().numpy()[owners_t == i]
            answers.append(
                {
                    "query": queries[0].tolist() if len(queries) else None,
                    "target": found[0].tolist() if len(found) else None,
                    "queries": queries,
                    "targets": found,
                }
            )
        return answers

    def answer(self, split: Split, evaluate: Any) -> Answers:
        """Predict a split, and rank its targets for each query and its queries for each target."""
        ranked = _rank(super().answer(split, evaluate))
        if self._seeks_texts(split):
            for answer in ranked:
                answer["nearest_texts"] = [split.rows[i]["texts"][k] for i, k in answer["nearest"]]
        return ranked

    def _seeks_texts(self, split: Split) -> bool:
        """Tell whether the target's features are of the texts, and not of a message."""
        counts = [len(row.get("texts") or []) for row in split.rows]
        return self.target == "text" and counts == split.features["text"].counts.tolist()

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return recall at 1, 5 and 10 and the median rank both ways; all targets of the split are in the pool."""
        ranked = answers if "query_rank" in answers[0] else _rank(answers)
        forward = np.array([answer["query_rank"] for answer in ranked if answer["query_rank"]])
        back = np.array([rank for answer in ranked for rank in answer["target_ranks"]])
        if not len(forward):
            raise InputError(f"the task retrieve: no sample of the split has both {self.source} and {self.target}")
        scores = rank_metrics(f"{self.source}_to_{self.target}", forward) | rank_metrics(
            f"{self.target}_to_{self.source}", back
        )
        recalls = [value for name, value in scores.items() if "recall" in name]
        return {"mean_recall": float(np.mean(recalls)), **scores, "num_targets": len(back)}

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return, where one contrastive model made the features, what it finds untrained; shuffled rows show chance."""
        spaces = {spec.space for spec in self.config.features.values()}
        if len(self.others) > 1 or len(spaces) > 1 or "" in spaces:
            return {}
        answers: Answers = []
        for _, _, batch in test.in_order(len(test)):
            query, target = (batch[modality].float().flatten(0, -2) for modality in (self.source, self.target))
            answers += self._answers(batch, F.normalize(query, dim=-1), F.normalize(target, dim=-1))
        return {"zero_shot": _rank(answers)}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the recalls of who ranks by the truth, where texts are sought: what says something false comes last.

        See `misfits` for the order of the rest; what fits equally well comes at random.
        """
        if self.lexicon is None or not self._seeks_texts(test) or not all(row.get("truth") for row in test.rows):
            return {}
        owners = np.array([i for i, row in enumerate(test.rows) for _ in row["tokens"]])
        asking = np.flatnonzero(np.any([test.features[modality].counts for modality in self.others], axis=0))
        captions = [caption.split() for row in test.rows for caption in row["tokens"]]
        misfits_QT = misfits(self.lexicon, captions, [json.loads(row["truth"]) for row in test.rows])[asking]
        own_QT = owners == asking[:, None]
        scores = expected_recalls(f"{self.source}_to_{self.target}", misfits_QT, own_QT)
        scores |= expected_recalls(f"{self.target}_to_{self.source}", misfits_QT.T, own_QT.T)
        return {"mean_recall": float(np.mean(list(scores.values()))), **scores}

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name, of several query modalities, each alone with the target."""
        return {f"only_{m}": (m, self.target) for m in self.others} if len(self.others) > 1 else {}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample: the rank of its best target, and its own rank for each of its targets.

        Rank 0 says that the sample has nothing to look with.
        """
        ids = [row["sample_id"] for row in rows]
        return {
            "sample_id": ids,
            "query_rank": [answer["query_rank"] for answer in answers],
            "target_ranks": [answer["target_ranks"] for answer in answers],
            "nearest": [[ids[i] for i, _ in answer["nearest"]] for answer in answers],
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return the rank of the sample's own target among all, and the nearest texts."""
        rank = answer["query_rank"]
        own = [Line(f"own {self.target} at rank {rank}", "", rank == 1)] if rank else []
        return own + [Line(text, "", text in (row.get("texts") or [])) for text in answer.get("nearest_texts", [])]

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return hits at each cut both ways, with their numbers."""
        rows = []
        for rank, others in zip(records["query_rank"], records["target_ranks"], strict=True):
            own = [float(rank <= cut) if rank else 0.0 for cut in RECALL_AT]
            back = [float(sum(r <= cut for r in others)) for cut in RECALL_AT]
            rows.append([*own, float(rank > 0), *back, float(len(others))])
        return np.array(rows)

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Return the mean of the six recalls."""
        return (summed[..., :3] / summed[..., 3:4] + summed[..., 4:7] / summed[..., 7:8]).mean(-1) / 2


class SinglePool(nn.Module):
    """The mean and an attention pool of one modality's sequence, projected, (B, D)."""

    def __init__(self, modality: str, dim: int) -> None:
        """Make pool and projection."""
        super().__init__()
        self.modality = modality
        self.score, self.project = nn.Linear(dim, 1), nn.Linear(2 * dim, dim)

    def forward(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return (B, D)."""
        found = encoded[self.modality]
        real_BL1 = found.real_BL.unsqueeze(-1)
        x_BLD = found.x_BLD.masked_fill(~real_BL1, 0.0)
        weights_BL1 = self.score(x_BLD).masked_fill(~real_BL1, VERY_LOW).softmax(1)
        mean_BD = x_BLD.sum(1) / real_BL1.sum(1).clamp_min(1)
        return self.project(torch.cat([mean_BD, (weights_BL1 * x_BLD).sum(1)], dim=-1))


def _there(vectors: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    return vectors[owners >= 0], owners[owners >= 0]


def _soft_cross_entropy(logits: Tensor, same: Tensor) -> Tensor:
    """Return the mean cross entropy of rows against all their right columns, in equal shares."""
    shares = same / same.sum(1, keepdim=True).clamp(min=1.0)
    per_row = -(shares * logits.log_softmax(1)).sum(1)
    used = same.any(1)
    return per_row[used].mean() if used.any() else logits.sum() * 0.0


def _rank(answers: Answers) -> Answers:
    """Add `query_rank`, `target_ranks` and the `nearest` targets of each query, as (sample, which of its targets).

    A query or target without a counterpart is in the pool, but is not ranked itself.
    """
    queries = np.concatenate([answer["queries"] for answer in answers])
    targets = np.concatenate([answer["targets"] for answer in answers])
    owners_q = np.repeat(np.arange(len(answers)), [len(answer["queries"]) for answer in answers])
    owners_t = np.repeat(np.arange(len(answers)), [len(answer["targets"]) for answer in answers])
    numbers = np.concatenate([np.arange(len(answer["targets"])) for answer in answers])
    asking, sought = np.isin(owners_q, owners_t), np.isin(owners_t, owners_q)
    forward = dict(zip(owners_q[asking], rank_all(queries[asking], targets, owners_q[asking], owners_t), strict=True))
    back = np.zeros(len(targets), np.int64)
    back[sought] = rank_all(targets[sought], queries, owners_t[sought], owners_q)
    ranked = []
    for i, answer in enumerate(answers):
        near: Any = (
            np.argsort(-(targets @ answer["queries"][0]), kind="stable")[:SHOWN] if len(answer["queries"]) else []
        )
        ranked.append(
            answer
            | {
                "query_rank": int(forward.get(i, 0)),
                "target_ranks": [int(rank) for rank in back[(owners_t == i) & sought]],
                "nearest": [(int(owners_t[j]), int(numbers[j])) for j in near],
            }
        )
    return ranked
