"""Recommenders learn tastes, place new items by their media and new users by what they like, and are told no test."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from stages.base.errors import InputError
from stages.models.encoders.base import FeatureSpec
from stages.models.model import build, load_model, save_model
from stages.models.pool import ASKS
from stages.models.tables import PRESENT, FeatureTable, Split
from stages.models.tasks import task_of
from stages.models.tasks.base import ModelConfig
from stages.models.tasks.recommend import RateTask, RecommendTask
from stages.models.tasks.recommend.pairs import take
from stages.models.tasks.recommend.rated import Rated
from stages.params import experiment_params
from stages.training.batches import TrainBatches
from tests.support.small_splits import CPU, make_config, project_params

ITEMS, USERS, KINDS, COLD, WIDTH = 60, 24, 3, 12, 8
EVALUATE = project_params().evaluate.model_copy(update={"batch_size": 16})
TRAIN = project_params().train.model_copy(update={"batch_size": 30, "texts_per_step": 8})
KIND = np.arange(ITEMS) % KINDS  # of an item; user u likes those of kind u % KINDS
MEDIA = [("image",) if i // KINDS % 2 else ("audio",) for i in range(ITEMS)]


def rows(asks: str, seed: int = 0) -> list[dict[str, Any]]:
    """Rate most items: the last `COLD` only on the test; users of odd number rate pictures alone in training."""
    rng = np.random.default_rng(seed)
    found = []
    for item in range(ITEMS):
        known = []
        for user in range(USERS):
            split = "test" if item >= ITEMS - COLD else ("train", "train", "train", "val", "test")[rng.integers(5)]
            if split != "train" or not (user % 2 and "audio" in MEDIA[item]):
                known.append((f"u{user:02d}", 5.0 if user % KINDS == KIND[item] else 1.0, item, split))
        columns = zip(*known, strict=True)
        lists = dict(zip(("users", "values", "times", "splits"), map(list, columns), strict=True))
        row = {f"rating_{name}": values for name, values in lists.items()}
        found.append({"sample_id": f"i{item:02d}", "message": f"item {item}", ASKS: asks, **row})
    return found


def split_of(found: list[dict[str, Any]]) -> Split:
    """Give each item a medium that says its kind, another way in pictures than in sounds."""
    rng = np.random.default_rng(1)
    tables = {}
    for place, medium in enumerate(("image", "audio")):
        features = 0.1 * rng.normal(size=(ITEMS, WIDTH)) + np.roll(np.eye(WIDTH)[KIND], 3 * place, axis=1)
        places = [[i] if medium in MEDIA[i] else [] for i in range(ITEMS)]
        tables[medium] = FeatureTable(features.astype(np.float32), places, CPU, 1e9)
    return Split(found, tables)


def config(found: list[dict[str, Any]], **changes: Any) -> ModelConfig:
    own = {"modality_dropout": 0.3, "history": 5, "liked": 4, "item_number": True, "user_number": True}
    known = {"image": "projection", "audio": "projection", "text": "none", "question": "none", "video": "none"}
    made = make_config("recommend", ("image", "audio"), feedback="implicit", encoders=known, **own)
    experiment = experiment_params(made.experiment.model_dump() | changes)
    specs = {modality: FeatureSpec((WIDTH,)) for modality in ("image", "audio")}
    return ModelConfig(experiment, specs, task_of(experiment).learn(experiment, found))


def trained(steps: int = 200, make: Callable[[str], list[dict[str, Any]]] = rows, **changes: Any) -> RecommendTask:
    torch.manual_seed(0)
    found = make("train")
    task = build(config(found, **changes))
    assert isinstance(task, RecommendTask)
    batches = TrainBatches(split_of(found), task, TRAIN)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    while steps > 0:
        for batch in batches:
            optimizer.zero_grad()
            task.loss(batch, TRAIN).backward()
            optimizer.step()
            steps -= 1
        batches.epoch += 1
    return task.eval()


@pytest.fixture(scope="module")
def liking() -> RecommendTask:
    return trained()


@pytest.fixture(scope="module")
def test() -> Split:
    return split_of(rows("test"))


@pytest.mark.parametrize("changes", [{}, {"loss": "bpr"}, {"user_number": False}, {"history": 0}])
def test_it_learns_who_likes_what(liking, test, changes):
    task = trained(**changes) if changes else liking
    metrics = task.metrics(task.answer(test, EVALUATE), test.rows)
    popular = task.metrics(task.baselines(test, test)["popularity"], test.rows)
    assert metrics["ndcg_at_10"] > 0.85 > 0.7 > popular["ndcg_at_10"]
    assert metrics["cold_items"]["ndcg_at_10"] > 0.8 > popular["cold_items"]["ndcg_at_10"]


def test_training_begins_at_popularity(test):
    task = build(config(rows("train"), history=0)).eval()
    assert isinstance(task, RecommendTask)
    torch.nn.init.zeros_(task.user.number.weight)  # small ones at first
    known = np.array(Rated(test.rows).popularity) > 0
    counted, begun = (
        np.stack([answer["scores"] for answer in found])[known]
        for found in (task.baselines(test, test)["popularity"], task.answer(test, EVALUATE))
    )
    np.testing.assert_allclose(begun - begun.mean(), np.log1p(counted) - np.log1p(counted).mean(), atol=1e-4)


def test_liking_pictures_leads_to_sounds(liking, test):
    new = liking.metrics(liking.answer(test, EVALUATE), test.rows)["new_media"]
    popular = liking.metrics(liking.baselines(test, test)["popularity"], test.rows)["new_media"]
    assert new["num_users"] == USERS // 2 and new["ndcg_at_10"] > 0.55 > 0.4 > popular["ndcg_at_10"]
    assert new["recall_at_10"] > 1.4 * new["chance_recall_at_10"]


def test_ratings_are_foretold(test):
    task = trained(feedback="explicit")
    assert isinstance(task, RateTask)
    answers = task.answer(test, EVALUATE)
    metrics = task.metrics(answers, test.rows)
    assert metrics["r2"] > 0.8 and metrics["rmse"] < 1.0 and metrics["ratings_of_cold_items"]["r2"] > 0.5
    means = task.metrics(task.baselines(test, test)["item_mean_and_user_bias"], test.rows)
    assert means["r2"] < 0.5  # nobody is liked by all
    records = task.records(answers, test.rows)
    assert task.metric_of(task.statistics(records, "r2").sum(0), "r2") == pytest.approx(metrics["r2"])


@pytest.fixture(scope="module")
def served(liking: RecommendTask, tmp_path_factory: pytest.TempPathFactory) -> RecommendTask:
    """Return the model as it is in service, read from its folder."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, liking.config, liking.state_dict(), {}, {})
    liking.keep_beside(folder, split_of(rows("train")))
    again = load_model(folder, CPU)
    again.read_beside(folder)
    assert isinstance(again, RecommendTask)
    return again


def advised(task: RecommendTask, medium: tuple[str, np.ndarray] | None = None, **given: bytes) -> dict[str, Any]:
    """Ask a model in service about one user."""
    batch = asked(task, medium, **given)
    return task.explained(batch, task.predict(batch, EVALUATE))[0]


def asked(task: RecommendTask, medium: tuple[str, np.ndarray] | None, **given: bytes) -> dict[str, torch.Tensor]:
    batch = {}
    for modality in ("image", "audio"):
        there = medium is not None and medium[0] == modality
        batch[modality] = torch.from_numpy(medium[1][None]) if there else torch.zeros(1, WIDTH)
        batch[modality + PRESENT] = torch.tensor([there])
    return batch | {name: torch.from_numpy(value[None, ...]) for name, value in task.read_also(given).items()}


def test_what_is_served_is_what_is_evaluated(liking, served, test):
    answers, rated = liking.answer(test, EVALUATE), Rated(test.rows)
    for place in (1, 7, 13):  # who have not heard all
        name = str(rated.names[rated.askers[place]])
        told = advised(served, user=name.encode())
        scores = {row["sample_id"]: answer["scores"][place] for row, answer in zip(test.rows, answers, strict=True)}
        assert told["scores"] == pytest.approx([scores[item] for item in told["items"]], abs=1e-5)
        known = {row["sample_id"] for row in test.rows if name in row["rating_users"]}
        assert not known & set(told["items"])
        assert min(told["scores"]) >= max(
            (score for item, score in scores.items() if item not in known | set(told["items"])), default=-np.inf
        )


def test_a_new_user_is_known_by_what_is_liked_or_described(served):
    for kind in range(KINDS):
        liked = f"i{kind:02d}, i{kind + KINDS:02d}"
        told = advised(served, liked=liked.encode())
        assert sum(KIND[int(item[1:])] == kind for item in told["items"]) >= 8 and not set(told["items"]) & {liked[:3]}
        assert told["titles"][0] == f"item {int(told['items'][0][1:])}"
        assert all("liked +" in reason for reason in told["reasons"])
        described = advised(served, ("image", np.eye(WIDTH, dtype=np.float32)[kind]))
        assert sum(KIND[int(item[1:])] == kind for item in described["items"]) >= 8


def test_a_part_of_a_score_is_what_is_gone_without_it(served):
    medium = ("image", np.eye(WIDTH, dtype=np.float32)[1])
    batch = asked(served, medium, liked=b"i02, i05", user=b"u07")
    told = served.explained(batch, served.predict(batch, EVALUATE))[0]

    @torch.inference_mode()
    def scores(changed: dict[str, torch.Tensor], left: str = "") -> list[float]:
        who = served._asked(batch | changed)
        query_BE, usual_B = served._user(who.users, who.told, who.real)
        placed = served.shelf.without[left] if left else served.shelf.placed
        found_N = served._of_items(torch.arange(ITEMS), placed) @ query_BE[0] + usual_B[0]
        return [float(found_N[served.shelf.items.find("id", item)]) for item in told["items"]]

    gone = {"user": torch.tensor([-1])}, {"liked": torch.full((1, 5), -1)}, {"image" + PRESENT: torch.tensor([False])}
    without = {name: scores(change) for name, change in zip(("user", "liked", "given"), gone, strict=True)}
    without |= {name: scores({}, left=name) for name in ("image", "audio", "number")}
    for i, parts in enumerate(told["parts"]):
        for name, left in without.items():
            assert parts.get(name, 0.0) == pytest.approx(told["scores"][i] - left[i], abs=1e-5)
    assert all({"given", "liked", "user"} < parts.keys() for parts in told["parts"])
    for item, parts in zip(told["items"], told["parts"], strict=True):
        assert {"image", "audio"} & set(parts) == set(MEDIA[int(item[1:])])
    assert not {"user", "liked"} & advised(served, medium)["parts"][0].keys()
    assert served.details(told)["parts"][0].keys() == told["parts"][0].keys()


def test_items_are_found_by_the_words_of_their_titles_the_most_rated_first(served):
    shelf = served.shelf
    counts = np.bincount(np.concatenate([shelf.users[user]["seen"] for user in range(len(shelf.users))]))
    found = [one["item"] for one in shelf.find("", 100)]
    assert len(found) == ITEMS and [counts[shelf.items.find("id", item)] for item in found] == sorted(
        counts, reverse=True
    )
    assert {one["item"] for one in shelf.find("4 ITÉM", 100)} == {f"i{i:02d}" for i in range(ITEMS) if "4" in str(i)}
    assert shelf.find("item 7", 1) == [{"item": "i07", "title": "item 7"}] and not shelf.find("nothing", 5)
    assert len(shelf.find("item", 5)) == 5


def test_ids_with_commas_are_given_as_a_list(served):
    given = [served.read_also({"liked": text})["liked"].tolist() for text in (b'["i03", "i04"]', b"i03; i04")]
    assert given[0] == given[1] == [3, 4, -1, -1, -1]
    with pytest.raises(InputError, match="no item is called 'a, b'"):
        served.read_also({"liked": b'["a, b"]'})


def test_users_and_items_that_there_are_not_are_named(served):
    with pytest.raises(InputError, match="user 'nobody' is not known; such as 'u00', 'u01', 'u02'"):
        served.read_also({"user": b"nobody"})
    with pytest.raises(InputError, match="no item is called 'i99'; ids are wanted, such as 'i00', 'i01', 'i02'"):
        served.read_also({"liked": b"i01, i99"})


def test_what_the_test_says_changes_neither_training_nor_scores(liking):
    def altered(asks: str) -> list[dict[str, Any]]:
        found = rows(asks)
        for row in found:
            values = zip(row["rating_values"], row["rating_splits"], strict=True)
            row["rating_values"] = [6.0 - value if split == "test" else value for value, split in values]
        return found

    assert RecommendTask.learn(liking.config.experiment, altered("train")) == {
        key: liking.config.vocabularies[key] for key in ("users", "items", "mean_rating", "times_liked")
    }
    one, other = (
        next(iter(TrainBatches(split_of(found), liking, TRAIN))) for found in (rows("train"), altered("train"))
    )
    assert one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one)
    scores = [liking.answer(split_of(found), EVALUATE) for found in (rows("test"), altered("test"))]
    for answer, same in zip(*scores, strict=True):
        assert np.array_equal(answer["scores"], same["scores"])


def test_what_is_asked_stands_in_no_history_and_nothing_later_is_a_negative():
    found = rows("train")
    task = build(config(found))
    batch = take(task.targets(found), np.arange(ITEMS), None, None)
    assert not (batch["pair_histories"] == batch["number"][batch["pair_items"]][:, None]).any()
    assert (batch["number"][ITEMS - COLD :] == -1).all()  # which the loss leaves out
    assert {found[i]["rating_splits"][0] for i in batch["pair_items"]} <= {"train", "val", "test"}
    rated = Rated(found)
    assert len(batch["pair_items"]) == ((rated.splits_P == 0) & (rated.values_P >= 4)).sum()


def test_it_is_read_again_as_it_was(liking, test, tmp_path):
    save_model(tmp_path, liking.config, liking.state_dict(), {}, {})
    again = load_model(tmp_path, CPU)
    for answer, same in zip(liking.answer(test, EVALUATE), again.answer(test, EVALUATE), strict=True):
        assert np.array_equal(answer["scores"], same["scores"])


def test_a_data_set_of_likes_alone_is_no_data_set_of_ratings():
    found = rows("train")
    for row in found:
        row["rating_values"] = [1.0 for _ in row["rating_values"]]
    values = config(found, feedback="explicit")
    told = [fault.text for fault in RateTask.faults(values, {"train": split_of(found)})]
    assert told == ["all ratings in training are equal; set experiments.<name>.feedback to implicit"]
    (nothing,) = RecommendTask.faults(values, {"train": split_of(found)})
    assert nothing.fatal and "nothing is liked" in nothing.text


def test_nothing_known_of_a_user_is_refused():
    with pytest.raises(ValueError, match="nothing is known of a user"):
        config(rows("train"), user_number=False, history=0)
    assert experiment_params(config(rows("train")).experiment.model_dump()).task == "recommend"
