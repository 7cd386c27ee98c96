"""Regression and tagging: units, unknown values, intervals that hold, thresholds, and what cannot be learnt."""

import dataclasses
import doctest
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torchvision.ops import sigmoid_focal_loss

from stages.models import conformal, rare
from stages.models.conformal import half_width, least_samples
from stages.models.metrics import regression, tagging
from stages.models.metrics.regression import r2_from_sums, r2_sums
from stages.models.metrics.tagging import best_threshold, macro_precision, weighed_precisions
from stages.models.rare import balanced, class_loss, tag_loss
from stages.models.tables import Split
from stages.models.tasks.regress import RegressTask, numbers_of
from stages.models.tasks.tag import TagTask, tag_answer
from stages.params import experiment_params
from stages.registry.gate import decide
from tests.support.small_splits import NUM_SAMPLES, make_config, make_split, make_task, project_params

PAIR = ("image", "text")
EVALUATE = project_params().evaluate


@pytest.mark.parametrize("module", [conformal, rare, regression, tagging], ids=lambda module: module.__name__)
def test_docstring_examples_hold(module):
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0


# Numbers


def regress_task(**changes: Any) -> tuple[RegressTask, Split]:
    task, split = make_task("regress", PAIR, **changes), make_split(PAIR)
    assert isinstance(task, RegressTask)
    task.take_in(split)
    return task, split


def test_numbers_are_learnt_in_units_of_their_spread_and_answered_in_their_own():
    task, split = regress_task()
    targets = task.targets(split.rows)["numbers"]
    assert np.nanmean(targets, 0) == pytest.approx([0, 0], abs=1e-6)
    assert np.nanstd(targets, 0) == pytest.approx([1, 1], abs=1e-6)
    assert np.isnan(targets).tolist() == [[False, i == 3] for i in range(NUM_SAMPLES)]
    with torch.no_grad():
        for parameter in task.fusion.parameters():
            parameter.zero_()
    answer = task.eval().answer(split, EVALUATE)[0]
    known = numbers_of(split.rows, ["age", "weight"])
    assert answer["numbers"] == pytest.approx(np.nanmean(known, 0))
    assert task.metrics([answer] * NUM_SAMPLES, split.rows)["r2"] == pytest.approx(0)


def test_an_unknown_number_adds_nothing_to_the_loss():
    task, split = regress_task()
    batch = next(split.in_order(NUM_SAMPLES))[2] | {"numbers": torch.from_numpy(task.targets(split.rows)["numbers"])}
    found = task.fusion(task.encode(batch)).detach()
    known = ~batch["numbers"].isnan()
    assert task.num_known(batch) == 2 * NUM_SAMPLES - 1
    assert task.loss(batch).item() == pytest.approx(F.huber_loss(found[known], batch["numbers"][known]).item())
    nothing = batch | {"numbers": torch.full_like(batch["numbers"], torch.nan)}
    assert task.loss(nothing).item() == 0


def test_one_number_of_several_can_be_chosen_by_its_name_wherever_it_stands():
    task, split = regress_task(numbers=["weight"])
    other = dataclasses.replace(split, rows=[row | {"numbers": row["numbers"][::-1]} for row in split.rows])
    assert task.names == ["weight"]
    assert np.array_equal(task.targets(split.rows)["numbers"], task.targets(other.rows)["numbers"], equal_nan=True)


def test_intervals_hold_about_as_often_as_they_are_made_to():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        errors = np.abs(rng.standard_t(3, size=(2, 100)))
        held.append((errors[1] <= half_width(errors[0], 0.9)).mean())
    assert np.mean(held) == pytest.approx(0.905, abs=0.008)  # (n + 1) / n above the nominal at most


def test_with_too_few_samples_the_largest_error_is_taken():
    assert half_width(np.array([1.0, 5.0, 2.0]), 0.9) == 5.0
    assert [least_samples(share) for share in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]


def test_calibration_covers_the_validation_split_and_travels_with_the_weights():
    task, split = regress_task()
    before = task.state_dict()["half_PT"].clone()
    task.eval().calibrate(split, EVALUATE)
    assert not before.any() and (task.half_PT > 0).all()
    scores = task.metrics(task.answer(split, EVALUATE), split.rows)
    assert min(scores["coverage_by_number"].values()) >= 0.8
    again = make_task("regress", PAIR).eval()
    again.load_state_dict(task.state_dict())
    assert again.answer(split, EVALUATE) == task.answer(split, EVALUATE)


def test_who_is_told_less_has_intervals_of_his_own_that_hold_too():
    task, split = regress_task()
    task.eval().calibrate(split, EVALUATE)
    for given in (["image"], ["text"], list(PAIR)):
        answers = task.answer(split.only(given), EVALUATE)
        assert min(task.metrics(answers, split.rows)["coverage_by_number"].values()) >= 0.8
    few = split.only(["image"])  # too few have the text: the intervals of all
    task.calibrate(few, EVALUATE)
    assert task.half_PT[2].equal(task.half_PT[1]) and task.half_PT[3].equal(task.half_PT[1])


def test_resampled_r2_is_that_of_the_resample():
    rng = np.random.default_rng(1)
    expected = rng.normal(2000, 5, size=50)
    predicted = expected + rng.normal(size=50)
    counts = rng.multinomial(50, np.full(50, 0.02))
    drawn = np.repeat(np.arange(50), counts)
    found = r2_from_sums(counts @ r2_sums(expected, predicted))
    error = ((expected - predicted)[drawn] ** 2).sum()
    assert found == pytest.approx(1 - error / ((expected[drawn] - expected[drawn].mean()) ** 2).sum())


@pytest.mark.parametrize(
    ("change", "fatal", "words"),
    [
        ({"age": 7.0}, True, "every age in training is 7 (8): there is nothing to learn"),
        ({"val": None}, True, "no sample of the split val has the number age: nothing can be compared; raise"),
    ],
)
def test_numbers_that_cannot_be_learnt_are_named(change, fatal, words):
    splits = {name: make_split(PAIR) for name in ("train", "val", "test")}
    for name, split in splits.items():
        for row in split.rows:
            numbers = dict(row["numbers"]) | {key: value for key, value in change.items() if key == "age"}
            row["numbers"] = [(k, v) for k, v in numbers.items() if not (k == "age" and name in change)]
    faults = list(RegressTask.faults(make_config("regress", PAIR), splits))
    assert [(fault.fatal, words in fault.text) for fault in faults] == [(fatal, True)]


def test_a_number_that_there_is_not_is_named_with_those_that_there_are():
    splits = {name: make_split(PAIR) for name in ("train", "val", "test")}
    (fault,) = RegressTask.faults(make_config("regress", PAIR, numbers=["hight"]), splits)
    assert fault.fatal and "has the number 'hight'; expected all, or names of age, weight" in fault.text


def test_few_validation_samples_are_said_with_what_the_interval_is_then_worth():
    splits = {name: make_split(PAIR) for name in ("train", "val", "test")}
    told = [fault.text for fault in RegressTask.faults(make_config("regress", PAIR, coverage=0.9), splits)]
    assert len(told) == 2 and "needs 9: the largest error is taken, which holds in 0.89 of them" in told[0]


# Tags


def tag_task(**changes: Any) -> TagTask:
    task = make_task("tag", PAIR, **changes)
    assert isinstance(task, TagTask)
    return task


def test_a_sample_without_tags_counts_and_unknown_ones_are_missed():
    task, split = tag_task(), make_split(PAIR)
    assert split.rows[0]["tags"] == [] and task.targets(split.rows)["tags"][0].sum() == 0
    split.rows[1]["tags"] = ["zebra"]
    sure = [tag_answer(task.classes, row, np.full(5, 0.5)) for row in task.targets(split.rows)["tags"].astype(float)]
    scores = task.metrics(sure, split.rows)
    assert scores["unknown_tags"] == 1
    assert scores["average_precision_by_tag"]["zebra"] == pytest.approx(1 / 8)
    assert scores["micro_f1"] == pytest.approx(2 * 12 / (12 + 13))
    assert scores["macro_average_precision"] == pytest.approx((5 + 1 / 8) / 6)


def test_resampled_precision_is_that_of_the_resample_by_scikit_learn():
    rng = np.random.default_rng(2)
    truth, scores = (rng.random((40, 3)) < 0.3).astype(float), rng.random((40, 3)).round(1)  # many equal scores
    truth[:, 2] = 0
    counts = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    drawn = [np.repeat(np.arange(40), row) for row in counts]
    wanted = [np.mean([average_precision_score(truth[d, c], scores[d, c]) for c in range(2)]) for d in drawn]
    assert macro_precision(weighed_precisions(counts, truth, scores)) == pytest.approx(wanted)


def test_a_threshold_has_the_best_f1_there_is():
    rng = np.random.default_rng(3)
    truth, scores = (rng.random(60) < 0.3).astype(float), rng.random(60).round(1)

    def f1(threshold: float) -> float:
        said = scores >= threshold
        return 2 * (said * truth).sum() / (said.sum() + truth.sum())

    best = best_threshold(truth, scores)
    assert f1(best) == max(f1(threshold) for threshold in np.arange(0, 1.01, 0.05))


def test_thresholds_are_chosen_by_tag_where_validation_has_it():
    task, split = tag_task(), make_split(PAIR)
    for row in split.rows:
        row["tags"] = [tag for tag in row["tags"] if tag != "bird"]
    task.eval().calibrate(split, EVALUATE)
    chosen = dict(zip(task.classes, task.thresholds_C.tolist(), strict=True))
    assert chosen["bird"] == 0.5 and chosen["cat"] != 0.5
    answers = task.answer(split, EVALUATE)
    assert all(a["tag_probabilities"] == sorted(a["tag_probabilities"], reverse=True) for a in answers)


@pytest.mark.parametrize(
    ("tags", "fatal", "words"),
    [
        ({"train": ["a"]}, True, "every sample in training has the tags 'a' (8): there is nothing to tell apart"),
        ({"test": ["new"]}, False, "8 tags on the split test are in no training sample: 'new' (8); each counts as mi"),
        ({"val": ["cat"]}, False, "4 tags are in no sample of the split val: 'blue' (4), 'red' (3), "),
    ],
)
def test_tags_that_cannot_be_learnt_are_named(tags, fatal, words):
    splits = {name: make_split(PAIR) for name in ("train", "val", "test")}
    for name, found in tags.items():
        for row in splits[name].rows:
            row["tags"] = found
    faults = list(TagTask.faults(make_config("tag", PAIR), splits))
    assert [(f.fatal, f.text[: len(words)]) for f in faults if f.text.startswith(words[:10])] == [(fatal, words)]


# Rare classes


def test_the_default_loss_is_the_plain_one_to_the_bit():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, -1, 0, 0])
    plain = F.cross_entropy(logits[targets >= 0], targets[targets >= 0], label_smoothing=0.1)
    assert class_loss(logits, targets, None, 0.0, 0.1).equal(plain)
    truth = (torch.rand(6, 3) < 0.5).float()
    assert tag_loss(logits, truth, None, 0.0).equal(F.binary_cross_entropy_with_logits(logits, truth))


def test_focus_is_that_of_lin_et_al():
    torch.manual_seed(1)
    logits, truth = torch.randn(6, 3), (torch.rand(6, 3) < 0.5).float()
    wanted = sigmoid_focal_loss(logits, truth, alpha=-1, gamma=2.0, reduction="mean")
    assert tag_loss(logits, truth, None, 2.0).item() == pytest.approx(wanted.item())
    two = torch.stack([torch.zeros(6), logits[:, 0]], 1)
    wanted = sigmoid_focal_loss(logits[:, 0], truth[:, 0], alpha=-1, gamma=2.0, reduction="mean")
    assert class_loss(two, truth[:, 0].long(), None, 2.0).item() == pytest.approx(wanted.item())


def test_balanced_weights_let_each_class_count_alike():
    weights = balanced(torch.tensor([90.0, 9.0, 1.0, 0.0]))
    assert (weights * torch.tensor([90.0, 9.0, 1.0, 0.0])).tolist() == pytest.approx([100 / 3] * 3 + [0])
    task, split = make_task("classify", PAIR, class_weights="balanced"), make_split(PAIR)
    task.take_in(split)
    assert task.weights_C.tolist() == pytest.approx([8 / 9, 8 / 9, 8 / 6])
    assert "weights_C" not in make_task("classify", PAIR).state_dict()
    tags = tag_task(class_weights="balanced")
    tags.take_in(split)
    assert tags.weights_C2[0].tolist() == pytest.approx([8 / (2 * 6), 8 / (2 * 2)])  # bird: 2 of 8


def test_weights_and_a_language_model_do_not_go_together():
    values = make_config("classify", PAIR).experiment.model_dump()
    head = {"name": "language_model", "model": "some/folder"}
    with pytest.raises(ValueError, match="class_weights none and focal_gamma 0 beside a language model"):
        experiment_params(values | {"head": head, "class_weights": "balanced"})


@pytest.mark.parametrize(("task", "metric"), [(TagTask, "macro_average_precision"), (RegressTask, "r2")])
def test_the_gate_tells_a_better_model_from_a_worse_one_whatever_it_sums(task, metric):
    rng = np.random.default_rng(4)
    truth = (rng.random((200, 2)) < 0.3).astype(float)

    def records(noise: float) -> dict[str, list[Any]]:
        found = (truth + rng.normal(0, noise, truth.shape)).tolist()
        if task is RegressTask:
            return {"expected": truth.tolist(), "predicted": found}
        tags = [["a"] * int(one) + ["b"] * int(other) for one, other in truth]
        return {
            "expected": tags,
            "classes": [["a", "b", "never"]] * 200,
            "probabilities": [[*row, 0.5] for row in found],
        }

    better, worse = (task.statistics(records(noise), metric) for noise in (0.2, 0.8))
    metric_of, summed = partial(task.metric_of, metric=metric), partial(task.summed, metric=metric)
    gate = project_params().register_.model_copy(update={"metric": metric, "resamples": 200})
    up, down = decide(worse, better, metric_of, gate, summed), decide(better, worse, metric_of, gate, summed)
    assert up.promote and not down.promote
    assert up.gain is not None and down.gain == pytest.approx(-up.gain) and up.low > 0 > down.high
