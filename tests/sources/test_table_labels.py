"""A class has one name, in whichever format and type its table holds it, and what is taken otherwise is said."""

import doctest
from pathlib import Path

import pandas as pd
import pytest

import stages.sources.table.labels
from stages.params import TableParams
from stages.sources.base import RawSample
from stages.sources.table import ROLES, Table

HOME = Path("data/mine")
WRITERS = {
    "table.csv": lambda frame, path: frame.to_csv(path, index=False),
    "table.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "table.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "table.parquet": lambda frame, path: frame.to_parquet(path, index=False),
}
WORDS = {  # in columns of text
    "True": "true",
    "false": "false",
    "FALSE": "false",
    "1.0": "1",
    "-2.": "-2",
    "+1": "+1",
    "-1": "-1",
    "1.50": "1.50",
    "1.0.0": "1.0.0",
    "Cat": "Cat",
    "cat": "cat",
    "none": "none",
    "NA": "NA",
    "nan": None,
    "NaN": None,
    "N/A": None,
    "NULL": None,
    "None": None,
    "": None,
}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HOME.mkdir(parents=True)


def labels(file: str, values: pd.Series) -> list[str | None]:
    """Write a table by pandas, download and read it; return the labels."""
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(len(values))], "label": values})
    return [sample.label for sample in samples(file, frame)]


def samples(file: str, frame: pd.DataFrame) -> list[RawSample]:
    section = {"source": "table", "folder": "mine", "table": file, "split_by": "hash"}
    section |= {"columns": dict.fromkeys(ROLES, "auto"), "val_fraction": 0.0, "test_fraction": 0.0}
    table = Table(TableParams.model_validate(section))
    WRITERS[file](frame, HOME / file)
    Path("raw").mkdir(exist_ok=True)
    table.generate(Path("raw"), seed=1)
    return [sample for sample in table.read(Path("raw")) if isinstance(sample, RawSample)]


def test_examples_in_docstrings_hold():
    result = doctest.testmod(stages.sources.table.labels)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("missing", [False, True], ids=["full", "one missing"])
@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 1, 2], ["0", "1", "2"]),
        ([-1, 1, 100000], ["-1", "1", "100000"]),
        ([0.0, 1.0, 2.5], ["0", "1", "2.5"]),
        ([True, False, True], ["true", "false", "true"]),
        (["a", "b", "ä"], ["a", "b", "ä"]),
    ],
    ids=["whole", "signed", "fractions", "truth", "text"],
)
def test_a_missing_label_or_another_format_gives_no_class_another_name(file, missing, values, names):
    series = pd.Series([*values, None] if missing else values)
    assert labels(file, series) == [*names, *([None] if missing else [])]


@pytest.mark.parametrize("file", WRITERS)
def test_words_for_no_value_and_for_truth_are_the_same_in_every_format(file, capsys):
    assert labels(file, pd.Series(list(WORDS), dtype=object)) == list(WORDS.values())
    told = [line for line in capsys.readouterr().out.splitlines() if "by their value" in line]
    assert told[0].startswith(f"data/mine/{file}: label: 9 cells are taken by their value: ") and len(told) == 1
    assert "'True' 1 as true" in told[0] and "'nan' 1 as missing" in told[0]
    assert told[0].endswith("(a class of such a name needs another one)")


@pytest.mark.parametrize("file", WRITERS)
def test_nothing_is_said_of_names_that_stay(file, capsys):
    assert labels(file, pd.Series(["a", "1", "true"])) == ["a", "1", "true"]
    assert "by their value" not in capsys.readouterr().out


@pytest.mark.parametrize("file", WRITERS)
def test_a_missing_answer_makes_no_fractions_of_the_others(file):
    frame = pd.DataFrame({"text": list("abc"), "question": ["how many"] * 3, "answer": [1, None, 20]})
    answers = [question.answer for sample in samples(file, frame) for question in sample.questions]
    assert answers == ["1", "20"]
