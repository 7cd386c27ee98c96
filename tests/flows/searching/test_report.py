"""What a report says of a study: by hand-made trials, scored without any training."""

import subprocess
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from flows.searching.report import BEST, STANDS, best_of, write_report
from flows.searching.space import Interval, Space
from flows.searching.study import METRIC, Search, distributions
from flows.searching.trials import Scores

TEXT = "experiments:\n  a:\n    fusion: late  # or mean\n    train: {rate: 0.5}\n"
RATE, FUSION = "experiments.a.train.rate", "experiments.a.fusion"
SPACE = Space("a", {RATE: Interval(low=0.1, high=1.0), FUSION: ("late", "mean")}, {RATE: 0.5, FUSION: "late"})
SEARCH = Search(SPACE, TEXT, seed=7, epochs=1, tell=print)
TRIALS = [(0.5, "late", 0.4), (0.25, "mean", 0.3), (0.9, "late", None), (0.75, "mean", 0.6), (0.3, "late", 0.5)]


def make_study(direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.set_user_attr(METRIC, "val_loss")
    for rate, fusion, score in TRIALS:
        study.enqueue_trial({RATE: rate, FUSION: fusion})
        trial = study.ask(distributions(SPACE))
        trial.set_user_attr("epochs", 1)
        study.tell(trial, score, TrialState.COMPLETE if score else TrialState.FAIL)
    return study


@pytest.mark.parametrize(("direction", "number"), [("minimize", 1), ("maximize", 3)])
def test_the_best_is_by_the_direction(direction: str, number: int):
    best = best_of(make_study(direction))
    assert best and best.number == number


def test_nothing_is_best_where_nothing_is_complete(tmp_path: Path):
    study = optuna.create_study()
    assert best_of(study) is None
    write_report(tmp_path, study, SEARCH, {})
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


def test_the_table_names_each_trial_and_the_diff_the_best(tmp_path: Path):
    text = write_report(tmp_path, make_study(), SEARCH, {})
    assert "5 trials (4 complete, 1 failed)" in text and "less is better" in text
    assert "| 1 | 0.4000 | 0.5 | late | 1 | - | complete |" in text
    assert "| 2 | **0.3000** | 0.25 | mean | 1 | - | complete |" in text
    assert "| 3 | - | 0.9 | late | 1 | - | failed |" in text
    (tmp_path / "params.yaml").write_text(TEXT)
    subprocess.run(["patch", "-p1", "-i", "best.diff"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "params.yaml").read_text() == TEXT.replace("late", "mean").replace("0.5", "0.25")


def test_the_same_study_gives_the_same_files(tmp_path: Path):
    for name in ("one", "two"):
        write_report(tmp_path / name, make_study(), SEARCH, {})
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "best.diff",
        "history.png",
        "importances.png",
        "table.md",
    ]
    for path in (tmp_path / "one").glob("*.*"):
        same = path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert same or path.name == "table.md"  # it names its own folder


def runs(scores: list[float]) -> list[Scores]:
    return [Scores(score, 1 - score, "accuracy") for score in scores]


def test_a_difference_is_held_against_what_the_seed_does(tmp_path: Path):
    pair = {STANDS: runs([0.4, 0.42]), BEST: runs([0.3, 0.32])}
    text = write_report(tmp_path, make_study(), SEARCH, pair)
    assert "| as it stands | 0.4100 ± 0.0141 | 0.5900 ± 0.0141 |" in text
    # the standard error is sqrt(2 * 0.0141 ** 2 / 2) = 0.0141
    assert "the best differs by -0.1000, twice the standard error of that is 0.0283: more than the seed alone" in text
    text = write_report(tmp_path, make_study(), SEARCH, {STANDS: runs([0.3, 0.5]), BEST: runs([0.3, 0.4])})
    assert "differs by -0.0500, twice the standard error of that is 0.2236: no more than the seed alone" in text


def test_with_one_seed_the_report_says_that_it_does_not_know(tmp_path: Path):
    text = write_report(tmp_path, make_study(), SEARCH, {STANDS: runs([0.4]), BEST: runs([0.3])})
    assert "How much of this is chance is not known: SEEDS=3" in text
    assert "No trial is better" in write_report(tmp_path, make_study(), SEARCH, {STANDS: runs([0.4])})
