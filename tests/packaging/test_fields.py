"""Fields that a user gives are answered as those of the test split, and refused by name where they are wrong."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest

from stages.base.errors import InputError
from stages.base.store import FIELDS_FILE, write_json
from stages.extractors.fields import Fields
from stages.media.columns import Columns, learnt
from stages.media.fields.kinds import Habit
from stages.packaging.gallery import fields_text
from stages.packaging.predictor import Predictor, PredictSettings
from stages.packaging.served_model import read_input
from tests.support.small_splits import CPU, SPECS, make_task, project_params

COLUMNS = Columns(
    [
        learnt("Price", Habit("number", ",", "€"), [str(i) for i in range(50)], 1),
        learnt("Brand", Habit("category"), ["Acme", "Bolt", "Corp"], 1),
        learnt("Sold", Habit("boolean"), [], 1),
    ]
)
CELLS = [["3.5", "Acme", "true"], ["12", None, "false"], [None, "New", None], ["-1000", "Corp", None]]


@pytest.fixture
def predictor() -> Predictor:
    assert (COLUMNS.shape, COLUMNS.cardinalities) == (SPECS["fields"].shape, SPECS["fields"].cardinalities)
    settings = PredictSettings(project_params().evaluate, 1.0, 1.0)
    return Predictor(make_task("classify", ("fields",)), {"fields": Fields(COLUMNS)}, settings, CPU)


def test_what_is_given_is_read_as_the_prepared_cells_are(predictor, tmp_path):
    write_json(tmp_path / FIELDS_FILE, COLUMNS.dump())
    for cells in CELLS:
        given = read_input("fields", fields_text(tmp_path, cells))
        np.testing.assert_array_equal(predictor.read({"fields": given})["fields"], COLUMNS.numbers(cells))
    found = predictor.predict([{"fields": json.dumps(COLUMNS.as_json(cells)).encode()} for cells in CELLS])
    assert len({tuple(answer["probabilities"]) for answer in found}) == len(CELLS)


def test_a_mapping_of_a_data_frame_is_read_as_its_json(predictor):
    row = {"Price": np.float64(3.5), "Brand": np.str_("Acme"), "Sold": np.bool_(True)}
    data = read_input("fields", pd.DataFrame([{"fields": row}]).to_dict("records")[0]["fields"])
    np.testing.assert_array_equal(predictor.read({"fields": data})["fields"], COLUMNS.numbers(CELLS[0]))
    row = {
        "Price": float("nan"),
        "Brand": "Acme",
        "Day": datetime.date(2024, 3, 1),
        "At": pd.Timestamp("2024-03-01 14:05"),
    }
    assert json.loads(read_input("fields", row)) == {
        **{"Price": None, "Brand": "Acme", "Day": "2024-03-01", "At": "2024-03-01T14:05"}
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Colour": "red"}, "fields: unknown field 'Colour'; expected some of Price, Brand, Sold"),
        ({"Price": "cheap"}, "fields: Price: a number (of €) is wanted, not 'cheap'"),
        ({}, "fields is missing, and the task needs it"),
    ],
)
def test_wrong_fields_are_named(predictor, given, message):
    with pytest.raises(InputError) as caught:
        predictor.read({"fields": json.dumps(given).encode()})
    assert str(caught.value) == message


def test_a_person_is_told_what_each_field_is(predictor):
    price, brand, sold = predictor.fields_asked()
    assert price == {"name": "Price", "kind": "number", "unit": "€", "categories": [], "range": [0.0, 49.0]}
    assert brand["categories"] == ["Acme", "Bolt", "Corp"] and sold["kind"] == "boolean"
