"""From the units of each moment to a text: the likeliest unit everywhere, or a search over whole texts.

A text can be read in many ways, its units long or short and blanks between; a prefix keeps the sum of all of them
(Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs").
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.media.text import PAD

UNLIKELY = -9.0  # log probability below which a unit is not tried at a moment
Prefix = tuple[int, ...]
Judge = Callable[[Prefix], float]  # how well a text so far reads, as a log probability


@dataclass
class _Ways:
    """The log probabilities of a prefix: of all ways to read it that end in a blank, and in its last unit."""

    blank: float = -np.inf
    unit: float = -np.inf

    @property
    def total(self) -> float:
        return float(np.logaddexp(self.blank, self.unit))


def greedy(log_probs_TV: np.ndarray) -> list[int]:
    """Return the likeliest unit of each moment; repeated ones are one, blanks none.

    Example:
        >>> greedy(np.log(np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])))
        [1, 1]
    """
    best_T = log_probs_TV.argmax(1)
    begins_T = np.append(True, best_T[1:] != best_T[:-1])
    return [int(unit) for unit in best_T[begins_T & (best_T != PAD)]]


def prefix_search(log_probs_TV: np.ndarray, beams: int, judge: Judge, finish: Judge) -> list[int]:
    """Return the text that is likeliest by what was heard and by `judge` together.

    Args:
        log_probs_TV: Of each unit at each moment.
        beams: How many prefixes are kept from moment to moment.
        judge: The score of a prefix, added to that of what was heard.
        finish: The score of a text when nothing follows.
    """
    kept: dict[Prefix, _Ways] = {(): _Ways(blank=0.0)}
    for log_probs_V in log_probs_TV:
        likely = [int(unit) for unit in np.flatnonzero(log_probs_V > UNLIKELY)]
        grown: dict[Prefix, _Ways] = defaultdict(_Ways)
        for prefix, ways in kept.items():
            _grow(grown, prefix, ways, log_probs_V, likely)
        ranked: list[Prefix] = sorted(grown, key=lambda prefix: (-(grown[prefix].total + judge(prefix)), prefix))
        kept = {prefix: grown[prefix] for prefix in ranked[:beams]}
    best: Prefix = min(kept, key=lambda prefix: (-(kept[prefix].total + finish(prefix)), prefix))
    return list(best)


def _grow(grown: dict[Prefix, _Ways], prefix: Prefix, ways: _Ways, log_probs_V: np.ndarray, likely: list[int]) -> None:
    """Let a prefix go on by a moment: it stays, or a unit comes behind it."""
    stays = grown[prefix]
    stays.blank = float(np.logaddexp(stays.blank, ways.total + log_probs_V[PAD]))
    if prefix:
        stays.unit = float(np.logaddexp(stays.unit, ways.unit + log_probs_V[prefix[-1]]))
    for unit in likely:
        if unit != PAD:
            before = ways.blank if prefix and unit == prefix[-1] else ways.total  # equal ones need a blank between
            longer = grown[(*prefix, unit)]
            longer.unit = float(np.logaddexp(longer.unit, before + log_probs_V[unit]))
