"""Users rate scenes by what is in them: the truth tells their ratings, and half of them know one medium alone."""

from pathlib import Path

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.params import ScenesParams
from stages.sources.base import RawSample
from stages.sources.scenes import Scenes
from stages.sources.scenes.people.tastes import medium_of, users
from stages.sources.scenes.world import COLOURS, SHAPES

SECTION = {
    **{"source": "scenes", "folder": "none", "samples": 120, "image_size_px": 32, "max_objects": 2},
    **{"captions_per_image": 2, "questions_per_image": 1, "noise": 0.0, "cue_error": 0.1},
}
USERS = 30


def made(folder: Path, **changes: object) -> list[RawSample]:
    source = Scenes(ScenesParams.model_validate(SECTION | {"users": USERS, "ratings_per_user": 60} | changes))
    source.generate(folder, seed=3)
    return list(source.read(folder))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return made(tmp_path_factory.mktemp("tastes"))


def test_a_scene_comes_in_one_medium(samples):
    for index, sample in enumerate(samples):
        there = {name for name in ("image", "audio", "texts", "message", "questions") if getattr(sample, name)}
        wanted = {"image": {"image", "questions"}, "audio": {"audio"}, "texts": {"texts", "message"}}
        assert there == wanted[medium_of(index)]
    assert {medium_of(index) for index, s in enumerate(samples) if s.split == "test"} == {"image", "audio", "texts"}


def test_ratings_are_what_the_truth_says_but_for_doubt(samples):
    pairs = [(r.value, s.truth["liking"][r.user]) for s in samples for r in s.ratings]
    values, liking = np.array(pairs).T
    assert set(values) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert np.abs(values - liking.clip(1, 5)).mean() < 0.5


def test_users_of_one_medium_learn_from_that_alone_and_are_asked_about_all(samples):
    only = {user.name: user.medium for user in users(3, USERS) if user.medium}
    assert len(only) == USERS // 2
    for index, sample in enumerate(samples):
        for rating in sample.ratings:
            assert rating.split == sample.split or sample.split == "train"
            if rating.split == "train":
                assert only.get(rating.user) in (None, medium_of(index))
    assert {medium_of(i) for i, s in enumerate(samples) for r in s.ratings if r.split == "test" and r.user in only} == {
        *("image", "audio", "texts")
    }


def test_more_scenes_leave_those_before_as_they_were_and_without_users_nothing_is_rated(samples, tmp_path):
    again = made(tmp_path, samples=140, ratings_per_user=70)  # as many of all
    assert [sample.ratings for sample in again[:120]] == [sample.ratings for sample in samples]
    alone = made(tmp_path, users=0)
    assert not alone[0].ratings and alone[0].image and alone[0].audio and "liking" not in alone[0].truth
    with pytest.raises(InputError, match="users of the source scenes is set beside clips"):
        made(tmp_path, clips=True)


def test_most_users_say_what_they_like_best(tmp_path):
    made(tmp_path)
    source = Scenes(ScenesParams.model_validate(SECTION | {"users": USERS, "ratings_per_user": 60}))
    said = source.users(tmp_path)
    assert said.kinds == {"colour": "category", "shape": "category"} and len(said.cells) == USERS * 4 // 5
    for user in users(3, USERS):
        if user.name in said.cells:
            best = said.cells[user.name]
            assert user.colours[COLOURS.index(best["colour"])] == user.colours.max()
            assert user.shapes[SHAPES.index(best["shape"])] == user.shapes.max()
    assert Scenes(ScenesParams.model_validate(SECTION)).users(tmp_path) is None
