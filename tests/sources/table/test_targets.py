"""Numbers and tags of a user's table: as spreadsheets write them; what cannot be read is put aside by row and cell."""

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from stages.base.errors import InputError
from stages.params import TableParams
from stages.sources.base import RawSample
from stages.sources.table import Table, labels, numbers
from stages.sources.table.numbers import writing_of

ROLES = ("id", "image", "audio", "text", "message", "question", "answer", "label", "group", "split")
NOTHING = dict.fromkeys(ROLES, "none")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/own").mkdir(parents=True)
    (tmp_path / "raw").mkdir()


def read(table: str, text: str, columns: dict[str, Any], reading: dict[str, str] | None = None) -> list[RawSample]:
    Path("data/own", table).write_text(text, encoding="utf8")
    section = {"source": "table", "folder": "own", "table": table, "split_by": "hash", "reading": reading or {}}
    section |= {"columns": NOTHING | {"message": "text"} | columns, "val_fraction": 0.1, "test_fraction": 0.1}
    source = Table(TableParams.model_validate(section))
    source.generate(Path("raw"), seed=1)
    found = list(Table(TableParams.model_validate(section)).read(Path("raw")))
    assert all(isinstance(sample, RawSample) for sample in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("module", [labels, numbers], ids=lambda module: module.__name__)
def test_docstring_examples_hold(module):
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.5", "2", "-3e2", ".5"], [1.5, 2, -300, 0.5]),
        (["1,5", "12,25", "3"], [1.5, 12.25, 3]),
        (["1,234", "12,000,000"], [1234, 12_000_000]),
        (["1.234,50 €", "12,00 €"], [1234.5, 12]),
        (["$1,234.50", "$-12"], [1234.5, -12]),
        (["1 234,5", "2\u202f000,0"], [1234.5, 2000]),
        (["1'234.5"], [1234.5]),
        (["12,34,567"], [1_234_567]),
        (["1.234.567", "12"], [1_234_567, 12]),
        (["12 kg", "3.5kg", "7"], [12, 3.5, 7]),
        (["5 %"], [5]),
        (["\u22125"], [-5]),
        (["0,123", "1,5"], [0.123, 1.5]),
    ],
)
def test_a_column_is_read_as_it_is_written_as_a_whole(cells, values):
    writing, _ = writing_of(cells)
    assert [writing.number(cell) for cell in cells] == values


def test_what_is_not_plain_is_said(capsys):
    read("t.csv", "text;price\none;1,5 kg\ntwo;2,5 kg\n", {"numbers": "price"})
    assert "price: the unit kg is left out, the comma is the decimal mark" in capsys.readouterr().out
    read("t.csv", 'text;price\none;"1,234"\n', {"numbers": "price"})
    assert "a comma, as in 1 cells, is a thousands mark; if not: reading: {decimal: ','}" in capsys.readouterr().out
    (sample,) = read("t.csv", 'text;price\none;"1,234"\n', {"numbers": "price"}, {"decimal": ","})
    assert sample.numbers == {"price": 1.234}


def test_a_row_whose_number_cannot_be_read_is_named_with_its_cell():
    text = "text;price\none;1 kg\ntwo;about 3 or 4\nthree;5 g\nfour;\nfive;n/a\n"
    found = read("t.csv", text, {"numbers": ["price"]})
    assert [sample.numbers.get("price") for sample in found] == [1, None, None, None, None]
    assert [sample.fault for sample in found] == [
        None,
        "t.csv: row 3: column price: 'about 3 or 4' is no number",
        "t.csv: row 4: column price: '5 g' has the unit g, most of the column the unit kg: write all in one",
        None,
        None,
    ]


def test_several_columns_are_several_numbers_of_a_sample():
    (sample,) = read("t.jsonl", json.dumps({"text": "a b", "w": 2, "h": "1.5", "x": 9}), {"numbers": ["w", "h"]})
    assert sample.numbers == {"w": 2, "h": 1.5}


def test_a_column_that_is_not_there_or_has_no_number_is_refused():
    with pytest.raises(InputError, match="no column 'prise', given as columns.numbers; it has text, price"):
        read("t.csv", "text,price\na,1\n", {"numbers": "prise"})
    with pytest.raises(InputError, match="columns.numbers: the column price has no number, such as 'cheap'"):
        read("t.csv", "text,price\na,cheap\n", {"numbers": "price"})


@pytest.mark.parametrize(
    ("cells", "wanted", "told"),
    [
        (["red; large", "blue"], [("red", "large"), ("blue",)], "cut at ';', which is in 1 of 2 cells"),
        (["red, dark; large", "blue"], [("red, dark", "large"), ("blue",)], "cut at ';'"),
        (["red|large|red", "-"], [("red", "large"), ()], "cut at '|'"),
        (["red, large", "blue"], [("red", "large"), ("blue",)], "cut at ','"),
        (["red", "blue"], [("red",), ("blue",)], "each cell is one tag"),
        (['["red", "a, b"]', "[]"], [("red", "a, b"), ()], "JSON lists in 2 of 2 cells"),
    ],
)
def test_tags_are_cut_as_the_column_as_a_whole_says(cells, wanted, told, capsys):
    rows = "\n".join(json.dumps({"text": f"text {i}", "kinds": cell}) for i, cell in enumerate(cells))
    assert [sample.tags for sample in read("t.jsonl", rows, {"tags": "kinds"})] == wanted
    assert f"tags: kinds: {told}" in capsys.readouterr().out


def test_lists_of_json_lines_are_tags_and_an_empty_cell_is_nobody_knows():
    rows = "\n".join(
        json.dumps(row) for row in ({"text": "a", "tags": ["x", "y"]}, {"text": "b"}, {"text": "c", "tags": []})
    )
    assert [sample.tags for sample in read("t.jsonl", rows, {"tags": "auto"})] == [("x", "y"), None, ()]


def test_many_different_numbers_are_no_label_unless_it_is_named(capsys):
    text = "text,target\n" + "\n".join(f"text {i},{i * 0.5}" for i in range(60))
    assert {sample.label for sample in read("t.csv", text, {"label": "auto"})} == {None}
    said = capsys.readouterr().out
    assert "the column target, which could be the label, has 60 different numbers in 60 cells: hardly classes" in said
    assert 'columns: {label: none, numbers: "target"}\nand in the experiment\n    task: regress' in said
    assert len({sample.label for sample in read("t.csv", text, {"label": "target"})}) == 60
    few = "text,target\n" + "\n".join(f"text {i},{i % 5}" for i in range(60))
    assert {sample.label for sample in read("t.csv", few, {"label": "auto"})} == set("01234")


def test_rows_of_the_same_picture_with_other_numbers_are_other_samples():
    text = "id,text,price\nx,one,1\nx,two,1\n"
    columns = {"id": "id", "text": "text", "message": "none"}
    assert len(read("t.csv", text, columns | {"numbers": "price"})) == 2
    assert len(read("t.csv", text, columns)) == 1
