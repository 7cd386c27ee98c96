"""Recommendation from what users like: of all there is, what each would like best.

The other items of a batch are the negatives of a sampled softmax (Bengio and Senécal 2008): they are drawn evenly from
all that anybody rated, and each stands for as many as there are to one that is drawn, the liked item for itself: log q
is one number.

Shapes: B items of a batch, P pairs of user and item, N items, A users who are asked about.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.models.fusions.base import VERY_LOW
from stages.models.metrics.recommendation import K, ndcg_at, recall_at
from stages.models.tables import Split
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Batch, Line, ModelConfig
from stages.models.tasks.recommend import rows as beside
from stages.models.tasks.recommend.advising import AdvisingTowers
from stages.models.tasks.recommend.judging import Choose, Person, cold, lists, of_new_media, people, slice_of
from stages.models.tasks.recommend.rated import Rated
from stages.models.tasks.recommend.two_towers import BATCH, NUMBER, told
from stages.params import ExperimentBase, RecommendParams


class RecommendTask(AdvisingTowers):
    """What is liked, among all there is."""

    headline: ClassVar[str] = f"ndcg_at_{K}"
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "items", "expected")
    sliced: ClassVar[str] = "activity"

    def __init__(self, config: ModelConfig) -> None:
        """Build the towers, and let them begin at what counting tells."""
        super().__init__(config)
        self.begin(torch.tensor([float(times) for times in config.vocabularies["times_liked"]]))

    @torch.no_grad()
    def begin(self, liked_N: Tensor) -> None:
        """Begin at the log of how often each item is liked, where a softmax that sees no user ends.

        So a model that learns nothing of tastes knows no less than popularity does.
        """
        if self.number_appeal is not None and len(liked_N):
            nn.init.zeros_(self.appeal.weight)
            self.number_appeal.weight[:, 0] = liked_N.log1p() - liked_N.log1p().mean()

    @classmethod
    def learn(cls, experiment: ExperimentBase, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Return the users and items with a rating in training, and how often each item is liked."""
        assert isinstance(experiment, RecommendParams)
        found, times_N = super().learn(experiment, rows), beside.times_liked(Rated(rows), experiment.liked)
        by_name = {row["sample_id"]: times for row, times in zip(rows, times_N, strict=True)}
        return found | {"times_liked": [f"{by_name[name]:.0f}" for name in found["items"]]}

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield that nothing is liked on a split."""
        assert isinstance(config.experiment, RecommendParams)
        for split, found in splits.items():
            rated = Rated(found.rows)
            if not (rated.values_P[rated.asked] >= config.experiment.liked).any():
                yield Fault(
                    f"no rating on the split {split} is {config.experiment.liked:g} or more, so that nothing is liked; "
                    "lower experiments.<name>.liked",
                    fatal=True,
                )

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the mean over pairs: the liked item against the other items of the batch that others rated."""
        scores_PB = self._scores(batch, train)
        own_P, liked_PB = batch["pair_items"], batch["pair_likes"].clone()
        if not len(own_P):
            return scores_PB.sum() * 0.0
        liked_PB[torch.arange(len(own_P)), own_P] = False
        out_PB = liked_PB | (batch[NUMBER] < 0)  # nobody can have liked in training what nobody saw
        out_PB[torch.arange(len(own_P)), own_P] = False
        if self.params.loss == "softmax":
            others_PB = scores_PB + self._stand_for(batch) * (torch.arange(len(batch[NUMBER])) != own_P.unsqueeze(1))
            return F.cross_entropy(others_PB.masked_fill(out_PB, VERY_LOW), own_P)
        better_PB = F.logsigmoid(scores_PB.gather(1, own_P.unsqueeze(1)) - scores_PB)
        out_PB[torch.arange(len(own_P)), own_P] = True
        return -(better_PB.masked_fill(out_PB, 0.0).sum(1) / (~out_PB).sum(1).clamp_min(1)).mean()

    def _stand_for(self, batch: Batch) -> float:
        """Return the log of how many items of all each other item of a batch stands for."""
        there = int((batch[NUMBER] >= 0).sum()) - 1
        return math.log(max(1, len(self.items) - 1) / there) if there > 0 else 0.0

    def people(self, answers: Answers, rows: list[dict[str, Any]]) -> tuple[Rated, np.ndarray, list[Person]]:
        """Return the ratings, the scores (A, N), and what they are to each user who likes something."""
        rated, scores_AN = Rated(rows), np.stack([answer["scores"] for answer in answers], axis=1)
        found = list(people(rated, scores_AN, self.params.liked))
        return rated, scores_AN, [person for person in found if len(person.wanted)]

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how the liked items are ranked among all that the user had not rated before, and slices of that."""
        rated, scores_AN, found = self.people(answers, rows)
        return {**lists(found, rated), **self.slices(rated, scores_AN, answers)}

    def slices(self, rated: Rated, scores_AN: np.ndarray, answers: Answers) -> dict[str, Any]:
        """Return the metrics of items that nobody rated in training, and of those of media that are new to the user."""
        chosen = slices_of(rated, answers).items()
        found = {name: slice_of(rated, scores_AN, self.params.liked, choose) for name, choose in chosen}
        return {name: values for name, values in found.items() if values}

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the headline alone."""
        rated, _, found = self.people(answers, rows)
        return float(lists(found, rated)[self.headline])

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return what popularity, means and factors advise, and the model with a part of what it knows of items."""
        val, rated = self._validation(test), Rated(test.rows)
        known = {
            "popularity": beside.popularity(rated, self.params.liked),
            "item_mean_and_user_bias": beside.item_means(rated),
            "matrix_factorisation": self.factors(val, rated),
        }
        whole, settings = self.numbered(test), _Batches()
        alone = [*self.config.features, *([NUMBER] if self.number is not None else [])]
        parts = {f"only_{m}": self.answer(whole.only((m,)), settings) for m in alone if len(alone) > 1}
        if self.told:
            self.reads_fields = False
            parts["without_user_fields"] = self.answer(whole, settings)
            self.reads_fields = True
        return {name: told(scores_AN, test) for name, scores_AN in known.items()} | parts

    def factors(self, val: Rated, test: Rated) -> np.ndarray:
        """Return the scores of a matrix factorisation for the users who are asked about, (A, N)."""
        return beside.best_implicit(val, test, self.params.liked)

    def _validation(self, test: Split) -> Rated:
        """Return the ratings of the pool as validation sees them; the test's own where there are none."""
        val = Rated([row | {"asks": "val"} for row in test.rows])
        return val if (val.values_P[val.asked] >= self.params.liked).any() else Rated(test.rows)

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name none: those are among the baselines, as the number of an item is a part too."""
        return {}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of who knows how well each user likes each item, where the source does."""
        liking = [json.loads(row.get("truth") or "{}").get("liking") for row in test.rows]
        if not all(liking):
            return {}
        rated = Rated(test.rows)
        scores_AN = np.array([[found[name] for found in liking] for name in rated.names[rated.askers].tolist()])
        return self.metrics(told(scores_AN, test), test.rows)

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say what counts as liked, and how many users are asked about."""
        return {"liked_from": self.params.liked, "users_asked": len(Rated(rows).askers)}

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a user: what is asked about, how it was rated, the ranks of what is liked, what is advised."""
        _, _, found = self.people(answers, rows)
        ids = np.array([row["sample_id"] for row in rows])
        return {
            "sample_id": [person.name for person in found],
            "items": [ids[person.items].tolist() for person in found],
            "expected": [person.values.tolist() for person in found],
            "ranks": [person.ranks.tolist() for person in found],
            "advised": [ids[person.advised].tolist() for person in found],
            "activity": [person.activity for person in found],
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return how many of the users who are asked about like an item, and where they would find it."""
        rated = Rated([row])
        liked = int((rated.asked & (rated.values_P >= self.params.liked)).sum())
        learnt = int(rated.in_training.sum())
        mean = f"mean score {np.mean(answer['scores']):.2f}"
        return [Line(mean, f"liked by {liked}", liked > 0, asked=f"{learnt} rated it in training")]

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return a user's metric and 1."""
        measure = {f"ndcg_at_{K}": ndcg_at, f"recall_at_{K}": recall_at}[metric]
        return np.array([[measure(np.array(ranks)), 1.0] for ranks in records["ranks"]])

    @classmethod
    def gate_metrics(cls) -> tuple[str, ...]:
        """Name the metrics that the gate can compare."""
        return (f"ndcg_at_{K}", f"recall_at_{K}")


class _Batches:
    batch_size = BATCH


def slices_of(rated: Rated, answers: Answers) -> dict[str, Choose]:
    """Name the parts of the items that are looked at by themselves."""
    return {"cold_items": cold(rated), "new_media": of_new_media(rated, [answer["media"] for answer in answers])}
