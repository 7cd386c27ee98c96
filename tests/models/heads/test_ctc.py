"""CTC: its loss, search and alignment against all ways to read a text, counted one by one."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.models.heads.ctc.alignment import align, ctc_loss, needed, spread
from stages.models.heads.ctc.ngrams import NGrams, count_ngrams
from stages.models.heads.ctc.reader import Reader
from stages.models.heads.ctc.search import greedy, prefix_search

MOMENTS, UNITS = 5, 4  # the blank among them


def drawn(seed: int) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(size=(MOMENTS, UNITS)) * 2
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def read(path: tuple[int, ...]) -> tuple[int, ...]:
    """Return what a unit for each moment reads as."""
    return tuple(unit for unit, _ in itertools.groupby(path) if unit)


def all_texts(log_probs_TV: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the probability of each text, summed over all its ways."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(UNITS), repeat=MOMENTS):
        probability = math.exp(sum(log_probs_TV[moment, unit] for moment, unit in enumerate(path)))
        found[read(path)] = found.get(read(path), 0.0) + probability
    return found


def no_opinion(_: tuple[int, ...]) -> float:
    return 0.0


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_search_finds_the_likeliest_of_all_texts(seed):
    log_probs_TV = drawn(seed)
    texts = all_texts(log_probs_TV)
    assert sum(texts.values()) == pytest.approx(1)
    assert tuple(prefix_search(log_probs_TV, 500, no_opinion, no_opinion)) == max(texts, key=texts.__getitem__)


def test_a_search_weighs_what_is_likely_to_be_said():
    log_probs_TV, wanted = drawn(0), (3, 1, 3)
    texts = all_texts(log_probs_TV)
    judged = {text: probability * (1e6 if text == wanted else 1.0) for text, probability in texts.items()}
    found = prefix_search(log_probs_TV, 500, no_opinion, lambda text: math.log(1e6) if text == wanted else 0.0)
    assert tuple(found) == max(judged, key=judged.__getitem__) == wanted


@pytest.mark.parametrize(
    ("units", "places"),
    [([1, 1], [(0.0, 0.5), (0.5, 1.0)]), ([1, 2, 1], [(0.1, 0.3), (0.3, 0.6), (0.7, 1.0)]), ([2], [(0.41, 0.59)])],
)
def test_units_at_their_times_read_as_the_text(units, places):
    found_T = spread(units, places, 1.0, 20)
    assert read(tuple(found_T)) == tuple(units)
    assert not found_T[: int(places[0][0] * 20)].any()
    assert {(i + 0.5) / 20 for i in np.flatnonzero(found_T)} <= {
        (i + 0.5) / 20 for i in range(20) for start, end in places if start <= (i + 0.5) / 20 < end
    }


def test_the_loss_is_that_of_all_ways_to_read_a_text_for_each_of_its_units():
    log_probs_TV, text = drawn(1), (2, 2)
    logits = torch.tensor(np.stack([log_probs_TV, log_probs_TV])).float()
    one = -math.log(all_texts(log_probs_TV)[text]) / 2
    assert ctc_loss(logits[:1], torch.tensor([[2, 2]])).item() == pytest.approx(one, rel=1e-4)
    other = -math.log(all_texts(log_probs_TV)[(1, 2, 3)]) / 3
    both = ctc_loss(logits, torch.tensor([[2, 2, 0], [1, 2, 3]]))
    assert both.item() == pytest.approx((one + other) / 2, rel=1e-4)


def test_a_text_that_does_not_fit_and_one_that_is_empty_do_not_count():
    logits = torch.tensor(np.stack([drawn(1)] * 3)).float()
    texts = torch.tensor([[1, 2, 3], [1, 1, 1], [0, 0, 0]])
    assert needed(torch.tensor([[1, 1, 1, 0], [1, 2, 1, 2], [0, 0, 0, 0]])).tolist() == [5, 4, 0]
    alone = ctc_loss(logits[:1, :4], texts[:1])
    assert ctc_loss(logits[:, :4], texts).item() == pytest.approx(alone.item())  # three equal ones need five moments
    assert ctc_loss(logits[2:], texts[2:]).item() == 0.0


@pytest.mark.parametrize("text", [[1], [2, 2], [3, 1, 2], [1, 2, 1, 3, 2], []])
def test_an_alignment_is_the_likeliest_of_all_ways_to_read_the_text(text):
    log_probs_TV = drawn(7)
    ways = [path for path in itertools.product(range(UNITS), repeat=MOMENTS) if read(path) == tuple(text)]
    best = max(ways, key=lambda path: sum(log_probs_TV[moment, unit] for moment, unit in enumerate(path)))
    spans, moment = [], 0
    for unit, run in itertools.groupby(best):
        length = len(list(run))
        spans += [(moment, moment + length)] if unit else []
        moment += length
    assert align(log_probs_TV, text) == spans


def test_repeated_units_are_one_and_those_with_a_blank_between_two():
    def certain(*units: int) -> np.ndarray:
        return np.log(np.eye(UNITS)[list(units)] + 1e-9)

    assert greedy(certain(0, 1, 1, 0, 1, 2)) == [1, 1, 2]
    assert greedy(certain(0, 0)) == []
    assert prefix_search(certain(0, 1, 1, 0, 1, 2), 4, no_opinion, no_opinion) == [1, 1, 2]


def test_words_are_scored_by_those_before_them():
    texts = [["one", "two"], ["one", "three"], ["one", "two"]]
    likely = NGrams(count_ngrams(texts, 2), 2)
    # Witten and Bell: after "one" three words of two kinds, so 2 of 5 parts go to the unigrams, 9 words with the ends
    assert likely.log_prob("two", ("one",)) == pytest.approx(math.log(2 / 5 + 2 / 5 * 2 / 9))
    assert likely.log_prob("three", ("one",)) == pytest.approx(math.log(1 / 5 + 2 / 5 * 1 / 9))
    assert likely.log_prob("four", ("one",)) == pytest.approx(-math.log(10))
    assert likely.log_prob("one", ()) > likely.log_prob("two", ())


def test_ngrams_of_three_words_that_came_once_are_left_out():
    counted = count_ngrams([["a", "b", "c"], ["a", "b", "d"]], 3)
    assert "2 <s> a b" in counted and "2 a b" in counted
    assert not [line for line in counted if line.endswith("a b c")]
    assert NGrams([*counted, "\0"], 3).log_prob("b", ("a",)) < 0  # a line of no n-gram is none


def test_a_search_by_what_is_said_mends_what_was_misheard():
    units = ["<blank>", "<s>", "</s>", "<unk>", "o", "n", "e", "t", " "]
    heard = np.full((5, len(units)), 1e-4)
    for moment, (likely, also) in enumerate([("o", "t"), ("n", "o"), ("t", "e"), ("<blank>", " "), ("<blank>", "t")]):
        heard[moment, units.index(likely)], heard[moment, units.index(also)] = 0.55, 0.45
    log_probs_TV = np.log(heard / heard.sum(1, keepdims=True))
    likely = NGrams(count_ngrams([["one"], ["ten"], ["net"]], 2), 2)
    how = SimpleNamespace(beam_size=20, ngram_weight=0.0, word_bonus=0.0)
    assert Reader(units, True, likely).read(log_probs_TV, 0.02, how)["transcript"] == "ont"
    found = Reader(units, True, likely).read(log_probs_TV, 0.02, SimpleNamespace(**vars(how) | {"ngram_weight": 1.0}))
    assert found["transcript"] == "one" and found["spoken"] == ["one"]
    assert (found["starts_s"], found["ends_s"]) == ([0.0], [0.06])
    assert found["probabilities"] == [pytest.approx(0.45, abs=0.001)]
