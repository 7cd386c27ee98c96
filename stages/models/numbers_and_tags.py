"""Numbers and tags that cannot be learnt or compared, told from prepared rows before any training."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from stages.base.store import SPLITS
from stages.models.conformal import least_samples
from stages.models.targets import Fault
from stages.params import RegressParams

SHOWN = 5


def number_faults(
    experiment: RegressParams, known: list[str], names: list[str], found: Mapping[str, np.ndarray]
) -> Iterator[Fault]:
    """Yield what is wrong with the numbers `names` of an experiment.

    Args:
        experiment: Its section.
        known: The numbers that some training sample has.
        names: Those that it predicts.
        found: By split their values (N, T), nan where they are not known.
    """
    missing = [name for name in names if name not in known]
    if missing:
        yield Fault(
            f"numbers: no training sample of data set {experiment.dataset} has the number {missing[0]!r}; expected "
            f"all, or names of {', '.join(known) or 'none'}",
            fatal=True,
        )
        return
    for place, name in enumerate(names):
        values = {split: table[:, place] for split, table in found.items()}
        yield from _of_one(experiment, name, {split: x[~np.isnan(x)] for split, x in values.items()})


def _of_one(experiment: RegressParams, name: str, values: Mapping[str, np.ndarray]) -> Iterator[Fault]:
    """Yield what is wrong with the known values of one number."""
    dataset, train = experiment.dataset, values[SPLITS[0]]
    if len(np.unique(train)) < 2:
        told = f"every {name} in training is {train[0]:g} ({len(train)})" if len(train) else f"no {name} in training"
        yield Fault(f"{told}: there is nothing to learn; add samples with another {name}", fatal=True)
    for split in SPLITS[1:]:
        if not len(values[split]):
            yield Fault(
                f"no sample of the split {split} has the number {name}: nothing can be compared; raise "
                f"datasets.{dataset}.{split}_fraction where its source has it, or add such samples",
                fatal=True,
            )
    num, least = len(values[SPLITS[1]]), least_samples(experiment.coverage)
    if 0 < num < least:
        yield Fault(
            f"{num} samples of the split val have the number {name}, and an interval for {experiment.coverage:g} of "
            f"the cases needs {least}: the largest error is taken, which holds in {num / (num + 1):.2g} of them; lower "
            f"the experiment's coverage, or raise datasets.{dataset}.val_fraction"
        )


def tag_faults(dataset: str, tags: Mapping[str, Sequence[Collection[str]]]) -> Iterator[Fault]:
    """Yield what is wrong with tags, by split those of each sample."""
    train = tags[SPLITS[0]]
    counts = Counter(tag for found in train for tag in found)
    usual = [tag for tag, count in counts.items() if count == len(train)]
    if len(usual) == len(counts):
        told = f"every sample in training has the tags {_said(counts)}" if counts else "no sample in training has a tag"
        yield Fault(f"{told}: there is nothing to tell apart; add samples with others", fatal=True)
        return
    for split in SPLITS[1:]:
        unknown = Counter(tag for found in tags[split] for tag in found if tag not in counts)
        if unknown:
            yield Fault(
                f"{unknown.total()} tags on the split {split} are in no training sample: {_said(unknown)}; each counts "
                f"as missed; add such samples to training, or lower datasets.{dataset}.{split}_fraction where its "
                "source has it"
            )
    seen = set().union(*tags[SPLITS[1]])
    unseen = Counter({tag: count for tag, count in counts.items() if tag not in seen})
    if unseen:
        yield Fault(
            f"{len(unseen)} tags are in no sample of the split val: {_said(unseen)}; their threshold stays 0.5; raise "
            f"datasets.{dataset}.val_fraction where its source has it"
        )


def _said(counts: Counter[str]) -> str:
    """Return the commonest tags with their counts."""
    told = [f"{tag!r} ({count})" for tag, count in counts.most_common(SHOWN)]
    return ", ".join(told) + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
