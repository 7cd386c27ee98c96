"""A recommender in service: who is asked for, what is advised, and why.

It recommends from a shelf: the items of its pool, placed once. Who asks is a user of it, whoever likes some of its
items, whose fields are told, or who likes what the media of the request say.

Shapes: B samples of a batch, K items shown to each, H history, D dim, E D + 1.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from stages.base.errors import InputError, MediaError
from stages.base.store import USER_FIELDS
from stages.models.catalogue import Built, Vectors, build_index, drawn
from stages.models.tables import PRESENT, Split
from stages.models.tasks.base import Answers, Arrays, Batch, size_of
from stages.models.tasks.recommend.parts import Asked, gains, in_words
from stages.models.tasks.recommend.rated import NONE
from stages.models.tasks.recommend.shelf import Shelf, vectors_of, write_shelf
from stages.models.tasks.recommend.towers import Who
from stages.models.tasks.recommend.two_towers import BATCH, TwoTowers
from stages.params import ExperimentBase, RecommendParams

NOTHING = 5e-6  # of a score, and below


class AdvisingTowers(TwoTowers):
    """Two towers that can be asked."""

    answer_types: ClassVar[dict[str, str]] = {
        "items": "strings",
        "titles": "strings",
        "scores": "doubles",
        "reasons": "strings",
    }
    also: ClassVar[tuple[str, ...]] = ("user", "liked")
    enough: ClassVar[bool] = True
    shelf: Shelf | None = None  # in service: what is recommended from

    @classmethod
    def beside(cls, experiment: ExperimentBase) -> tuple[str, ...]:
        """Return `also`, and what is told of a user where the model reads that."""
        assert isinstance(experiment, RecommendParams)
        return (*cls.also, *((USER_FIELDS,) if experiment.user_fields else ()))

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
        who = Who(self._known(batch["user"].tolist()), batch.get(USER_FIELDS))
        return Asked(who, told_BHD, real_BH)

    def _user(self, users: Who, told_BHD: Tensor, real_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of who is asked for, (B, D + 1), and what they say before anything is said of an item."""
        vectors_BD = self.user(users, told_BHD, real_BH)
        return torch.cat([vectors_BD, torch.ones_like(vectors_BD[:, :1])], dim=1), self.usual(users.numbers)

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
        told = torch.from_numpy(np.stack([self._fields(user) for user in users])) if self.told else None
        who = Who(self._known(users), None if told is None else told.to(self.bank.device))
        queries_AE = self._user(who, liked_AHD, liked != NONE)[0].cpu().numpy()
        return {"items": build_index(vectors_of(folder), queries_AE, recall)}

    def read_also(self, given: dict[str, bytes | None]) -> Arrays:
        """Return the number of a user, and the places of liked items; see `Shelf.asked`. Also what is told of the user.

        What is given counts in place of what is known, all of it.
        """
        assert self.shelf, "a model in service has one"
        asked = self.shelf.asked(given)
        if not self.told:
            return asked
        if not (data := given.get(USER_FIELDS)):
            return asked | {USER_FIELDS: self._fields(int(asked["user"]))}
        try:
            values = json.loads(data)
            if not isinstance(values, dict):
                raise ValueError("no object")
            return asked | {USER_FIELDS: self.told.numbers(self.told.given(values))}
        except MediaError as error:
            raise InputError(f"{USER_FIELDS}: {error}") from None
        except (ValueError, RecursionError):
            names = ", ".join(column.name for column in self.told.columns)
            raise InputError(f"{USER_FIELDS}: a JSON object of values by name is wanted, of {names}") from None

    def _fields(self, user: int) -> np.ndarray:
        """Return what is told of a user of the shelf, by number, (F, V); all is missing of -1."""
        assert self.told and self.shelf
        return self.told.numbers(self.shelf.cells(user) or [None] * len(self.told.columns))

    def asked_of_users(self) -> list[dict[str, Any]]:
        """Return what may be told of a user, field by field; see `Columns.described`."""
        return self.told.described() if self.told else []
