"""What cannot be learnt is told before training, with its remedy; what can be is not."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stages.media.text import SPECIALS
from stages.models.tables import FeatureTable, Split
from stages.models.targets import Fault, class_faults, input_faults
from stages.models.tasks import TASKS
from tests.support.small_splits import CPU, NUM_SAMPLES, make_config, make_split

PAIR = ("image", "text")
MODALITIES = {task: ("image", "question") if task == "vqa" else PAIR for task in TASKS}
FATAL = True


def splits_of(task: str, change: Callable[[str, int, dict[str, Any]], Any] = lambda *_: None) -> dict[str, Split]:
    """Make three splits, with a change made to each (split, number of the sample, row)."""
    splits = {name: make_split(MODALITIES[task], TASKS[task].several) for name in ("train", "val", "test")}
    for name, split in splits.items():
        for i, row in enumerate(split.rows):
            change(name, i, row)
    return splits


def faults(task: str, splits: dict[str, Split]) -> list[Fault]:
    return list(TASKS[task].faults(make_config(task, MODALITIES[task]), splits))


def lacking(modality: str, *present: int) -> Split:
    """Make a split in which only the present samples have the modality."""
    if not present:
        return make_split(PAIR).only(set(PAIR) - {modality})
    return make_split(PAIR, (), [(modality, i) for i in range(NUM_SAMPLES) if i not in present])


@pytest.mark.parametrize("task", TASKS)
def test_what_can_be_learnt_has_no_faults(task):
    splits = splits_of(task)
    assert faults(task, splits) == []
    assert list(input_faults("small", splits["train"], NUM_SAMPLES)) == []


@pytest.mark.parametrize(("task", "kind"), [("classify", "label"), ("translate", "label"), ("vqa", "answer")])
@pytest.mark.parametrize(
    ("values", "fatal", "told"),
    [
        (lambda split, i: "cat", FATAL, "every {kind} in training is 'cat' (8): there is nothing to tell apart; add"),
        (lambda split, i: "x" if split == "train" else "y", FATAL, "every {kind} in training is 'x' (8): "),
        (lambda split, i: f"{i * 0.37:.2f}", FATAL, "8 different {kind}s, such as '0.00', '0.37', '0.74', '1.11', "),
        (
            lambda split, i: f"{i * 0.37:.2f}",
            FATAL,
            "they look like a number to be predicted, not like classes; set the experiment's task to regress and, for ",
        ),
        (lambda split, i: f"name {i}", FATAL, "and 8 of them once: a class is learnt from several samples"),
        (lambda split, i: "ab"[i % 2] if i < 3 else f"n{i}", False, "fewer than two samples each: hardly one"),
        (
            lambda split, i: f"{split} {i % 2}",
            FATAL,
            "8 of 8 {kind}s on the split val are in no training sample: 'val 0' (4), 'val 1' (4); nothing can be ",
        ),
        (
            lambda split, i: "rare" if split == "test" and i < 3 else "ab"[i % 2],
            False,
            "3 of 8 {kind}s on the split test are in no training sample: 'rare' (3); such samples count as wrong",
        ),
        (
            lambda split, i: "a" if split == "val" else "ab"[i % 2],
            False,
            "every {kind} on the split val is 'a' (8): who always says so scores 1.0; raise datasets.small.val_fract",
        ),
        (
            lambda split, i: "a" if split == "test" else "ab"[i % 2],
            False,
            "every {kind} on the split test is 'a' (8): who always says so scores 1.0, and the gate promotes no ",
        ),
    ],
)
def test_classes_that_cannot_be_learnt_are_told(task, kind, values, fatal, told):
    def change(split, i, row):
        row.update(label=values(split, i), questions=["what is it"], answers=[values(split, i)])

    (found, *_) = [fault for fault in faults(task, splits_of(task, change)) if told.format(kind=kind) in fault.text]
    assert found.fatal == fatal
    assert "datasets.small." in found.text and "\n" not in found.text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([str(i % 100) for i in range(10_000)], False),  # CIFAR-100 by its numbers
        ([str(1 + i % 5) for i in range(40)], False),
        ([f"{i % 10 / 2}" for i in range(100)], False),  # ratings in half stars
        ([f"{i % 80 + 0.99:.2f}" for i in range(10_000)], True),  # prices that come again
        ([str(i % 30) for i in range(90)], True),  # ages
        (["1.5", *[f"word {i % 3}" for i in range(20)]], False),
    ],
)
def test_numbers_to_be_predicted_are_told_from_numbers_of_classes(values, told):
    found = list(class_faults("own", "label", {"train": values, "val": values, "test": values}))
    assert [("regress" in fault.text, fault.fatal) for fault in found] == ([(True, False)] if told else [])


TRAINED = {"one": ["a"] * 12, "two": ["a", "b"] * 6, "words": [f"w{i}" for i in range(12)], "few": ["a"] * 11 + ["b"]}
ASKED = {"known": ["a", "b"], "one": ["a"] * 3, "some": ["a", "b", "c"], "none": ["c", "d"], "one, new": ["c"]}


@pytest.mark.parametrize(("train", "val", "test"), list(itertools.product(TRAINED, ASKED, ASKED)))
def test_a_fault_is_fatal_only_where_nothing_is_left_to_learn_or_to_compare(train, val, test):
    values = {"train": TRAINED[train], "val": ASKED[val], "test": ASKED[test]}
    found = list(class_faults("own", "label", values))
    nothing = len(set(values["train"])) in (1, 12) or any(
        not set(values[split]) & set(values["train"]) for split in ("val", "test")
    )
    assert any(fault.fatal for fault in found) == nothing
    odd = any(set(values[split]) != set(values["train"]) for split in ("val", "test"))
    assert bool(found) == (nothing or odd)


@pytest.mark.parametrize("task", ["match", "retrieve", "translate"])
@pytest.mark.parametrize(
    ("name", "modality", "present", "fatal", "told"),
    [
        ("train", "text", (2,), FATAL, "the split train has 1 of 8 samples with both text and image; add such samples"),
        ("train", "image", (), FATAL, "the split train has 0 of 8 samples with both text and image; add such samples"),
        ("val", "text", (), FATAL, "the split val has 0 of 8 samples with both text and image; add such samples"),
        ("test", "text", (), FATAL, "the split test has 0 of 8 samples with both text and image; add such samples"),
        ("test", "image", (1,), False, "the split test has 1 of 8 samples with both text and image: one alone is alw"),
    ],
)
def test_too_few_pairs_are_told(task, name, modality, present, fatal, told):
    (found,) = faults(task, splits_of(task) | {name: lacking(modality, *present)})
    assert found.text.startswith(told) and found.fatal == fatal


def uniform(split: Split, modality: str) -> Split:
    features = np.zeros((len(split), 6), np.int32)
    table = FeatureTable(features, [[i] for i in range(len(split))], CPU, 1e9)
    return dataclasses.replace(split, features=split.features | {modality: table})


@pytest.mark.parametrize("task", ["match", "retrieve"])
def test_targets_that_are_all_equal_are_told(task):
    splits = splits_of(task)
    (found,) = faults(task, splits | {"train": uniform(splits["train"], "text")})
    assert found.fatal and found.text.startswith("all training samples have the same text: one cannot be told from an")


def test_texts_that_cannot_be_written_are_told():
    same = splits_of("caption", lambda split, i, row: row.update(tokens=["a dog"]))
    (found,) = faults("caption", same)
    assert found.fatal and found.text.startswith("every text in training is 'a dog' (8): there is nothing to learn")
    splits = splits_of("caption")
    alone = dataclasses.replace(splits["train"], rows=splits["train"].rows[:1])
    (found,) = faults("caption", splits | {"train": alone})
    assert found.fatal and found.text.startswith("there is 1 training sample; add ")
    config = dataclasses.replace(make_config("caption", PAIR), vocabularies={"texts": list(SPECIALS)})
    (found,) = TASKS["caption"].faults(config, splits)
    assert found.fatal and found.text.endswith("lower prepare.min_word_count")


def test_inputs_that_say_nothing_are_told():
    split = make_split(PAIR)
    (found,) = input_faults("own", uniform(split, "text"), 8)
    assert not found.fatal and found.text.startswith("all training samples have the same text: nothing is learnt from ")
    (found,) = input_faults("own", lacking("text"), 8)
    assert not found.fatal and found.text.startswith("no training sample has text: nothing is learnt from it; ")
    (found,) = input_faults("own", uniform(uniform(split, "text"), "image"), 8)
    assert found.fatal and found.text.startswith("all training samples have the same image and text, or none; ")


def test_fewer_samples_than_a_batch_are_told():
    (found,) = input_faults("own", make_split(PAIR), 9)
    assert not found.fatal
    assert found.text.startswith(
        "there are 8 training samples, fewer than a batch of 9, so that an epoch is one step; "
    )
