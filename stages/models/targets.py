"""Targets that cannot be learnt, told from prepared rows before any training: each fault in a line with its remedy.

A fatal fault leaves nothing to learn or to compare epochs by; the others are odd, and are said.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.base.store import SPLITS
from stages.models.tables import Split

NEARLY_ALL = 0.9  # of the samples with a class of their own, when a class is a word
FEW_A_CLASS = 5  # fewer samples a class on average: numbers look like ones to be predicted
MANY = 20  # more classes that are no whole numbers do, however many samples there are
SHOWN = 5

Splits = Mapping[str, Split]
Values = Mapping[str, Sequence[str]]  # by split, the class of each sample or question


@dataclass(frozen=True)
class Fault:
    """What is wrong with the targets, and what mends it."""

    text: str
    fatal: bool = False


def class_faults(dataset: str, kind: str, values: Values) -> Iterator[Fault]:
    """Yield what is wrong with classes to be told apart; `kind` is the table's column of them, label or answer."""
    counts, total = Counter(values[SPLITS[0]]), len(values[SPLITS[0]])
    column = f"for a table name another column in datasets.{dataset}.columns.{kind}"
    if len(counts) == 1:
        yield Fault(
            f"every {kind} in training is {_said(counts)}: there is nothing to tell apart; "
            f"add samples with another {kind}, or {column}",
            fatal=True,
        )
        return
    scattered = list(_too_many(dataset, kind, counts, total))
    yield from scattered
    if not any(fault.fatal for fault in scattered):
        for split in SPLITS[1:]:
            yield from _unlike_training(dataset, kind, split, values[split], counts)


def _too_many(dataset: str, kind: str, counts: Counter[str], total: int) -> Iterator[Fault]:
    """Yield that nearly each sample has a class of its own, or that classes look like numbers to be predicted."""
    found = f"the {total} samples in training have {len(counts)} different {kind}s, such as {_names(sorted(counts))}"
    column = f"for a table name another column in datasets.{dataset}.columns.{kind}"
    single = sum(count == 1 for count in counts.values())
    if all(map(_is_number, counts)):
        whole = all(float(value).is_integer() for value in counts)
        if total < FEW_A_CLASS * len(counts) or (not whole and len(counts) > MANY):
            yield Fault(
                f"{found}: they look like a number to be predicted, not like classes; set the experiment's task to "
                f"regress and, for a table, the column in datasets.{dataset}.columns as numbers, and {kind}: none; or "
                f"make a few classes of them, such as low and high, or {column}",
                fatal=2 * len(counts) > total,
            )
    elif single >= NEARLY_ALL * total:
        yield Fault(
            f"{found}, and {single} of them once: a class is learnt from several samples; add samples, or {column}",
            fatal=True,
        )
    elif 2 * len(counts) > total:
        yield Fault(f"{found}, fewer than two samples each: hardly one can be learnt; add samples, or {column}")


def _unlike_training(
    dataset: str, kind: str, split: str, values: Sequence[str], counts: Counter[str]
) -> Iterator[Fault]:
    """Yield that a split has classes that training has not, or one only."""
    unknown = Counter(value for value in values if value not in counts)
    remedy = f"add such samples to training, or lower datasets.{dataset}.{split}_fraction where its source has it"
    if unknown:
        every = unknown.total() == len(values)
        yield Fault(
            f"{unknown.total()} of {len(values)} {kind}s on the split {split} are in no training sample: "
            f"{_said(unknown)}; {'nothing can be compared' if every else 'such samples count as wrong'}; {remedy}",
            fatal=every,
        )
    if len(set(values)) == 1 and not unknown:
        yield Fault(
            f"every {kind} on the split {split} is {values[0]!r} ({len(values)}): who always says so scores 1.0"
            + (", and the gate promotes no version on it" if split == SPLITS[2] else "")
            + f"; raise datasets.{dataset}.{split}_fraction where its source has it, or add samples with another {kind}"
        )


def text_faults(dataset: str, splits: Splits, words: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with texts to be written: none of the `words` is known, or all texts are equal."""
    train = splits[SPLITS[0]]
    texts = Counter(text for row in train.rows for text in row["tokens"])
    if len(train) < 2:
        yield Fault(f"there is 1 training sample; add samples to data set {dataset}", fatal=True)
    elif not words:
        yield Fault(
            "no word is often enough in the training texts to be in the vocabulary; lower prepare.min_word_count",
            fatal=True,
        )
    elif len(texts) == 1:
        yield Fault(
            f"every text in training is {_said(texts)}: there is nothing to learn; add samples with other texts, "
            f"or for a table name another column in datasets.{dataset}.columns.text",
            fatal=True,
        )


def pair_faults(dataset: str, target: str, splits: Splits) -> Iterator[Fault]:
    """Yield what is wrong with samples whose `target` is to be found by the rest: too few of them, or all equal."""
    for split, found in splits.items():
        rest = np.any([table.counts > 0 for modality, table in found.features.items() if modality != target], axis=0)
        num = int((rest & (found.features[target].counts > 0)).sum())
        fatal = num < (2 if split == SPLITS[0] else 1)
        if num < 2:
            others = ", ".join(modality for modality in found.features if modality != target)
            yield Fault(
                f"the split {split} has {num} of {len(found)} samples with both {target} and {others}"
                + (": one alone is always matched" if num and not fatal else "")
                + f"; add such samples to data set {dataset}",
                fatal,
            )
    if len(splits[SPLITS[0]]) > 1 and splits[SPLITS[0]].features[target].is_uniform():
        yield Fault(
            f"all training samples have the same {target}: one cannot be told from another; "
            f"look at them with `python -m stages.prepare {dataset} --check`",
            fatal=True,
        )


def input_faults(dataset: str, train: Split, batch_size: int) -> Iterator[Fault]:
    """Yield what is wrong with what a model learns from, whatever its task: missing or equal inputs, few samples."""
    uniform = [modality for modality, table in train.features.items() if len(train) > 1 and table.is_uniform()]
    look = f"look at them with `python -m stages.prepare {dataset} --check`"
    if len(uniform) == len(train.features):
        yield Fault(f"all training samples have the same {' and '.join(uniform)}, or none; {look}", fatal=True)
    else:
        for modality in uniform:
            there = train.features[modality].counts.any()
            told = f"all training samples have the same {modality}" if there else f"no training sample has {modality}"
            yield Fault(f"{told}: nothing is learnt from it; {look}, or leave it out with inputs.{modality}: none")
    if len(train) < batch_size:
        yield Fault(
            f"there are {len(train)} training samples, fewer than a batch of {batch_size}, so that an epoch is one "
            "step; lower train.batch_size, or add samples"
        )


def _said(counts: Counter[str]) -> str:
    """Return the commonest values with their counts."""
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _list([f"{value!r} ({count})" for value, count in common[:SHOWN]], len(common))


def _names(values: Sequence[str]) -> str:
    return _list([repr(value) for value in values[:SHOWN]], len(values))


def _list(told: list[str], num: int) -> str:
    return ", ".join(told) + (f" and {num - len(told)} more" if num > len(told) else "")


def _is_number(value: str) -> bool:
    try:
        return np.isfinite(float(value))
    except ValueError:
        return False
