"""Fields as numbers: the same from prepared cells, from what a user gives, and after saving."""

import json

import numpy as np
import pytest

from stages.base.errors import InputError, MediaError
from stages.base.store import FIELDS_FILE, write_json
from stages.extractors import load_extractor, make_extractor
from stages.extractors.batches import read_media
from stages.params.features import FieldsParams
from tests.media.test_columns import COLUMNS
from tests.samples.test_fields import ODD, TRAIN, prepared

PARAMS = FieldsParams(dataset="own", modality="fields", extractor="fields", batch_size=8)


def test_prepared_cells_are_one_medium_a_sample_and_become_an_array(tmp_path):
    _, columns = prepared(tmp_path, [*TRAIN, *ODD])
    write_json(tmp_path / FIELDS_FILE, columns.dump())
    extractor = make_extractor(PARAMS, None, "features.own", tmp_path)
    media = {sample_id: found for sample_id, _, found in read_media(tmp_path, "fields")}
    assert media["s24"] == [] and len(media["s3"]) == 1
    rows = extractor.decode(media["s3"][0].data)
    assert rows.shape == extractor.shape == (4, 11) and rows.dtype == np.float32
    assert rows[:, 1].tolist() == [0, 1, 1, 0] and extractor.cardinalities == (0, 3, 2, 0)


def test_what_a_user_gives_becomes_the_same_and_comes_back_from_disk(tmp_path):
    write_json(tmp_path / FIELDS_FILE, COLUMNS.dump())
    extractor = make_extractor(PARAMS, None, "features.own", tmp_path)
    extractor.save(tmp_path)
    again = load_extractor(tmp_path, None)
    given = again.given(json.dumps({"Price": 3.5, "Sold": True}).encode())
    assert json.loads(given) == ["3.5", None, "true", None]
    assert again.given(b'{"Price": null}') is None
    np.testing.assert_array_equal(again.decode(given), COLUMNS.numbers(["3.5", None, "true", None]))
    assert again.identity() == extractor.identity()


@pytest.mark.parametrize("data", [b"{", b"[1]", b'"Price"', b"\xff"])
def test_what_is_no_object_is_refused(tmp_path, data):
    write_json(tmp_path / FIELDS_FILE, COLUMNS.dump())
    with pytest.raises(MediaError, match="a JSON object of values by field is wanted, such as"):
        make_extractor(PARAMS, None, "features.own", tmp_path).given(data)


def test_a_data_set_without_fields_is_named(tmp_path):
    with pytest.raises(InputError, match=r"features.own.modality: data set own has no fields; for a table name"):
        make_extractor(PARAMS, None, "features.own", tmp_path)
