"""What the gate promotes nothing on: a test split, or answers, on which a model proves nothing.

On a test split of one class, and for a model that says the same of every sample, a score tells of the data alone.
Such a version stays challenger, with or without a champion, until a person promotes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TRUTHS = ("expected", "references")  # columns of a predictions file: the right answers
SAID = ("label", "answer", "match", "predicted", "tags")  # those of the model
UNSEEING = ("majority", "mean", "frequencies")  # rows beside a model, of those who answer without a look


def proves_nothing(records: Mapping[str, Sequence[Any]], metrics: Mapping[str, Any], metric: str) -> str | None:
    """Return why a version's score proves nothing, or None where it does.

    Args:
        records: The columns of its predictions file.
        metrics: Its metrics.json, with the rows beside it.
        metric: The one that the gate compares.

    Example:
        >>> records = {"sample_id": ["1", "2"], "expected": ["cat", "cat"], "label": ["cat", "dog"]}
        >>> proves_nothing(records, {"accuracy": 0.5}, "accuracy")
        "every right answer on the test split is 'cat', so that who always says so is never wrong"
        >>> records = {"sample_id": ["1", "2"], "expected": ["cat", "dog"], "label": ["cat", "cat"]}
        >>> proves_nothing(records, {"accuracy": 0.5, "baselines": {"majority": {"accuracy": 0.5}}}, "accuracy")
        "the model says 'cat' of every test sample, and its accuracy of 0.5000 is not above the 0.5000 of majority"
        >>> proves_nothing(records, {"accuracy": 0.5, "baselines": {"majority": {"accuracy": 0.2}}}, "accuracy")
    """
    if len(set(records["sample_id"])) < 2:
        return "the test split has one sample"
    truth = next((_same(records[column]) for column in TRUTHS if column in records), None)
    if truth is not None:
        return f"every right answer on the test split is {truth}, so that who always says so is never wrong"
    said = next((_same(records[column]) for column in SAID if column in records), None)
    rows = metrics.get("baselines", {})
    unseeing = next((row for row in UNSEEING if row in rows), "")
    usual = rows.get(unseeing, {}).get(metric)
    if said is None or usual is None or metrics[metric] > usual:
        return None
    return (
        f"the model says {said} of every test sample, and its {metric} of {metrics[metric]:.4f} "
        f"is not above the {usual:.4f} of {unseeing}"
    )


def _same(values: Sequence[Any]) -> str | None:
    """Return the one value that all are, as it is shown, or None where they differ."""
    return repr(values[0]) if all(value == values[0] for value in values) else None
