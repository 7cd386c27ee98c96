"""What is told of users is learnt from, counts for whoever is new, and can be told when a model is asked."""

from typing import Any

import pytest

from stages.base.errors import InputError
from stages.media.columns import Columns, learnt
from stages.media.fields.kinds import Habit
from stages.models.model import load_model, save_model
from stages.models.pool import USERS as TOLD
from stages.models.pool import UserCells
from stages.models.tables import Split
from stages.models.tasks.recommend import RecommendTask
from tests.models.tasks.recommend import test_recommend as base
from tests.models.tasks.recommend.test_recommend import CPU, EVALUATE, KIND, KINDS, USERS, advised

TEAMS = ("red", "green", "blue")  # of a user, whose number by kind says what is liked
UNKNOWN = "u03"


def told_of() -> UserCells:
    cells = {f"u{user:02d}": [TEAMS[user % KINDS], str(20 + user)] for user in range(USERS)}
    del cells[UNKNOWN]
    habits = {"team": Habit("category"), "age": Habit("number")}
    columns = zip(habits.items(), zip(*cells.values(), strict=True), strict=True)
    return UserCells(Columns(learnt(name, habit, found, 1) for (name, habit), found in columns), cells)


def rows(asks: str) -> list[dict[str, Any]]:
    told = told_of()
    return [row | {TOLD: told} for row in base.rows(asks)]


@pytest.fixture(scope="module")
def told() -> RecommendTask:
    """Return a model that knows users by what is told of them alone."""
    return base.trained(make=rows, user_number=False, history=0, user_fields=True)


@pytest.fixture(scope="module")
def served(told: RecommendTask, tmp_path_factory: pytest.TempPathFactory) -> RecommendTask:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, told.config, told.state_dict(), {}, {})
    told.keep_beside(folder, base.split_of(rows("train")))
    again = load_model(folder, CPU)
    again.read_beside(folder)
    assert isinstance(again, RecommendTask)
    return again


def kinds_of(answer: dict[str, Any]) -> list[int]:
    return [int(KIND[int(item[1:])]) for item in answer["items"]]


def test_what_is_told_of_users_says_what_they_like(told):
    test: Split = base.split_of(rows("test"))
    metrics = told.metrics(told.answer(test, EVALUATE), test.rows)
    without = told.metrics(told.baselines(test, test)["without_user_fields"], test.rows)
    assert metrics["ndcg_at_10"] > 0.8 > 0.7 > without["ndcg_at_10"]


def test_a_new_user_is_known_by_what_is_told(served):
    for kind, team in enumerate(TEAMS):
        answer = advised(served, user_fields=f'{{"team": "{team}"}}'.encode())
        assert kinds_of(answer).count(kind) >= 8
        assert all("user_fields +" in reason for reason in answer["reasons"])


def test_what_is_given_counts_in_place_of_what_is_known(served):
    assert kinds_of(advised(served, user=b"u01"))[0] == 1  # of the few that the user has not seen
    assert kinds_of(advised(served, user=b"u01", user_fields=b'{"team": "blue"}'))[0] == 2
    nothing = advised(served, user=UNKNOWN.encode())
    assert nothing["items"] and not any("user_fields" in parts for parts in nothing["parts"])


def test_a_model_says_what_may_be_told(served):
    team, age = served.asked_of_users()
    assert set(team["categories"]) == set(TEAMS) and (age["kind"], age["range"]) == ("number", [20.0, 43.0])
    assert served.beside(served.config.experiment) == ("user", "liked", "user_fields")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b'{"size": 3}', "user_fields: unknown field 'size'; expected some of team, age"),
        (b'{"age": "old"}', "user_fields: age: a number is wanted, not 'old'"),
        (b"red", "user_fields: a JSON object of values by name is wanted, of team, age"),
        (b"[1]", "user_fields: a JSON object of values by name is wanted, of team, age"),
    ],
)
def test_what_cannot_be_told_is_named(served, given, message):
    with pytest.raises(InputError, match=message):
        served.read_also({"user_fields": given})


def test_a_data_set_that_tells_nothing_of_users_is_named():
    with pytest.raises(InputError, match="user_fields is true, and data set .* tells nothing of its users"):
        base.config(base.rows("train"), user_fields=True)
