"""Distances between pictures against cases done by hand, and judges that learn what they are to judge."""

import json

import numpy as np
import pytest

from stages.models.baselines import nearest_texts
from stages.models.metrics.pictures.distances import frechet, nearest, spread
from stages.models.metrics.pictures.judges import SceneJudge, Seen
from tests.support.small_splits import LEXICON


def test_the_frechet_distance_of_normal_sets_is_that_of_their_moments():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3))
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet(x, x + [3.0, 0.0, 4.0]) == pytest.approx(25)
    assert frechet(x, 3 * x) == pytest.approx(4 * x.var(0, ddof=1).sum() + 4 * np.square(x.mean(0)).sum())


def test_fewer_pictures_are_further_apart_though_they_are_alike():
    x = np.random.default_rng(0).normal(size=(400, 8))
    assert frechet(x[:20], x[20:40]) > 2 * frechet(x[:200], x[200:])


def test_the_nearest_picture_is_found_across_parts():
    rng = np.random.default_rng(1)
    known = rng.integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    asked = known[[5, 0, 6]].copy()
    asked[1, 0, 0, 0] ^= 255
    numbers, ways = nearest(asked, [known[:3], known[3:]])
    assert numbers.tolist() == [5, 0, 6]
    off = abs(int(asked[1, 0, 0, 0]) - int(known[0, 0, 0, 0])) / 255
    assert ways == pytest.approx([0, off / np.sqrt(48), 0], abs=1e-7)


def test_equal_pictures_have_no_spread():
    picture = np.full((2, 2, 3), 7, np.uint8)
    assert spread([picture, picture]) == spread([picture]) == 0


def test_the_nearest_text_has_most_words_in_common():
    train = [{"tokens": ["a red cat", "a cat"]}, {"tokens": ["a blue dog"]}, {"tokens": ["a dog and a cat"]}]
    asked = [{"tokens": ["a blue dog runs"]}, {"tokens": ["cat"]}, {"tokens": ["a dog and cat", "a red cat"]}]
    assert nearest_texts(asked, train) == [1, 0, 2]
    assert nearest_texts([{"tokens": []}], train) is None


def test_a_judge_of_scenes_reads_what_is_in_a_picture():
    rng = np.random.default_rng(0)
    kinds = {"bird": 40, "cat": 140, "dog": 240}
    pictures, rows = np.zeros((280, 32, 32, 3), np.uint8), []
    for i in range(len(pictures)):
        things = []
        for place in range(1 + i % 2):
            kind = list(kinds)[(i // 2 + place) % 3]
            colour = ("red", "blue")[int(rng.integers(2))]
            top, left = rng.integers(1, 22), 3 + 16 * place
            pictures[i, top : top + 8, left : left + 8, 0 if colour == "red" else 2] = 255
            pictures[i, top : top + 8, left : left + 8, 1] = kinds[kind]
            things.append({"kind": kind, "colour": colour})
        rows.append({"truth": json.dumps({"objects": things})})
    judge = SceneJudge(LEXICON, Seen(pictures[:240], rows[:240]))
    right = []
    for found, row in zip(judge.find(pictures[240:]), rows[240:], strict=True):
        told, true = (
            sorted((t["kind"], t["colour"]) for t in of["objects"]) for of in (found, json.loads(row["truth"]))
        )
        right.append(told == true)
    assert np.mean(right) > 0.8
    assert judge.features(pictures[:5]).shape == (5, 96)
