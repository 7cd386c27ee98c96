"""The promotion gate: is the challenger not worse than the champion on the same test samples, and good enough?

A paired bootstrap over per-sample statistics, so that it holds for metrics that are no mean over samples,
such as BLEU; where what a sample adds depends on the others, as in a ranking, `summed` says how. The metric is one
where higher is better; a mean metric gives columns (score, 1) and divides. Floors hold for the challenger's own
metrics and their slices, whatever the champion does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from stages.base.errors import InputError

# Shape letters: S samples, K statistics, R resamples.
MetricOf = Callable[[np.ndarray], np.ndarray]  # summed statistics (..., K) to the metric (...)
Summed = Callable[[np.ndarray, np.ndarray], np.ndarray]  # counts (..., S) and statistics (S, K) to their sums (..., K)

_MAX_COUNTS = 4_000_000  # cells of one block of resample counts, 32 MB
_ROUNDING = 1e-12  # a difference of this size between two sums is no loss


class GateParams(Protocol):
    """What the gate reads of the params; any object with these attributes will do."""

    @property
    def metric(self) -> str:
        """Name of the compared metric, for the reasons."""

    @property
    def resamples(self) -> int:
        """Number of bootstrap resamples."""

    @property
    def confidence(self) -> float:
        """Share of resamples inside the interval, such as 0.95."""

    @property
    def max_loss(self) -> float:
        """How far below 0 the lower bound of the gain may lie."""

    @property
    def min_gain(self) -> float:
        """Gain that the challenger must reach; 0 asks for none."""

    @property
    def seed(self) -> int:
        """Seed of the resamples."""


@dataclass(frozen=True)
class Decision:
    """The gate's verdict, the reasons in plain sentences and the numbers behind them.

    Without a champion the fields that compare are None.
    """

    promote: bool
    reasons: tuple[str, ...]
    metric: str
    challenger: float
    champion: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None


def decide(
    champion: np.ndarray | None,
    challenger: np.ndarray,
    metric_of: MetricOf,
    params: GateParams,
    summed: Summed = np.matmul,
) -> Decision:
    """Promote the challenger if its gain is surely not below the allowed loss.

    Args:
        champion: Statistics (S, K) of the model in service, or None if there is none.
        challenger: Statistics (S, K) of the new model on the same samples in the same order.
        metric_of: Maps summed statistics (..., K) to the metric (...); higher is better.
        params: Thresholds, number of resamples and seed.
        summed: What the statistics come to where each sample is drawn so often.

    Raises:
        ValueError: The shapes differ, there are no samples, or a statistic or the metric is not finite.

    Example:
        >>> from types import SimpleNamespace
        >>> params = SimpleNamespace(
        ...     metric="accuracy", resamples=1000, confidence=0.95, max_loss=0.0, min_gain=0.0, seed=0
        ... )
        >>> correct = np.array([1.0, 1.0, 0.0, 1.0])
        >>> statistics = np.stack([correct, np.ones(4)], axis=1)
        >>> decide(statistics, statistics, lambda summed: summed[..., 0] / summed[..., 1], params).reasons
        ("accuracy 0.7500 against the champion's 0.7500: gain +0.0000 (95 % interval +0.0000 to +0.0000), \
which is not worse than the allowed loss of 0",)
    """
    _check("challenger", challenger)
    if champion is None:
        value = float(_metric(metric_of, _total(challenger, summed)))
        return Decision(True, (f"first version: {params.metric} {value:.4f}",), params.metric, value)
    _check("champion", champion)
    _check_paired(champion, challenger)
    before, after = (float(_metric(metric_of, _total(found, summed))) for found in (champion, challenger))
    counts = _resample_counts(len(champion), params.resamples, params.seed)
    gains = np.concatenate(
        [_metric(metric_of, summed(n, challenger)) - _metric(metric_of, summed(n, champion)) for n in counts]
    )
    tail = (1 - params.confidence) / 2
    low, high = (float(bound) for bound in np.quantile(gains, [tail, 1 - tail]))
    return _judge(before, after, low, high, params)


def hold_floors(decision: Decision, scores: Mapping[str, float], floors: Mapping[str, float]) -> Decision:
    """Return the decision with what the floors say: a challenger below one of them is not promoted.

    Args:
        decision: What the comparison with the champion gave.
        scores: The challenger's metrics, those of a slice by dotted name, such as `accuracy_by_kind.colour`.
        floors: The least value by name.

    Raises:
        InputError: A floor names no metric of the challenger.

    Example:
        >>> first = Decision(True, ("first version: accuracy 0.7000",), "accuracy", 0.7)
        >>> hold_floors(first, {"accuracy": 0.7}, {"accuracy": 0.8})
        Decision(promote=False, reasons=('first version: accuracy 0.7000', \
'accuracy 0.7000 is below its floor of 0.8'), metric='accuracy', challenger=0.7, champion=None, gain=None, \
low=None, high=None)
    """
    check_floors(scores, floors)
    reasons, holds = [], decision.promote
    for name, least in floors.items():
        reached = bool(scores[name] >= least - _ROUNDING)  # nan reaches nothing
        reasons.append(f"{name} {scores[name]:.4f} {'reaches' if reached else 'is below'} its floor of {least:g}")
        holds = holds and reached
    return replace(decision, promote=holds, reasons=(*decision.reasons, *reasons))


def check_floors(scores: Mapping[str, float], floors: Mapping[str, float], key: str = "register.floors") -> None:
    """Refuse floors of metrics that there are not; `key` is where the floors stand.

    Raises:
        InputError: naming the floor, and the metrics there are.
    """
    for name in floors:
        if name not in scores:
            raise InputError(f"{key}: no metric or slice {name!r}; expected one of {', '.join(sorted(scores))}")


def largest_fall(
    champion: np.ndarray,
    challenger: np.ndarray,
    slices: Sequence[str | None],
    metric_of: MetricOf,
    summed: Summed = np.matmul,
) -> tuple[str, float] | None:
    """Return the slice whose metric fell most and by how much, or None where none fell.

    Args:
        champion: Statistics (S, K), as in `decide`.
        challenger: Statistics (S, K) of the same samples.
        slices: The slice of each sample, such as its speaker; None for none.
        metric_of: As in `decide`.
        summed: As in `decide`.

    Example:
        >>> before, after = (np.array([[x, 1.0] for x in scores]) for scores in ([1, 1, 0], [1, 0, 1]))
        >>> largest_fall(before, after, ["ann", "bob", "bob"], lambda summed: summed[..., 0] / summed[..., 1])
        >>> largest_fall(before, after, ["ann", "bob", "cid"], lambda summed: summed[..., 0] / summed[..., 1])
        ('bob', 1.0)
    """
    falls = {}
    for name in sorted({name for name in slices if name}):
        chosen = np.array([other == name for other in slices])
        before, after = (float(metric_of(_total(found[chosen], summed))) for found in (champion, challenger))
        falls[name] = before - after
    worst = max(falls, key=lambda name: falls[name], default=None)
    return (worst, falls[worst]) if worst is not None and falls[worst] > _ROUNDING else None


def _total(statistics: np.ndarray, summed: Summed) -> np.ndarray:
    """Return the sums over the samples as they are."""
    return summed(np.ones(len(statistics)), statistics)


def _resample_counts(num_samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks (R', S) of how often each sample is drawn; the draws do not depend on the block size."""
    generator = np.random.default_rng(seed)
    shares = np.full(num_samples, 1 / num_samples)
    block = max(1, _MAX_COUNTS // num_samples)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        yield generator.multinomial(num_samples, shares, size=size).astype(np.float64)


def _judge(champion: float, challenger: float, low: float, high: float, params: GateParams) -> Decision:
    """Hold the gain and its interval against the two thresholds."""
    gain = challenger - champion
    not_worse = low >= -params.max_loss - _ROUNDING
    verdict = "is not worse than" if not_worse else "may be worse than"
    reasons = [
        f"{params.metric} {challenger:.4f} against the champion's {champion:.4f}: gain {_signed(gain)} "
        f"({100 * params.confidence:g} % interval {_signed(low)} to {_signed(high)}), "
        f"which {verdict} the allowed loss of {params.max_loss:g}"
    ]
    enough = params.min_gain <= 0 or gain >= params.min_gain - _ROUNDING
    if params.min_gain > 0:
        verdict = "reaches" if enough else "is below"
        reasons.append(f"the gain {_signed(gain)} {verdict} the required gain of {params.min_gain:g}")
    promote = bool(not_worse and enough)
    return Decision(promote, tuple(reasons), params.metric, challenger, champion, gain, low, high)


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"  # + 0.0 turns a negative zero into a positive one


def _check(name: str, statistics: np.ndarray) -> None:
    if statistics.ndim != 2:
        raise ValueError(f"{name} statistics of shape {statistics.shape}: expected (samples, statistics)")
    if not len(statistics):
        raise ValueError(f"{name} statistics hold no samples: evaluate on at least one test sample")
    if not np.isfinite(statistics).all():
        raise ValueError(f"{name} statistics hold a value that is not finite: fix the evaluation first")


def _check_paired(champion: np.ndarray, challenger: np.ndarray) -> None:
    if champion.shape != challenger.shape:
        raise ValueError(
            f"champion statistics of shape {champion.shape} against the challenger's {challenger.shape}: "
            "both need the same test samples and the same statistics"
        )


def _metric(metric_of: MetricOf, summed: np.ndarray) -> np.ndarray:
    """Apply the metric (..., K) to (...) and refuse a result that cannot be compared."""
    values = np.asarray(metric_of(summed))
    if values.shape != summed.shape[:-1]:
        raise ValueError(
            f"metric_of gave shape {values.shape} for sums of shape {summed.shape}: "
            f"expected {summed.shape[:-1]}, one value for each row of sums"
        )
    if not np.isfinite(values).all():
        raise ValueError("metric_of gave a value that is not finite: it must be defined for every resample")
    return values
