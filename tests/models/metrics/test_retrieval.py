"""Retrieval: ranks against a sort, ties against the model, blocks against the whole."""

import doctest
from itertools import permutations

import numpy as np
import pytest

from stages.models.metrics import retrieval
from stages.models.metrics.retrieval import RECALL_AT, expected_recalls, rank_all, rank_metrics, ranks, recall_at


def retrieval_metrics(images, texts, owner):
    number = np.arange(len(images))
    return rank_metrics("image_to_text", rank_all(images, texts, number, owner)) | rank_metrics(
        "text_to_image", rank_all(texts, images, owner, number)
    )


def mean_recall(scores):
    return np.mean([value for name, value in scores.items() if "recall" in name])


def random_space(num_images=12, num_texts=40, dim=4, seed=0):
    """Embeddings with noise, every image with at least one text, in no order."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(
        np.concatenate([np.arange(num_images), rng.integers(0, num_images, num_texts - num_images)])
    )
    images = rng.normal(size=(num_images, dim))
    return images, images[owner] + rng.normal(size=(num_texts, dim)), owner


def naive_ranks(queries, items, owner_of_query, owner_of_item):
    """Sort all items by cosine, the relevant ones last among equals, and look for the first relevant one."""
    found = []
    for query, owner in zip(queries, owner_of_query, strict=True):
        cosines = [query @ item / np.linalg.norm(query) / np.linalg.norm(item) for item in items]
        order = sorted((-cosine, owner_of_item[i] == owner) for i, cosine in enumerate(cosines))
        found.append(1 + [relevant for _, relevant in order].index(True))
    return np.array(found)


def test_docstring_examples_hold():
    results = doctest.testmod(retrieval)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("block_cells", [1, 100, 2**22])
def test_metrics_equal_the_naive_ones_whatever_the_block(block_cells, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK_CELLS", block_cells)
    images, texts, owner = random_space()
    scores = retrieval_metrics(images, texts, owner)
    ways = {
        "image_to_text": naive_ranks(images, texts, np.arange(len(images)), owner),
        "text_to_image": naive_ranks(texts, images, owner, np.arange(len(images))),
    }
    recalls = []
    for way, found in ways.items():
        for k in (1, 5, 10):
            recalls.append(np.mean([rank <= k for rank in found]))
            assert scores[f"{way}_recall_at_{k}"] == pytest.approx(recalls[-1])
        assert scores[f"{way}_median_rank"] == np.median(found)
    assert mean_recall(scores) == pytest.approx(np.mean(recalls))
    assert len(scores) == 8 and all(type(score) is float for score in scores.values())
    assert 0 < scores["text_to_image_recall_at_1"] < 1


def test_of_an_images_texts_the_best_ranked_counts():
    similarity = np.array([[0.1, 0.9, 0.5, 0.7]])
    assert ranks(similarity, np.array([0]), np.array([0, 1, 0, 1])).tolist() == [3]
    assert ranks(similarity, np.array([0]), np.array([0, 0, 1, 1])).tolist() == [1]


def test_ties_count_against_the_model():
    assert ranks(np.zeros((1, 5)), np.array([0]), np.array([0, 1, 2, 3, 4])).tolist() == [5]
    assert ranks(np.zeros((1, 5)), np.array([0]), np.array([0, 0, 2, 3, 4])).tolist() == [4]


def test_a_model_that_finds_all_alike_comes_last():
    rng = np.random.default_rng(0)
    one = rng.normal(size=64).astype(np.float32)
    scores = retrieval_metrics(np.tile(one, (20, 1)), np.tile(one, (20, 1)) * 3, np.arange(20))
    assert scores["image_to_text_median_rank"] == scores["text_to_image_median_rank"] == 20
    assert mean_recall(scores) == 0


def test_lengths_of_vectors_do_not_matter_and_a_zero_vector_finds_nothing():
    images, texts, owner = random_space()
    stretch = np.random.default_rng(1).uniform(0.5, 2, (len(images), 1))
    assert retrieval_metrics(images * stretch, texts * 5, owner) == retrieval_metrics(images, texts, owner)
    collapsed = retrieval_metrics(np.zeros_like(images), texts, owner)
    assert mean_recall(collapsed) < 0.2
    assert collapsed["text_to_image_median_rank"] == len(images)


def test_recall_counts_ranks_up_to_k():
    assert [recall_at(np.array([1, 2, 5, 11]), k) for k in (1, 5, 10, 11)] == [0.25, 0.75, 0.75, 1.0]


def test_a_query_with_nothing_to_find_is_refused():
    with pytest.raises(ValueError, match="owner 2 has no item to find"):
        retrieval_metrics(np.eye(3), np.eye(3), np.array([0, 0, 1]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_number_is_refused_and_never_ranked_first(value):
    spoilt = np.eye(3)
    spoilt[1, 1] = value
    with pytest.raises(ValueError, match="not finite numbers"):
        retrieval_metrics(spoilt, np.eye(3), np.arange(3))


def test_a_space_without_queries_is_refused():
    with pytest.raises(ValueError, match="image_to_text: no query has anything to find"):
        retrieval_metrics(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int))


def test_expected_recall_is_the_mean_over_every_order_of_equal_items():
    rng = np.random.default_rng(3)
    misfits_QN = rng.integers(0, 3, (4, 6)).astype(float)
    own_QN = rng.random((4, 6)) < 0.4
    own_QN[3] = False  # asks nothing
    found = expected_recalls("x", misfits_QN, own_QN)
    for k in RECALL_AT:
        hits = []
        for misfits_N, own_N in zip(misfits_QN[:3], own_QN[:3], strict=True):
            orders = [np.array(order) for order in permutations(range(6))]
            ranked = [order[np.argsort(misfits_N[order], kind="stable")] for order in orders]
            hits.append(np.mean([own_N[order[:k]].any() for order in ranked]))
        assert found[f"x_recall_at_{k}"] == pytest.approx(np.mean(hits))
    assert 0 < found["x_recall_at_1"] < found["x_recall_at_5"]
