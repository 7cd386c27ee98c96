"""Metrics of recommendation against cases computed by hand, and against a naive oracle."""

import math

import numpy as np
import pytest

from stages.models.metrics.recommendation import ndcg_at, ranking_metrics, ranks_among, rating_metrics, recall_at, top

SCORES = np.array([0.1, 0.9, 0.4, 0.4, 0.7])
EVERY = np.ones(5, bool)


def test_ranks_are_among_what_may_be_recommended_and_ties_count_against():
    assert ranks_among(SCORES, EVERY, np.array([1, 4, 2, 0])).tolist() == [1, 2, 4, 5]
    seen = np.array([True, False, True, True, True])  # the best is known already
    assert ranks_among(SCORES, seen, np.array([4, 3])).tolist() == [1, 3]
    assert ranks_among(np.zeros(5), EVERY, np.array([0, 4])).tolist() == [5, 5]
    with pytest.raises(ValueError, match="not finite"):
        ranks_among(np.array([np.nan, 1.0]), EVERY[:2], np.array([1]))


def test_ranks_are_those_of_a_naive_count():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, allowed = rng.integers(0, 9, 30) / 2, rng.random(30) < 0.7
        wanted = np.flatnonzero(allowed)[:5]
        naive = [sum(1 for i in range(30) if allowed[i] and scores[i] >= scores[w]) for w in wanted]
        assert ranks_among(scores, allowed, wanted).tolist() == naive


def test_the_best_come_first():
    assert top(SCORES, EVERY, 3).tolist() == [1, 4, 2]
    assert top(SCORES, SCORES < 0.9, 9).tolist() == [4, 2, 3, 0]


def test_gain_is_of_the_most_there_could_be():
    assert ndcg_at(np.array([1, 2])) == 1.0
    assert ndcg_at(np.array([3])) == pytest.approx(1 / 2)
    assert ndcg_at(np.array([1, 4, 11]), k=10) == pytest.approx((1 + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2))
    assert ndcg_at(np.arange(1, 31), k=10) == pytest.approx(1.0)  # more are liked than have room
    assert recall_at(np.array([1, 4, 11, 12])) == 0.5


def test_users_count_alike_however_much_they_like():
    found = ranking_metrics([np.array([1]), np.array([11, 12, 13, 14])])
    assert found == {"ndcg_at_10": 0.5, "recall_at_10": 0.5, "hit_rate_at_10": 0.5}
    with pytest.raises(ValueError, match="nothing to find"):
        ranking_metrics([np.array([1]), np.array([], int)])


def test_ratings_are_held_against_who_says_the_mean():
    perfect = rating_metrics(np.array([1.0, 5.0]), np.array([1.0, 5.0]), 3.0)
    assert perfect == {"r2": 1.0, "rmse": 0.0, "mae": 0.0}
    assert rating_metrics(np.array([3.0, 3.0]), np.array([1.0, 5.0]), 3.0) == {"r2": 0.0, "rmse": 2.0, "mae": 2.0}
    assert rating_metrics(np.array([2.0]), np.array([3.0]), 3.0)["r2"] == 0.0
