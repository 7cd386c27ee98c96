"""What the search file may name, and how its mistakes are told."""

from pathlib import Path

import pytest

from flows.searching.space import Space, read_space
from stages.base.errors import InputError
from stages.params import load_params
from tests.support.small_data import PROJECT, write_params

OWN = "experiments.classify."


def read(folder: Path, ranges: str, name: str = "classify") -> Space:
    params = write_params(folder / "params.yaml", {})
    path = folder / "search.yaml"
    path.write_text(ranges)
    return read_space(path, load_params(params), params.read_text(), name)


def test_the_projects_own_file_fits_the_projects_own_params():
    text = (PROJECT / "params.yaml").read_text()
    space = read_space(PROJECT / "search.yaml", load_params(PROJECT / "params.yaml"), text, "classify")
    assert {space.short(key) for key in space.ranges} >= {"train.learning_rate", "train.epochs", "fusion"}
    assert space.is_whole(f"{OWN}train.epochs") and not space.is_whole(f"{OWN}train.learning_rate")


def test_what_stands_is_found_in_the_experiment_or_in_the_section_train(tmp_path: Path):
    space = read(
        tmp_path,
        f"{OWN}train.weight_decay: {{low: 0, high: 1}}\n{OWN}encoders.text: [gru, lstm]\nexperiments.other.x: 3",
    )
    assert space.defaults == {f"{OWN}train.weight_decay": 0.01, f"{OWN}encoders.text": "gru"}
    assert not space.is_whole(f"{OWN}train.weight_decay")  # the value that stands is no whole number


def test_a_drawn_number_has_few_digits_and_stays_inside(tmp_path: Path):
    space = read(tmp_path, f"{OWN}train.learning_rate: {{low: 1.001e-3, high: 1e-2, log: true}}")
    key = f"{OWN}train.learning_rate"
    assert [space.rounded(key, value) for value in (0.0033333333, 0.0010010001)] == [0.00333, 0.001001]
    stepped = read(tmp_path, f"{OWN}dropout: {{low: 0.1, high: 0.5, step: 0.1}}")
    assert stepped.rounded(f"{OWN}dropout", 0.1 + 0.2) == 0.3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.lr: {low: 1, high: 2}", "train.lr: unknown key 'lr'; expected one of seed, epochs, "),
        ("drop: [1, 2]", "drop: unknown key 'drop'; expected one of task, "),
        ("encoders: [a, b]", "encoders: holds {"),
        ("fusion.name: [a, b]", "fusion.name: unknown key 'name'; 'attention' has no keys"),
        ("fusion: [attention, mean]", "fusion: got 'mean'; expected one of concat, "),
        ("fusion: [late, concat]", "fusion: params.yaml says 'attention', the first trial, and the range lacks it"),
        ("fusion: attention", "fusion: got 'attention'; expected {low: .., high: ..} or a list of choices"),
        ("fusion: [attention, attention]", "expected two or more plain values, each once"),
        ("dim: {low: 60, high: 128, step: 4}", "dim: got 60; expected a multiple of 8"),
        ("dim: {low: 64, high: 96, step: 32}", "dim: params.yaml says 128, the first trial, and the range lacks it"),
        ("train.epochs: {low: 0, high: 3}", "train.epochs: got 0; expected greater than or equal to 1"),
        ("dropout: {low: 0.0, high: 1.0}", "dropout: got 1.0; expected less than 1"),
        ("dropout: {low: 0.5, high: 0.1}", "dropout: got low 0.5 and high 0.1; expected two numbers"),
        ("dropout: {low: 0.0, high: 0.5, log: true}", "dropout: got low 0.0; expected more than 0 with log"),
        ("dropout: {low: 0.1, high: 0.5, log: true, step: 0.1}", "dropout: got step 0.1; expected"),
        (
            "dropout: {low: 0.1, high: 0.5, steps: 3}",
            "dropout.steps: unknown key; expected one of low, high, log, step",
        ),
        ("dropout: {low: 0.1}", "dropout: got {'low': 0.1}; expected {low: .., high: ..} or a list"),
        ("train.seed: [7, 8]", "train.seed: is the same in every trial, else their scores would not compare"),
        ("train.monitor: [loss, score]", "train.monitor: is the same in every trial"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(tmp_path: Path, line: str, message: str):
    with pytest.raises(InputError) as error:
        read(tmp_path, f"{OWN}{line}")
    assert str(error.value).startswith(f"{tmp_path / 'search.yaml'}:\n  {OWN}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train.epochs: [1, 2]",
            "other experiments are trained with it too; expected experiments.classify.train.epochs",
        ),
        ("datasets.scenes.noise: {low: 0.0, high: 0.1}", "expected a value of an experiment, such as"),
        ("experiments: {classify: {fusion: [late, concat]}}", "experiments: expected a value of an experiment"),
        ("- fusion", "expected keys of params.yaml with their ranges"),
        ("a: [", "not valid YAML"),
        (f"{OWN}a: 1\n{OWN}b: 2", "unknown key 'b'"),
    ],
)
def test_what_belongs_elsewhere_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
