"""Recommendation from ratings as numbers: the mean, what user and item are above it, and how the two towers agree."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from stages.models.metrics.recommendation import rating_metrics
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Batch, ModelConfig
from stages.models.tasks.recommend import rows as beside
from stages.models.tasks.recommend.implicit import RecommendTask, slices_of
from stages.models.tasks.recommend.judging import Person, lists, people
from stages.models.tasks.recommend.rated import Rated
from stages.models.tasks.recommend.towers import looked_up, vectors


class RateTask(RecommendTask):
    """How a user would rate an item."""

    headline: ClassVar[str] = "r2"

    def __init__(self, config: ModelConfig) -> None:
        """Build the towers, and what users are above the mean."""
        super().__init__(config)
        self.mean = float(config.vocabularies["mean_rating"][0])
        self.user_bias = vectors(len(self.users), 1) if self.params.user_number else None

    def begin(self, liked_N: Tensor) -> None:
        """Begin at the mean of all: from the means of items on, media learn less and the whole is worse."""

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield that all ratings are equal."""
        values = Rated(splits["train"].rows)
        if len(np.unique(values.values_P[values.in_training])) < 2:
            yield Fault("all ratings in training are equal; set experiments.<name>.feedback to implicit", fatal=True)

    @property
    def least(self) -> float:
        """Return the rating from which on a pair is learnt from: any."""
        return -np.inf

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the mean squared error of the pairs."""
        scores_PB = self._scores(batch, train)
        if not len(batch["pair_items"]):
            return scores_PB.sum() * 0.0
        own_P = scores_PB.gather(1, batch["pair_items"].unsqueeze(1)).squeeze(1)
        return F.mse_loss(own_P + self.usual(batch["pair_users"]), batch["pair_values"])

    def usual(self, users: Tensor) -> Tensor:
        """Return how users rate before anything is said of the item, (A,)."""
        if self.user_bias is None:
            return super().usual(users) + self.mean
        return self.mean + looked_up(self.user_bias, users).squeeze(-1)

    def people(self, answers: Answers, rows: list[dict[str, Any]]) -> tuple[Rated, np.ndarray, list[Person]]:
        """Return the ratings, the scores (A, N), and what they are to each user."""
        rated, scores_AN = Rated(rows), np.stack([answer["scores"] for answer in answers], axis=1)
        return rated, scores_AN, list(people(rated, scores_AN, self.params.liked))

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how near the ratings are, and how the items would be ranked by them, also in slices."""
        rated, scores_AN, found = self.people(answers, rows)
        told = self._errors(found)
        for name, choose in slices_of(rated, answers).items():
            inside = [choose(person.user)[person.items] for person in found]
            predicted = np.concatenate([p.predicted[there] for p, there in zip(found, inside, strict=True)])
            expected = np.concatenate([p.values[there] for p, there in zip(found, inside, strict=True)])
            if len(expected):
                told[f"ratings_of_{name}"] = rating_metrics(predicted, expected, self.mean)
        liking = any(len(person.wanted) for person in found)
        return {**told, **(lists(found, rated) | self.slices(rated, scores_AN, answers) if liking else {})}

    def _errors(self, found: list[Person]) -> dict[str, Any]:
        predicted, expected = (np.concatenate([getattr(p, kind) for p in found]) for kind in ("predicted", "values"))
        groups = np.repeat([person.activity for person in found], [len(person.items) for person in found])
        by_activity = {
            str(name): rating_metrics(predicted[groups == name], expected[groups == name], self.mean)["rmse"]
            for name in np.unique(groups)
        }
        return {**rating_metrics(predicted, expected, self.mean), "rmse_by_activity": by_activity}

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the headline alone."""
        return float(self._errors(self.people(answers, rows)[2])[self.headline])

    def factors(self, val: Rated, test: Rated) -> np.ndarray:
        """Return the ratings of a matrix factorisation for the users who are asked about, (A, N)."""
        return beside.best_explicit(val, test)

    def baselines(self, train: Any, test: Any) -> dict[str, Answers]:
        """Return the rows of what is liked, popularity left out: it is no rating."""
        return {name: found for name, found in super().baselines(train, test).items() if name != "popularity"}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a user: the rated items, how they were and would be rated, and what is advised."""
        _, _, found = self.people(answers, rows)
        return super().records(answers, rows) | {
            "predicted": [person.predicted.tolist() for person in found],
            "usual": [self.mean] * len(found),
        }

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return a user's squared errors, those of who says the mean, and how many there are."""
        if metric not in ("r2",):
            raise KeyError(metric)
        columns = (map(np.array, records[name]) for name in ("predicted", "expected"))
        pairs = zip(*columns, records["usual"], strict=True)
        return np.array([[((p - e) ** 2).sum(), ((e - usual) ** 2).sum(), len(e)] for p, e, usual in pairs])

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Return the share of the squared errors of who says the mean that is gone."""
        return 1 - summed[..., 0] / np.maximum(summed[..., 1], np.finfo(np.float64).tiny)

    @classmethod
    def gate_metrics(cls) -> tuple[str, ...]:
        """Name the metrics that the gate can compare."""
        return ("r2",)
