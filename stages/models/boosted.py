"""A row beside a model that reads fields: boosted trees on the fields alone, with scikit-learn's own settings.

What neural networks of tables have to beat (Grinsztajn et al. 2022, "Why do tree-based models still outperform deep
learning on typical tabular data?").
"""

import dataclasses
from typing import Literal

import numpy as np

from stages.base.store import FIELDS
from stages.models.encoders.fields import CLASS, MARK, VALUES
from stages.models.tables import Split

BOOSTED = "boosted_fields"  # the name of the row
MOST_CATEGORIES = 255  # that the trees tell apart; those of a field with more are read as numbers
BATCH = 4096
SEED = 7

Kind = Literal["class", "number", "labels"]


def boosted(train: Split, test: Split, cardinalities: tuple[int, ...], targets: np.ndarray, kind: Kind) -> np.ndarray:
    """Return what trees that were fitted to the training split's fields say of the test split; the same each time.

    Args:
        train: Samples with the modality `fields`; those that lack it are left out.
        test: Samples to be answered; one without fields is answered as one whose cells are all missing.
        cardinalities: Of the fields, as their `FeatureSpec` has them.
        targets: Of the training samples: numbers of classes (N,), numbers (N,), nan for one that is not known, or 0
            and 1 for each label (N, C).
        kind: What they are.

    Returns:
        Probabilities of the classes from 0 to the largest (M, C); numbers (M,); or probabilities of the labels (M, C).
    """
    there = train.features[FIELDS].counts > 0
    if kind == "number":
        there &= ~np.isnan(targets)
    known, asked = columns_of(train, cardinalities)[there], columns_of(test, cardinalities)
    if kind == "labels":
        each = [_fitted(known, column, asked, "class", cardinalities) for column in targets[there].astype(int).T]
        return np.stack([found[:, 1] if found.shape[1] > 1 else np.zeros(len(asked)) for found in each], axis=1)
    return _fitted(known, targets[there], asked, kind, cardinalities)


def columns_of(split: Split, cardinalities: tuple[int, ...]) -> np.ndarray:
    """Return the fields of each sample as columns, nan where a cell is missing: a category, or one of the values."""
    alone = dataclasses.replace(split, features={FIELDS: split.features[FIELDS]})
    rows_NFR = np.concatenate([batch[FIELDS].float().cpu().numpy() for _, _, batch in alone.in_order(BATCH)])
    rows_NFR = np.where((split.features[FIELDS].counts > 0)[:, None, None], rows_NFR, np.eye(1, rows_NFR.shape[2])[0])
    parts = [
        np.where(rows_NFR[:, place, MARK :: rows_NFR.shape[2]] > 0, np.nan, rows_NFR[:, place, _of(number)])
        for place, number in enumerate(cardinalities)
    ]
    return np.concatenate(parts, axis=1)


def _of(cardinality: int) -> slice:
    return slice(CLASS, CLASS + 1) if cardinality else slice(VALUES, None)


def _fitted(
    known: np.ndarray, targets: np.ndarray, asked: np.ndarray, kind: Kind, cardinalities: tuple[int, ...]
) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    values = (known.shape[1] - sum(map(bool, cardinalities))) // max(1, cardinalities.count(0))
    named = [flag for number in cardinalities for flag in ([number <= MOST_CATEGORIES] if number else [False] * values)]
    there = ~np.isnan(known).all(0)  # a column that training never fills says nothing, and the library fails on it
    known, asked, named = known[:, there], asked[:, there], np.array(named)[there]
    settings = {"categorical_features": named if named.any() else None, "random_state": SEED}
    if kind == "number":
        return HistGradientBoostingRegressor(**settings).fit(known, targets).predict(asked)
    found = np.zeros((len(asked), int(targets.max()) + 1))
    classes = np.unique(targets)
    if len(classes) == 1:
        found[:, classes[0]] = 1.0
    else:
        found[:, classes] = HistGradientBoostingClassifier(**settings).fit(known, targets).predict_proba(asked)
    return found
