"""Two towers, of items by their modalities and of users by number and history.

An item's vector is the fusion of its modalities and, where it was rated in training, a vector of its own beside that
(left out at random in training, so that new items are placed by their media: Volkovs et al. 2017, "DropoutNet").
Batches are of items, each encoded once for all who rated it. A history is read from a bank of the items' latest
vectors, as its items are seldom in the batch.

Shapes: B items of a batch, P pairs of user and item, N items, U users of the pool, A those who are asked about,
H history, D dim, F fields of a user, V values of each.
"""

import json
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import USER_FIELDS
from stages.media.columns import Columns
from stages.models.tables import PRESENT, FeatureTable, Split
from stages.models.tasks.base import Answers, Arrays, Batch, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.models.tasks.recommend.pairs import take, targets
from stages.models.tasks.recommend.parts import Placed
from stages.models.tasks.recommend.rated import NONE, Rated
from stages.models.tasks.recommend.towers import UserTower, Who, looked_up, vectors
from stages.params import ExperimentBase, RecommendParams

BATCH = 256
NUMBER = "number"  # of an item, as a modality beside its media
NOTHING = 5e-6  # of a score, and below


class TwoTowers(FusedTask):
    """What tasks share that tell for each user how well each item fits."""

    columns: ClassVar[tuple[str, ...]] = (
        *("rating_users", "rating_values", "rating_times", "rating_splits"),
        *("message", "texts", "truth"),
    )
    pooled: ClassVar[bool] = True
    reads_fields: bool = True  # of users; False asks what is left without them

    def __init__(self, config: ModelConfig) -> None:
        """Build the towers."""
        super().__init__(config)
        assert isinstance(config.experiment, RecommendParams)
        self.params = config.experiment
        dim, self.users, self.items = self.params.dim, *(_numbers(config, kind) for kind in ("users", "items"))
        self.tower = self.make_fusion(config.features, dim)
        self.appeal = nn.Linear(dim, 1, bias=False)  # one that moves all alike says nothing
        self.number, self.number_appeal = (
            (vectors(len(self.items), size) if self.params.item_number else None) for size in (dim, 1)
        )
        self.told = Columns.load(json.loads(config.vocabularies[USER_FIELDS][0])) if self.params.user_fields else None
        self.user = UserTower(len(self.users) if self.params.user_number else 0, dim, self.params.history, self.told)
        self.dropout = nn.Dropout(self.params.dropout)
        self.bank: Tensor
        self.register_buffer("bank", torch.zeros(max(1, len(self.items)), dim))

    @classmethod
    def learn(cls, experiment: ExperimentBase, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Return the users and items with a rating in training, and the mean of these."""
        rated = Rated(rows)
        users = rated.names[np.unique(rated.users_P[rated.in_training])].tolist()
        items = [row["sample_id"] for row, count in zip(rows, rated.popularity, strict=True) if count]
        assert isinstance(experiment, RecommendParams)
        if experiment.user_fields and not rated.told:
            raise InputError(
                f"user_fields is true, and data set {experiment.dataset} tells nothing of its users; set it to false, "
                "or name a table of users (ratings.users of a table)"
            )
        columns = (
            {USER_FIELDS: [json.dumps(rated.told.columns.dump())]} if rated.told and experiment.user_fields else {}
        )
        return {"users": users, "items": items, "mean_rating": [str(rated.mean)], **columns}

    @property
    def least(self) -> float:
        """Return the rating from which on a pair is learnt from."""
        return self.params.liked

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return the pairs that are asked about, see `pairs.targets`."""
        rated = Rated(rows)
        histories_UH = rated.histories(self.params.liked, self.params.history + 1)
        told_UFV = self._told(rated, rated.names)
        return targets(rated, histories_UH, self.least, self._numbers(rated, rows), told_UFV)

    def take(self, targets: Arrays, samples: np.ndarray, picks: Any, train: Any = None, rng: Any = None) -> Arrays:
        """Choose the pairs of a batch: in training `texts_per_step` for each of its items on average, else all."""
        return take(targets, samples, None if train is None else len(samples) * train.texts_per_step, rng)

    def _numbers(self, rated: Rated, rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers by which the model knows a pool's users and items, -1 for none."""
        users = np.array([self.users.get(name, NONE) for name in rated.names.tolist()], np.int64)
        return users, np.array([self.items.get(row["sample_id"], NONE) for row in rows], np.int64)

    def _told(self, rated: Rated, names: np.ndarray) -> np.ndarray | None:
        """Return what is told of users of a pool, (U, F, V), where the model reads that."""
        return rated.told.numbers(names.tolist(), self.told) if self.told and rated.told else None

    def place(self, batch: Batch, train: Any = None) -> tuple[Tensor, Tensor]:
        """Return the items' vectors (B, D), and how well each is liked by anyone, (B,)."""
        vector = self.tower(self.encode(batch, train)).float()
        appeal = self.appeal(vector).float().squeeze(-1)
        if self.number is None or self.number_appeal is None or NUMBER not in batch:
            return self.dropout(vector), appeal
        numbers = batch[NUMBER]
        if NUMBER + PRESENT in batch:
            numbers = numbers.masked_fill(~batch[NUMBER + PRESENT], NONE)
        if train is not None and self.params.modality_dropout:
            seen = torch.stack([batch[modality + PRESENT] for modality in self.config.features]).any(0)
            numbers = numbers.masked_fill(seen & (torch.rand(seen.shape) < self.params.modality_dropout).to(seen), NONE)
        own, liked = looked_up(self.number, numbers), looked_up(self.number_appeal, numbers).squeeze(-1)
        return self.dropout(vector + own), appeal + liked

    def _scores(self, batch: Batch, train: Any) -> Tensor:
        """Return what each pair's user thinks of each item of the batch, (P, B); keep the items' vectors."""
        vector_BD, appeal_B = self.place(batch, train)
        known_B = batch[NUMBER] >= 0
        bank = self.bank.index_copy(0, batch[NUMBER][known_B], vector_BD[known_B].to(self.bank.dtype))
        if train is not None:
            self.bank.copy_(bank.detach())
        rate = self.params.modality_dropout if train is not None else 0.0
        history = batch["pair_histories"]
        who = Who(batch["pair_users"], batch.get("pair_fields"))
        user_PD = self.dropout(self.user(who, bank[history.clamp_min(0)], history >= 0, rate))
        return user_PD @ vector_BD.T + appeal_B

    def num_known(self, batch: Batch) -> int:
        """Return how many pairs there are."""
        return len(batch["pair_items"])

    def numbered(self, split: Split) -> Split:
        """Return a split in which the number of an item is a modality of it, where training knew the item."""
        if NUMBER in split.features:
            return split
        device = Device(next(self.parameters()).device, torch.float32)
        places = [[self.items[r["sample_id"]]] if r["sample_id"] in self.items else [] for r in split.rows]
        table = FeatureTable(np.arange(max(1, len(self.items))), places, device, np.inf)
        return Split(split.rows, split.features | {NUMBER: table}, split.several)

    @torch.inference_mode()
    def answer(self, split: Split, evaluate: Any) -> Answers:
        """Return, for each item, its scores for the users who are asked about."""
        split = self.numbered(split)
        placed = self.place_all(split, evaluate.batch_size)
        rated, device = Rated(split.rows), placed[0].device
        histories = torch.from_numpy(rated.histories(self.params.liked, self.params.history)[rated.askers]).to(device)
        users = torch.from_numpy(self._numbers(rated, [])[0][rated.askers]).to(device)
        told_AFV = self._told(rated, rated.names[rated.askers]) if self.reads_fields else None
        who = Who(users, None if told_AFV is None else torch.from_numpy(told_AFV).to(device))
        scores_AN = self.read(who, placed[0][histories.clamp_min(0)], histories >= 0, placed)
        return told(scores_AN.cpu().numpy(), split)

    @torch.inference_mode()
    def place_all(self, split: Split, batch_size: int) -> Placed:
        """Return the vectors of all items of a split, (N, D), and their appeal, (N,)."""
        placed = [self.place(batch) for _, _, batch in split.in_order(batch_size)]
        vectors_ND, appeal_N = (torch.cat(found) for found in zip(*placed, strict=True))
        return vectors_ND, appeal_N

    def read(self, who: Who, told_AHD: Tensor, real_AH: Tensor, placed: Placed) -> Tensor:
        """Return the scores of placed items for users, and vectors of what they liked, (A, N)."""
        vectors_ND, appeal_N = placed
        return self.user(who, told_AHD, real_AH) @ vectors_ND.T + appeal_N + self.usual(who.numbers).unsqueeze(-1)

    def usual(self, users: Tensor) -> Tensor:
        """Return what users say before anything is said of the item, (A,): nothing, where only the order counts."""
        return torch.zeros(len(users), device=users.device)


def _numbers(config: ModelConfig, kind: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(config.vocabularies[kind])}


def told(scores_AN: np.ndarray, split: Split) -> Answers:
    """Return an answer for each item: its scores for the users who are asked about, and the media that it has."""
    media = [frozenset(m for m, t in split.features.items() if m != NUMBER and t.counts[i]) for i in range(len(split))]
    return [{"scores": scores_N, "media": found} for scores_N, found in zip(scores_AN.T, media, strict=True)]
