# ruff: noqa: D103 - the names of the tests are sentences
"""The promotion gate: verdicts, reasons, determinism and the coverage of its interval."""

import doctest
from dataclasses import dataclass

import numpy as np
import pytest

from stages.base.errors import InputError
from stages.models.metrics.captions.bleu import bleu, bleu_from_statistics, bleu_statistics
from stages.registry import gate
from stages.registry.gate import decide, hold_floors, largest_fall


@dataclass(frozen=True)
class Params:
    """The attributes of `gate.GateParams`, with defaults for the tests."""

    metric: str = "accuracy"
    resamples: int = 500
    confidence: float = 0.95
    max_loss: float = 0.01
    min_gain: float = 0.0
    seed: int = 0


def mean_statistics(scores):
    """Columns (score, 1), whose sums give a mean."""
    return np.stack([scores, np.ones(len(scores))], axis=1)


def mean_of(summed):
    """Divide the sum of scores by the number of samples."""
    return summed[..., 0] / summed[..., 1]


def compare(champion, challenger, **params):
    """Decide between two models by the mean of their scores."""
    return decide(mean_statistics(champion), mean_statistics(challenger), mean_of, Params(**params))


@pytest.fixture
def scores():
    """Per-sample scores of a champion."""
    return np.random.default_rng(0).normal(0.5, 0.2, size=400)


def noise(size=400, scale=0.1, seed=1):
    """Differences that vary but sum to zero."""
    values = np.random.default_rng(seed).normal(0, scale, size=size)
    return values - values.mean()


def test_docstring_examples_hold():
    results = doctest.testmod(gate)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_first_version_is_promoted_with_its_metric(scores):
    decision = decide(None, mean_statistics(scores), mean_of, Params())
    assert decision.promote
    assert decision.reasons == (f"first version: accuracy {scores.mean():.4f}",)
    assert decision.challenger == pytest.approx(scores.mean())
    assert (decision.champion, decision.gain, decision.low, decision.high) == (None,) * 4


def test_an_identical_model_is_promoted_even_without_an_allowed_loss(scores):
    decision = compare(scores, scores.copy(), max_loss=0.0)
    assert decision.promote
    assert (decision.gain, decision.low, decision.high) == (0.0, pytest.approx(0.0), pytest.approx(0.0))


def test_a_clearly_worse_model_is_rejected_with_the_numbers(scores):
    decision = compare(scores, scores - 0.05 + noise())
    assert not decision.promote
    (reason,) = decision.reasons
    assert reason == (
        f"accuracy {decision.challenger:.4f} against the champion's {decision.champion:.4f}: gain -0.0500 "
        f"(95 % interval {decision.low:+.4f} to {decision.high:+.4f}), "
        "which may be worse than the allowed loss of 0.01"
    )
    assert decision.low < decision.gain < decision.high < -0.01


def test_a_clearly_better_model_is_promoted(scores):
    decision = compare(scores, scores + 0.05 + noise(), min_gain=0.02)
    assert decision.promote
    assert decision.gain == pytest.approx(0.05)
    assert decision.low > 0.02
    assert "is not worse than the allowed loss of 0.01" in decision.reasons[0]
    assert decision.reasons[1] == "the gain +0.0500 reaches the required gain of 0.02"


@pytest.mark.parametrize(("max_loss", "promote"), [(0.0, False), (0.005, False), (0.015, True)])
def test_noise_around_zero_is_promoted_only_within_the_allowed_loss(scores, max_loss, promote):
    """A standard error of 0.1 / sqrt(400) puts the lower bound near -0.0098."""
    decision = compare(scores, scores + noise(), max_loss=max_loss)
    assert decision.promote is promote
    assert -0.015 < decision.low < -0.005


def test_the_bound_itself_still_counts_as_not_worse(scores):
    """The same loss on every sample: the interval is one point, but for rounding."""
    assert compare(scores, scores - 0.01, max_loss=0.01).promote
    assert not compare(scores, scores - 0.0101, max_loss=0.01).promote


def test_a_better_model_below_the_required_gain_is_rejected(scores):
    decision = compare(scores, scores + 0.01, min_gain=0.02)
    assert not decision.promote
    assert "is not worse" in decision.reasons[0]
    assert decision.reasons[1] == "the gain +0.0100 is below the required gain of 0.02"


def test_a_higher_confidence_widens_the_interval(scores):
    narrow = compare(scores, scores + noise(), confidence=0.8)
    wide = compare(scores, scores + noise(), confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert "(80 % interval" in narrow.reasons[0]


def test_the_same_seed_gives_the_same_decision_and_another_seed_another_interval(scores):
    first, again, other = (compare(scores, scores + noise(), seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.low != other.low


def test_the_size_of_the_blocks_does_not_change_the_interval(scores, monkeypatch):
    whole = compare(scores, scores + noise())
    monkeypatch.setattr(gate, "_MAX_COUNTS", 7 * len(scores))  # 500 resamples in blocks of 7
    blocks = compare(scores, scores + noise())
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_the_arguments_are_left_as_they_were(scores):
    champion, challenger = mean_statistics(scores), mean_statistics(scores + noise())
    before = champion.copy(), challenger.copy()
    decide(champion, challenger, mean_of, Params())
    assert np.array_equal(champion, before[0])
    assert np.array_equal(challenger, before[1])


def test_the_interval_is_as_wide_as_theory_says(scores):
    difference = noise()
    decision = compare(scores, scores + difference, resamples=4000)
    half_width = 1.96 * difference.std() / np.sqrt(len(difference))
    assert (decision.low, decision.high) == pytest.approx((-half_width, half_width), rel=0.1)


def test_the_interval_covers_the_true_gain_about_as_often_as_it_says():
    """A 90 % interval over 1000 drawn test sets: the share covered has a standard error of 0.0095."""
    covered = []
    for seed in range(1000):
        rng = np.random.default_rng((1, seed))
        champion = rng.normal(0.5, 0.3, size=100)
        challenger = champion + rng.normal(0.02, 0.1, size=100)
        decision = compare(champion, challenger, confidence=0.9, resamples=300, seed=seed)
        covered.append(decision.low <= 0.02 <= decision.high)
    assert 0.865 <= np.mean(covered) <= 0.93


def test_bleu_is_resampled_as_a_corpus_metric():
    reference = list("abcdefg")
    references = [[reference]] * 60
    worse = [reference if index % 3 else list("abxyefg") for index in range(60)]
    better = [reference if index % 6 else text for index, text in enumerate(worse)]
    champion, challenger = (bleu_statistics(texts, references) for texts in (worse, better))
    decision = decide(champion, challenger, bleu_from_statistics, Params(metric="bleu_4"))
    assert decision.promote
    assert decision.challenger == pytest.approx(bleu(better, references)[3])
    assert decision.champion == pytest.approx(bleu(worse, references)[3])
    assert 0 < decision.low < decision.gain < decision.high
    assert not decide(challenger, champion, bleu_from_statistics, Params(metric="bleu_4")).promote


@pytest.mark.parametrize(
    ("champion", "challenger", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), r"\(3, 2\) against the challenger's \(4, 2\)"),
        (np.ones((3, 2)), np.ones((3, 3)), "same statistics"),
        (None, np.ones((0, 2)), "challenger statistics hold no samples"),
        (np.ones((0, 2)), np.ones((3, 2)), "champion statistics hold no samples"),
        (None, np.ones(3), "expected \\(samples, statistics\\)"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), "champion statistics hold a value that is not finite"),
    ],
)
def test_statistics_that_cannot_be_compared_are_refused(champion, challenger, message):
    with pytest.raises(ValueError, match=message):
        decide(champion, challenger, mean_of, Params())


@pytest.mark.parametrize(
    ("metric_of", "message"),
    [
        (lambda summed: summed.sum(), "one value for each row"),
        (lambda summed: np.full(summed.shape[:-1], np.nan), "not finite"),
    ],
)
def test_a_metric_that_gives_no_number_for_each_resample_is_refused(metric_of, message):
    with pytest.raises(ValueError, match=message):
        decide(np.ones((3, 2)), np.ones((3, 2)), metric_of, Params())


FIRST = decide(None, mean_statistics(np.array([0.7, 0.7])), mean_of, Params())
SLICED = {"accuracy": 0.7, "accuracy_by_kind.colour": 0.4, "accuracy_by_kind.count": 0.9}


def test_floors_that_are_reached_change_nothing_and_are_told():
    held = hold_floors(FIRST, SLICED, {"accuracy": 0.7, "accuracy_by_kind.count": 0.9})
    assert held.promote
    assert held.reasons == (
        "first version: accuracy 0.7000",
        "accuracy 0.7000 reaches its floor of 0.7",
        "accuracy_by_kind.count 0.9000 reaches its floor of 0.9",
    )


def test_one_slice_below_its_floor_stops_even_the_first_version():
    held = hold_floors(FIRST, SLICED, {"accuracy": 0.5, "accuracy_by_kind.colour": 0.5})
    assert not held.promote
    assert held.reasons[-1] == "accuracy_by_kind.colour 0.4000 is below its floor of 0.5"


def test_floors_do_not_save_what_the_comparison_rejects(scores):
    worse = compare(scores, scores - 0.2)
    assert not hold_floors(worse, SLICED, {"accuracy": 0.1}).promote


def test_a_metric_that_is_no_number_reaches_no_floor():
    assert not hold_floors(FIRST, {"accuracy": float("nan")}, {"accuracy": 0.0}).promote


def test_a_floor_of_nothing_is_refused_with_what_there_is():
    message = "register.floors: no metric or slice 'accuracy_by_kind.color'; expected one of accuracy, accuracy_by_kind"
    with pytest.raises(InputError, match=message):
        hold_floors(FIRST, SLICED, {"accuracy_by_kind.color": 0.5})


def test_the_slice_that_fell_most_is_found_among_unequal_ones():
    champion, challenger = (mean_statistics(np.array(row)) for row in ([1, 1, 1, 1, 0.0], [1, 0, 1, 1, 0.0]))
    assert largest_fall(champion, challenger, ["a", "b", "b", "c", None], mean_of) == ("b", 0.5)
    assert largest_fall(challenger, champion, ["a", "b", "b", "c", None], mean_of) is None
    assert largest_fall(champion, challenger, [None] * 5, mean_of) is None
