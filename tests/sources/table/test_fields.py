"""Columns of a user's table become fields, as five tables of several countries write them, or it is said why not."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.samples.checks import Outcome, prepare_rows
from stages.samples.fields import find_habits
from tests.samples.test_checks import LIMITS
from tests.sources.table.tables import TABLES, written
from tests.sources.test_table import HOME, project, read, samples, source  # noqa: F401


def in_form(column, value) -> str:
    """Return a value as it is prepared."""
    if column.kind == "boolean":
        return str(value).lower()
    if column.kind == "date":
        return f"{value.isoformat()}T{value.day % 24:02d}:30" if column.name == "hora" else value.isoformat()
    return f"{value:.15g}" if column.kind == "number" else str(value)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", TABLES)
def test_roles_kinds_and_cells_of_a_table_as_users_write_it_are_right(name, seed, capsys):
    columns, cells, text = written(name, seed)
    items = read(text, columns={"fields": "auto"})
    line = capsys.readouterr().out.split("columns: ")[1].splitlines()[0]
    guessed = YAML(typ="safe").load(line)
    assert guessed["label"] == next(column.name for column in columns if column.kind == "label")
    assert guessed["fields"] == {c.name: c.kind for c in columns if c.kind not in ("label", "left out")}
    own = source(columns={"fields": "auto"})
    outcome = Outcome(habits=find_habits(own.field_kinds(Path("raw")), items))
    rows = [row for _, row in prepare_rows(iter(items), (), LIMITS, outcome)]
    assert list(outcome.habits.by_name) == list(guessed["fields"]) and len(rows) == len(cells)
    by_name = {column.name: (place, column) for place, column in enumerate(columns)}
    for number, row in enumerate(rows):
        for field, cell in zip(outcome.habits.by_name, row["fields"], strict=True):
            place, column = by_name[field]
            empty = cells[number][place] == column.nothing
            assert cell == (None if empty else in_form(column, column.values[number])), (field, cells[number][place])
    assert outcome.quarantine == []


def test_what_is_no_field_is_said_with_the_reason(capsys):
    rows = "\n".join(f"{i},x{i},a thing {i},{'ab'[i % 2]},{'12'[i % 2]},,same,{i * 3 % 7}" for i in range(40))
    read(
        f"nr,user id,note,label,code,blank,always,size\n{rows}\n",
        columns={"fields": "auto", "group": "none", "id": "none"},
    )
    told = capsys.readouterr().out
    assert "fields: {size: number}" in told
    assert (
        "left out of the fields: nr (an id), user id (an id), note (text that hardly repeats), code (label again), "
        "blank (empty), always (always same)"
    ) in told


def test_the_printed_line_fixes_what_was_guessed(capsys):
    _, _, text = written("german", 1)
    first = read(text, columns={"fields": "auto"})
    columns = YAML(typ="safe").load(capsys.readouterr().out.split("columns: ")[1].splitlines()[0])
    assert read(text, columns=columns) == first and "are guessed" not in capsys.readouterr().out
    assert source(columns=columns).field_kinds(Path("raw")) == columns["fields"]


def test_named_columns_are_fields_whatever_they_look_like():
    (sample,) = samples(read("label,a,b\nx,1,\n", columns={"fields": ["b", "a"]}))
    assert sample.fields == {"a": "1"}
    assert source(columns={"fields": ["b", "a"]}).field_kinds(Path("raw")) == {"b": "auto", "a": "auto"}
    (sample,) = samples(read("label,a,b\nx,1,\n", columns={"fields": {"a": "category"}}))
    assert sample.fields == {"a": "1"} and source(columns={"fields": "none"}).fields[-1:] != ("fields",)


def test_captions_of_one_image_stay_one_sample(capsys):
    text = "id,text,caption number,size\n" + "".join(
        f"{i},text {i} {n},{n},{i * 3 % 7}\n" for i in range(9) for n in (1, 2)
    )
    found = samples(read(text, columns={"fields": "auto"}))
    assert len(found) == 9 and found[3].fields == {"size": "2"} and len(found[3].texts) == 2
    assert "caption number (differs between rows of the same id)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["price"], r"no column 'price', given in columns.fields; it has label, a"),
        ({"label": "category"}, r"columns.fields has label, which is the label: it would be given and asked"),
    ],
)
def test_fields_that_cannot_be_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        read("label,a\nx,1\ny,2\n", columns={"fields": fields})


@pytest.mark.parametrize("fields", ["some", {"a": "colour"}, [1], {"a": None}])
def test_fields_of_another_form_are_refused(fields):
    with pytest.raises(ValueError, match="auto, none, a list of columns, or columns with their kinds, such as"):
        source(columns={"fields": fields})
