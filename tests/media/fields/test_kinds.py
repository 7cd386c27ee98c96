"""A column's kind and habits are decided by all of its cells, as people of several countries write them."""

import pytest

from stages.media.fields.dates import date_of
from stages.media.fields.kinds import Habit, habit_of, is_missing, normalised


@pytest.mark.parametrize(
    ("cells", "kind", "unit", "read"),
    [
        (["3,5", "1.234,50 €"], "number", "€", ["3.5", "1234.5"]),
        (["€ 3,50", "€ -2,00", "-€ 7"], "number", "€", ["3.5", "-2", "-7"]),
        (["$1,234.50", "-$3", "+4"], "number", "$", ["1234.5", "-3", "4"]),
        (["1'234 CHF", "12 000 CHF", "7 chf"], "number", "chf", ["1234", "12000", "7"]),
        (["12 kg", "0.5kg", ".25 Kg"], "number", "kg", ["12", "0.5", "0.25"]),
        (["90 %", "12,5 %", "0 %"], "number", "%", ["90", "12.5", "0"]),
        (["50 m²", "１２ m2", "8"], "number", "m2", ["50", "12", "8"]),
        (["1.234.567", "2.000"], "number", "", ["1234567", "2000"]),
        (["0,125", "1,250"], "number", "", ["0.125", "1.25"]),
        (["1e-3", "5.0", "−2"], "number", "", ["0.001", "5", "-2"]),
        (["0", "1"], "number", "", ["0", "1"]),
        (["01234", "02345", "98765"], "category", "", ["01234", "02345", "98765"]),
        (["12 kg", "500 g", "3 kg"], "category", "", ["12 kg", "500 g", "3 kg"]),
        (["3-5", "12:30", "12 34"], "category", "", ["3-5", "12:30", "12 34"]),
        (["A-10000", "A-10007"], "category", "", ["A-10000", "A-10007"]),
        (["EUR 3,5", "US$ 4"], "category", "", ["EUR 3,5", "US$ 4"]),
        (["EUR 3,5", "EUR 4"], "number", "eur", ["3.5", "4"]),
        (["12a", "7b", "9c"], "category", "", ["12a", "7b", "9c"]),
        (["red", " light  red"], "category", "", ["red", "light red"]),
        (["yes", "No", "yes"], "boolean", "", ["true", "false", "true"]),
        (["ja", "nein"], "boolean", "", ["true", "false"]),
        (["oui", "Non"], "boolean", "", ["true", "false"]),
        (["是", "否"], "boolean", "", ["true", "false"]),
        (["true", "FALSE"], "boolean", "", ["true", "false"]),
        (["2024-03-01", "2024/12/31"], "date", "", ["2024-03-01", "2024-12-31"]),
        (["1.3.2024", "31.12.24"], "date", "", ["2024-03-01", "2024-12-31"]),
        (["3. März 2024", "14 juin 2023", "Mar 5, 2024"], "date", "", ["2024-03-03", "2023-06-14", "2024-03-05"]),
        (["2024年3月1日", "2023年12月31日"], "date", "", ["2024-03-01", "2023-12-31"]),
        (["2024-03-01 14:05", "2024-03-01T09:30:15Z"], "date", "", ["2024-03-01T14:05", "2024-03-01T09:30"]),
        (["3/1/2024 2:05 PM", "12/25/2024 12:00 am"], "date", "", ["2024-03-01T14:05", "2024-12-25T00:00"]),
    ],
)
def test_cells_are_read_as_they_are_written(cells, kind, unit, read):
    habit, _ = habit_of(cells)
    assert (habit.kind, habit.unit) == (kind, unit)
    assert [normalised(cell, habit) for cell in cells] == read


@pytest.mark.parametrize(
    ("cells", "day_first", "told"),
    [
        (["1/2/2024", "13/2/2024"], True, "the day comes first, as 1 cells tell: 1/2/2024 is 2024-02-01"),
        (["1/2/2024", "2/13/2024"], False, "the month comes first, as 1 cells tell: 1/2/2024 is 2024-01-02"),
        (["1/2/2024"], True, "the day comes first, as no cell tells; else date_month_first: 1/2/2024 is 2024-02-01"),
    ],
)
def test_an_order_that_one_cell_leaves_open_is_that_of_the_column_and_said(cells, day_first, told):
    assert habit_of(cells) == (Habit("date", day_first=day_first), [told])


def test_a_mark_that_no_cell_makes_clear_is_said():
    habit, told = habit_of(["1,234", "12,500"])
    assert habit.decimal == "." and "1,234 is 1234; else number_comma" in told[0]
    assert habit_of(["1,234", "12,500"], "number_comma") == (Habit("number", ","), [])
    assert normalised("1,234", Habit("number", ",")) == "1.234"


def test_fixed_kinds_are_taken_as_they_are():
    assert habit_of(["1/2/2024"], "date_month_first") == (Habit("date", day_first=False), [])
    assert habit_of(["1", "2"], "category")[0].kind == "category"
    assert normalised("2.0", Habit("category")) == "2"


def test_a_few_words_make_no_column_of_numbers_one_of_categories():
    habit, _ = habit_of([*map(str, range(1, 20)), "many"])
    assert habit.kind == "number" and normalised("many", habit) is None
    assert habit_of([*map(str, range(1, 9)), "many", "few", "some"])[0].kind == "category"


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "-", "–", "?", None, "NaN"])
def test_what_says_nothing_is_missing(cell):
    assert is_missing(cell)


@pytest.mark.parametrize("cell", ["2024-02-30", "31/13/2024", "2024", "3 juilletto 2024", "12:30", "1-2-3-4"])
def test_what_is_no_date_is_none(cell):
    assert date_of(cell, True) is None
