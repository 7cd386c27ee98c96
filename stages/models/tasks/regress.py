"""Regression: any modalities in; one number or several out, each with an interval.

An interval is as wide as the errors on the validation split of samples with the same modalities: who is told less
is less sure. Shapes: B samples of a batch, N of a split, T numbers, P sets of modalities.
"""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.base.store import FIELDS
from stages.models.boosted import BOOSTED, boosted
from stages.models.conformal import half_width, least_samples
from stages.models.metrics.regression import (
    interval_metrics,
    number_metrics,
    over_numbers,
    r2_from_sums,
    r2_sums,
)
from stages.models.numbers_and_tags import number_faults
from stages.models.tables import PRESENT, Split
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask
from stages.params import ExperimentBase, RegressParams

WITHOUT_UNIT = ("r2", "rank_correlation", "coverage")  # metrics whose mean over several numbers says something


class RegressTask(FusedTask):
    """Encoders, and a fusion that gives each number in units of its spread in training."""

    columns: ClassVar[tuple[str, ...]] = ("numbers", "group", "truth")
    needed: ClassVar[tuple[str, ...]] = ("numbers",)
    vocabularies: ClassVar[tuple[str, ...]] = ("numbers",)
    headline: ClassVar[str] = "r2"
    answer_types: ClassVar[dict[str, str]] = {
        "names": "strings",
        "numbers": "doubles",
        "low": "doubles",
        "high": "doubles",
    }
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "names", "expected")
    sliced: ClassVar[str] = "group"
    calibrated: ClassVar[tuple[str, ...]] = ("half_PT",)
    mean_T: Tensor
    spread_T: Tensor
    half_PT: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and fusion; the scales are those of the training split, see `take_in`."""
        super().__init__(config)
        self.names = chosen_names(config.experiment, config.vocabularies["numbers"])
        self.fusion = self.make_fusion(config.features, len(self.names))
        size = len(self.names)
        for name, value in (("mean_T", torch.zeros(size)), ("spread_T", torch.ones(size))):
            self.register_buffer(name, value.double())
        self.register_buffer("half_PT", torch.zeros(2 ** len(config.features), size, dtype=torch.float64))

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the numbers."""
        experiment = config.experiment
        assert isinstance(experiment, RegressParams)
        names = chosen_names(experiment, config.vocabularies["numbers"])
        found = {split: numbers_of(table.rows, names) for split, table in splits.items()}
        yield from number_faults(experiment, config.vocabularies["numbers"], names, found)

    def take_in(self, train: Split) -> None:
        """Take the scale of each number: the mean and the standard deviation of its training samples."""
        known_NT = np.ma.masked_invalid(numbers_of(train.rows, self.names))
        spread_T = known_NT.std(0).filled(0.0)
        self.mean_T.copy_(torch.from_numpy(known_NT.mean(0).filled(0.0)))
        self.spread_T.copy_(torch.from_numpy(np.where(spread_T > 0, spread_T, 1.0)))

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `numbers` (N, T), scaled, nan for those that are not known."""
        mean, spread = self.mean_T.cpu().numpy(), self.spread_T.cpu().numpy()
        return {"numbers": ((numbers_of(rows, self.names) - mean) / spread).astype(np.float32)}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the loss in units of each number's spread, a mean over all that are known."""
        experiment = self.config.experiment
        assert isinstance(experiment, RegressParams)
        found, wanted = self.fusion(self.encode(batch, train)).float(), batch["numbers"]
        known = ~wanted.isnan()
        if not known.any():
            return found.sum() * 0.0
        loss = F.huber_loss if experiment.loss == "huber" else F.mse_loss
        return loss(found[known], wanted[known])

    def num_known(self, batch: Batch) -> int:
        """Return how many numbers of a batch are known."""
        return int((~batch["numbers"].isnan()).sum())

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return each number in its own unit, with the ends of its interval."""
        scaled_BT = self.fusion(self.encode(batch)).double()
        found_BT = self.mean_T + self.spread_T * scaled_BT
        halves_BT = self.half_PT[self._set_of(batch)]
        both = zip(found_BT.cpu().numpy(), halves_BT.cpu().numpy(), strict=True)
        return [number_answer(self.names, found, halves) for found, halves in both]

    def _set_of(self, batch: Batch) -> Tensor:
        """Return which modalities the samples have, as a number each, (B,)."""
        return torch.stack([batch[m + PRESENT].long() << i for i, m in enumerate(self.config.features)]).sum(0)

    def calibrate(self, validation: Split, evaluate: Any) -> None:
        """Choose how wide the intervals are, for each set of modalities: as the errors on the validation split say.

        A set that too few samples have gets the intervals of the split as it is.
        """
        least, everyone = least_samples(self._coverage), np.ones(len(validation), bool)
        usual_T = self._halves(validation, evaluate, everyone)
        for number in range(len(self.half_PT)):
            given = [m for i, m in enumerate(self.config.features) if number >> i & 1]
            whole = np.all([everyone, *(validation.features[m].counts > 0 for m in given)], axis=0)
            halves_T = self._halves(validation.only(given), evaluate, whole) if whole.sum() >= least else usual_T
            self.half_PT[number] = torch.tensor(halves_T)

    def _halves(self, split: Split, evaluate: Any, chosen: np.ndarray) -> list[float]:
        """Return half the width of each number's interval by the errors on the chosen samples."""
        answers = self.answer(split, evaluate)
        errors_NT = np.abs(numbers_of(split.rows, self.names) - [answer["numbers"] for answer in answers])
        known = [errors[chosen & ~np.isnan(errors)] for errors in errors_NT.T]
        every = [errors[~np.isnan(errors)] for errors in errors_NT.T]
        return [half_width(f if len(f) else e, self._coverage) for f, e in zip(known, every, strict=True)]

    @property
    def _coverage(self) -> float:
        assert isinstance(self.config.experiment, RegressParams)
        return self.config.experiment.coverage

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how good the numbers are and, where they have intervals, how often those hold; several: of each."""
        expected_NT = numbers_of(rows, self.names)
        found = {key: np.array([a[key] for a in answers]) for key in ("numbers", "low", "high") if key in answers[0]}
        scores = {}
        for place, name in enumerate(self.names):
            known = ~np.isnan(expected_NT[:, place])
            if known.any():
                expected, of_name = expected_NT[known, place], {key: x[known, place] for key, x in found.items()}
                scores[name] = number_metrics(expected, of_name["numbers"])
                if "low" in of_name:
                    scores[name] |= interval_metrics(expected, of_name["low"], of_name["high"])
        return over_numbers(scores, WITHOUT_UNIT)

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say which share of the numbers the intervals are made to hold."""
        return {"nominal_coverage": self._coverage}

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the mean and the median of training, with intervals, for everything; of fields, boosted trees."""
        known = [column[~np.isnan(column)] for column in numbers_of(train.rows, self.names).T]
        rows = {}
        for name, middle in (("mean", np.mean), ("median", np.median)):
            values = np.array([middle(column) for column in known])
            errors = [np.abs(column - value) for column, value in zip(known, values, strict=True)]
            halves = np.array([half_width(found, self._coverage) for found in errors])
            rows[name] = [number_answer(self.names, values, halves)] * len(test)
        return rows | self._boosted(train, test)

    def _boosted(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the answers of trees that read the fields alone, where there are any; they have no intervals."""
        if FIELDS not in self.config.features:
            return {}
        cardinalities = self.config.features[FIELDS].cardinalities
        columns = [boosted(train, test, cardinalities, t_N, "number") for t_N in numbers_of(train.rows, self.names).T]
        return {BOOSTED: [{"numbers": row.tolist()} for row in np.stack(columns, axis=1)]}

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of the numbers without what nobody can know of them, where the source tells these."""
        best = [json.loads(row.get("truth") or "{}").get("best_numbers") for row in test.rows]
        if not all(found and set(self.names) <= found.keys() for found in best):
            return {}
        return self.metrics([{"numbers": [found[name] for name in self.names]} for found in best], test.rows)

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample; an expected number that is not known is null."""
        expected = [[None if np.isnan(x) else x for x in found] for found in numbers_of(rows, self.names).tolist()]
        return {
            "sample_id": [row["sample_id"] for row in rows],
            "names": [self.names] * len(rows),
            "expected": expected,
            "predicted": [answer["numbers"] for answer in answers],
            "low": [answer["low"] for answer in answers],
            "high": [answer["high"] for answer in answers],
            **({"group": [row["group"] for row in rows]} if rows[0].get("group") else {}),
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return each number with its interval; it is right where the true one lies inside."""
        known = dict(row["numbers"])
        lines = []
        for name, number, low, high in zip(*(answer[key] for key in self.answer_types), strict=True):
            said = f"{_short(number)} ({_short(low)} to {_short(high)})"
            right = known.get(name)
            expected = "not known" if right is None else f"{right:.10g}"
            lines.append(Line(said, expected, right is not None and low <= right <= high, asked=name))
        return lines

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return what R2 is made of, for each number in turn, (N, 4 T)."""
        expected_NT, predicted_NT = np.array(records["expected"], np.float64), np.array(records["predicted"])
        return np.concatenate([r2_sums(e, p) for e, p in zip(expected_NT.T, predicted_NT.T, strict=True)], axis=1)

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Return the mean R2 over the numbers that are there."""
        sums = summed.reshape(*summed.shape[:-1], -1, 4)
        there = sums[..., 3] > 0
        return (r2_from_sums(sums) * there).sum(-1) / np.maximum(there.sum(-1), 1)


def chosen_names(experiment: ExperimentBase, known: list[str]) -> list[str]:
    """Return the numbers that an experiment predicts, of those that its data set has."""
    assert isinstance(experiment, RegressParams)
    return known if experiment.numbers == "all" else list(experiment.numbers)


def numbers_of(rows: list[dict[str, Any]], names: list[str]) -> np.ndarray:
    """Return the numbers of prepared rows, (N, T), nan for those that are not known."""
    known = [dict(row["numbers"] or ()) for row in rows]
    return np.array([[found.get(name, np.nan) for name in names] for found in known], np.float64)


def _short(number: float) -> str:
    """Return a number with four digits, or all of its whole part."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def number_answer(names: list[str], values: np.ndarray, halves: np.ndarray) -> dict[str, Any]:
    """Return numbers with the ends of their intervals."""
    ends = {"low": (values - halves).tolist(), "high": (values + halves).tolist()}
    return {"names": names, "numbers": values.tolist(), **ends}
