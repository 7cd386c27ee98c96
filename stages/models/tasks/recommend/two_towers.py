"""Two towers, of items by their modalities and of users by number and history.

An item's vector is the fusion of its modalities and, where it was rated in training, a vector of its own beside that
(left out at random in training, so that new items are placed by their media: Volkovs et al. 2017, "DropoutNet").
Batches are of items, each encoded once for all who rated it. A history is read from a bank of the items' latest
vectors, as its items are seldom in the batch.

Shapes: B items of a batch, P pairs of user and item, N items, A users who are asked about, H history, D dim.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.base.device import Device
from stages.models.catalogue import Built, Vectors, build_index, drawn
from stages.models.tables import PRESENT, FeatureTable, Split
from stages.models.tasks.base import Answers, Arrays, Batch, ModelConfig, size_of
from stages.models.tasks.fused import FusedTask
from stages.models.tasks.recommend.pairs import take, targets
from stages.models.tasks.recommend.parts import Asked, Placed, gains, in_words
from stages.models.tasks.recommend.rated import NONE, Rated
from stages.models.tasks.recommend.shelf import Shelf, vectors_of, write_shelf
from stages.models.tasks.recommend.towers import UserTower, looked_up, vectors
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
    answer_types: ClassVar[dict[str, str]] = {
        "items": "strings",
        "titles": "strings",
        "scores": "doubles",
        "reasons": "strings",
    }
    also: ClassVar[tuple[str, ...]] = ("user", "liked")
    enough: ClassVar[tuple[str, ...]] = also
    shelf: Shelf | None = None  # in service: what is recommended from

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
        self.user = UserTower(len(self.users) if self.params.user_number else 0, dim, self.params.history)
        self.dropout = nn.Dropout(self.params.dropout)
        self.bank: Tensor
        self.register_buffer("bank", torch.zeros(max(1, len(self.items)), dim))

    @classmethod
    def learn(cls, experiment: ExperimentBase, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Return the users and items with a rating in training, and the mean of these."""
        rated = Rated(rows)
        users = rated.names[np.unique(rated.users_P[rated.in_training])].tolist()
        items = [row["sample_id"] for row, count in zip(rows, rated.popularity, strict=True) if count]
        return {"users": users, "items": items, "mean_rating": [str(rated.mean)]}

    @property
    def least(self) -> float:
        """Return the rating from which on a pair is learnt from."""
        return self.params.liked

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return the pairs that are asked about, see `pairs.targets`."""
        rated = Rated(rows)
        histories_UH = rated.histories(self.params.liked, self.params.history + 1)
        return targets(rated, histories_UH, self.least, self._numbers(rated, rows))

    def take(self, targets: Arrays, samples: np.ndarray, picks: Any, train: Any = None, rng: Any = None) -> Arrays:
        """Choose the pairs of a batch: in training `texts_per_step` for each of its items on average, else all."""
        return take(targets, samples, None if train is None else len(samples) * train.texts_per_step, rng)

    def _numbers(self, rated: Rated, rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers by which the model knows a pool's users and items, -1 for none."""
        users = np.array([self.users.get(name, NONE) for name in rated.names.tolist()], np.int64)
        return users, np.array([self.items.get(row["sample_id"], NONE) for row in rows], np.int64)

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
        user_PD = self.dropout(self.user(batch["pair_users"], bank[history.clamp_min(0)], history >= 0, rate))
        return user_PD @ vector_BD.T + appeal_B

    def num_known(self, batch: Batch) -> int:
        """Return how many pairs there are."""
        return len(batch["pair_items"])

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return what a user is recommended: who has a number, likes items, or likes what the media of the batch say.

        Without a shelf there is nothing to recommend.
        """
        if self.shelf is None:
            return [{name: [] for name in self.answer_types} for _ in range(size_of(batch))]
        who = self._asked(batch)
        queries_BE, usual_B = self._user(who.users, who.told, who.real)
        asked = list(zip(batch["user"].tolist(), batch["liked"].tolist(), strict=True))
        return self.shelf.best(queries_BE.cpu().numpy(), usual_B.cpu().numpy(), asked)

    @torch.inference_mode()
    def explained(self, batch: Batch, answers: Answers) -> Answers:
        """Return answers with `parts`: what each item's score is made of, see `parts.gains`; `reasons` in words."""
        if self.shelf is None:
            return answers
        most = max(len(answer["items"]) for answer in answers)
        shown_BK = torch.zeros(len(answers), most, dtype=torch.long)
        for i, answer in enumerate(answers):
            shown_BK[i, : len(answer["places"])] = torch.tensor(answer["places"])
        left = {name: self._of_items(shown_BK, vectors) for name, vectors in self.shelf.without.items()}
        found = gains(self._user, self._asked(batch), self._of_items(shown_BK, self.shelf.placed), left)
        by_name = {name: gain_BK.cpu().tolist() for name, gain_BK in found.items()}
        parts = [
            [
                {name: gain_BK[i][k] for name, gain_BK in by_name.items() if abs(gain_BK[i][k]) > NOTHING}
                for k in range(len(answer["items"]))
            ]
            for i, answer in enumerate(answers)
        ]
        return [
            answer | {"parts": made, "reasons": [in_words(part) for part in made]}
            for answer, made in zip(answers, parts, strict=True)
        ]

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what each item's score is made of."""
        found = answer.get("parts", [])
        return {"parts": [{name: round(gain, 5) for name, gain in part.items()} for part in found]}

    def _asked(self, batch: Batch) -> Asked:
        """Return who is asked for, with the media of the batch as one more item that is liked."""
        assert self.shelf, "a model in service has one"
        placed_BD, _ = self.place(batch)
        media_B = torch.stack([batch[modality + PRESENT] for modality in self.config.features]).any(0)
        liked_BHD = self._of_items(batch["liked"], self.shelf.placed)[..., :-1]
        told_BHD = torch.cat([liked_BHD, placed_BD.unsqueeze(1)], dim=1)
        real_BH = torch.cat([batch["liked"] >= 0, media_B.unsqueeze(1)], dim=1)
        return Asked(self._known(batch["user"].tolist()), told_BHD, real_BH)

    def _user(self, users: Tensor, told_BHD: Tensor, real_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of who is asked for, (B, D + 1), and what they say before anything is said of an item."""
        vectors_BD = self.user(users, told_BHD, real_BH)
        return torch.cat([vectors_BD, torch.ones_like(vectors_BD[:, :1])], dim=1), self.usual(users)

    def _of_items(self, places: Tensor, placed: Vectors) -> Tensor:
        """Return the vectors of items of the shelf with their appeal, (..., D + 1); any for -1."""
        return torch.from_numpy(placed.at(places.clamp_min(0).cpu().numpy())).to(self.bank.device)

    def _known(self, users: list[int]) -> Tensor:
        """Return the numbers by which the model knows users of the shelf, -1 for those that training had not."""
        assert self.shelf, "a model in service has one"
        names = [self.shelf.users[user]["name"] if user != NONE else None for user in users]
        numbers = [NONE if name is None else self.users.get(name, NONE) for name in names]
        return torch.tensor(numbers, device=self.bank.device)

    def keep_beside(self, folder: Path, pool: Split) -> None:
        """Write the shelf: each item's vector, also with each modality left out, its title and its ratings."""
        pool = self.numbered(pool)
        whole = {"": pool.features.keys(), **{m: pool.features.keys() - {m} for m in pool.features}}
        placed = {left: self.place_all(pool.only(set(used)), BATCH) for left, used in whole.items()}
        write_shelf(folder, pool.rows, placed, (self.params.liked, self.params.history))

    def read_beside(self, folder: Path) -> None:
        """Read the shelf."""
        self.shelf = Shelf.open(folder, self.params.history)

    @torch.inference_mode()
    def index_beside(self, folder: Path, exact_below: int, recall: float) -> dict[str, Built]:
        """Build the index of the shelf's items, by what its users would ask for."""
        self.read_beside(folder)
        assert self.shelf
        if len(self.shelf.items) <= exact_below:
            return {}
        users = drawn(len(self.shelf.users)).tolist()
        liked = torch.full((len(users), self.params.history), NONE, device=self.bank.device)
        for i, user in enumerate(users):
            history = torch.tensor(self.shelf.users[user]["history"], dtype=liked.dtype)
            liked[i, : len(history)] = history
        liked_AHD = self._of_items(liked, self.shelf.placed)[..., :-1]
        queries_AE = self._user(self._known(users), liked_AHD, liked != NONE)[0].cpu().numpy()
        return {"items": build_index(vectors_of(folder), queries_AE, recall)}

    def read_also(self, given: dict[str, bytes | None]) -> Arrays:
        """Return the number of a user, and the places of liked items; see `Shelf.asked`."""
        assert self.shelf, "a model in service has one"
        return self.shelf.asked(given)

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
        scores_AN = self.read(users, placed[0][histories.clamp_min(0)], histories >= 0, placed)
        return told(scores_AN.cpu().numpy(), split)

    @torch.inference_mode()
    def place_all(self, split: Split, batch_size: int) -> Placed:
        """Return the vectors of all items of a split, (N, D), and their appeal, (N,)."""
        placed = [self.place(batch) for _, _, batch in split.in_order(batch_size)]
        vectors_ND, appeal_N = (torch.cat(found) for found in zip(*placed, strict=True))
        return vectors_ND, appeal_N

    def read(self, users_A: Tensor, told_AHD: Tensor, real_AH: Tensor, placed: Placed) -> Tensor:
        """Return the scores of placed items for users by their numbers, and vectors of what they liked, (A, N)."""
        vectors_ND, appeal_N = placed
        return self.user(users_A, told_AHD, real_AH) @ vectors_ND.T + appeal_N + self.usual(users_A).unsqueeze(-1)

    def usual(self, users: Tensor) -> Tensor:
        """Return what users say before anything is said of the item, (A,): nothing, where only the order counts."""
        return torch.zeros(len(users), device=users.device)


def _numbers(config: ModelConfig, kind: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(config.vocabularies[kind])}


def told(scores_AN: np.ndarray, split: Split) -> Answers:
    """Return an answer for each item: its scores for the users who are asked about, and the media that it has."""
    media = [frozenset(m for m, t in split.features.items() if m != NUMBER and t.counts[i]) for i in range(len(split))]
    return [{"scores": scores_N, "media": found} for scores_N, found in zip(scores_AN.T, media, strict=True)]
