"""A sample's cells become numbers by what the training split has, and JSON values the same cells."""

import json

import numpy as np
import pytest

from stages.base.errors import MediaError
from stages.media.columns import DATE_VALUES, Columns, learnt
from stages.media.fields.kinds import Habit

PRICE = learnt("Price", Habit("number", ",", "€"), [str(i) for i in range(101)], 2)
BRAND = learnt("Brand", Habit("category"), ["Acme", "Acme", "Bolt", "Bolt", "Bolt", "Rare"], 2)
SOLD = learnt("Sold", Habit("boolean"), ["true", "false"], 2)
DAY = learnt("Day", Habit("date", day_first=False), ["2024-01-01", "2024-12-31"], 2)
COLUMNS = Columns([PRICE, BRAND, SOLD, DAY])


def test_numbers_are_normal_scores_of_their_quantiles_and_outliers_are_the_largest():
    scores = [COLUMNS.numbers([cell, None, None, None])[0, 2] for cell in ("0", "25", "50", "75", "100", "1e9", "-1e9")]
    assert scores[2] == 0 and scores[3] == pytest.approx(0.6745, abs=1e-3) == pytest.approx(-scores[1], abs=1e-3)
    assert scores[4] == scores[5] == -scores[0] == -scores[6] and 2.5 < scores[4] < 2.7


def test_a_value_that_many_have_is_in_the_middle_of_theirs():
    column = learnt("n", Habit("number"), ["0"] * 50 + ["1"] * 50, 2)
    low, high = (Columns([column]).numbers([cell])[0, 2] for cell in "01")
    assert low == pytest.approx(-high) and -1.5 < low < -0.5


def test_a_constant_column_is_finite():
    assert Columns([learnt("n", Habit("number"), ["5"], 2)]).numbers(["5"])[0, 2] == 0
    assert Columns([learnt("n", Habit("number"), [], 2)]).numbers(["5"])[0, 2] == 0


def test_categories_are_numbered_by_frequency_and_rare_and_new_ones_are_unknown():
    assert BRAND.categories == ("Bolt", "Acme")
    rows = [COLUMNS.numbers([None, cell, None, None])[1] for cell in ("Bolt", "Acme", "Rare", "New", None)]
    assert [row[1] for row in rows] == [1, 2, 0, 0, 0] and [row[0] for row in rows] == [0, 0, 0, 0, 1]
    assert COLUMNS.cardinalities == (0, 3, 3, 0)


def test_a_date_tells_when_and_where_in_year_month_week_and_day():
    june = COLUMNS.numbers([None, None, None, "2024-07-01T18:00"])[3, 2:]
    assert len(june) == DATE_VALUES and abs(june[0]) < 0.05
    np.testing.assert_allclose(june[1:], [0, -1, 0, 1, 0, 1, -1, 0], atol=1e-6)  # July, the 1st, a Monday, six o'clock


def test_values_of_json_and_cells_as_written_are_the_same():
    typed = COLUMNS.given({"Price": 3.5, "Brand": "Acme", "Sold": True, "Day": "2024-02-01"})
    assert typed == COLUMNS.given({"Price": "3,50 €", "Brand": " Acme", "Sold": "ja", "Day": "2/1/2024"})
    assert COLUMNS.given(COLUMNS.as_json(typed)) == typed == ["3.5", "Acme", "true", "2024-02-01"]
    assert COLUMNS.given({"Price": 1, "Sold": None, "Brand": ""}) == ["1", None, None, None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Preis": 3}, "unknown field 'Preis'; expected some of Price, Brand, Sold, Day"),
        ({"Price": "cheap"}, "Price: a number (of €) is wanted, not 'cheap'"),
        ({"Price": True}, "Price: a number (of €) is wanted, not True"),
        ({"Price": float("nan")}, "Price: a number (of €) is wanted, not nan"),
        ({"Brand": ["Acme"]}, "Brand: a text is wanted, not ['Acme']"),
        ({"Sold": "perhaps"}, "Sold: true or false is wanted, not 'perhaps'"),
        ({"Day": 20240201}, "Day: a date such as 2024-03-01 is wanted, not 20240201"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(values, message):
    with pytest.raises(MediaError) as caught:
        COLUMNS.given(values)
    assert str(caught.value) == message


def test_columns_come_back_from_json():
    again = Columns.load(json.loads(json.dumps(COLUMNS.dump())))
    assert again.columns == COLUMNS.columns and again.described()[0]["range"] == [0.0, 100.0]
    assert again.described()[3]["range"] == ["2024-01-01", "2024-12-31"]
