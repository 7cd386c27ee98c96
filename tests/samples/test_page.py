"""The page of a data set shows what the Parquet and the feature arrays hold, and nothing of the source."""

import base64
import io
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages import prepare
from stages.base.errors import InputError
from stages.params import load_params
from stages.samples.overview import prepared_rows
from stages.samples.page import NUM_SAMPLES, chosen_samples, shown
from tests.support.small_data import make_params


@pytest.fixture
def page(project, capsys):
    prepare.check(load_params(), "scenes")
    return (project / "artifacts/check/scenes.html").read_text(encoding="utf8")


def pictures(page: str, alt: str) -> list[np.ndarray]:
    found = re.findall(rf'src="data:image/png;base64,([^"]+)" alt="{re.escape(alt)}"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_the_page_shows_the_arrays_of_the_features(page, project):
    folder = project / "artifacts/features"
    for name in chosen_samples(project / "artifacts/prepare/scenes"):
        index = {
            row["sample_id"]: row["rows"] for row in pq.read_table(folder / "scenes-image/index.parquet").to_pylist()
        }
        (picture,) = pictures(page, f"scenes-image of {name}")
        np.testing.assert_array_equal(picture, np.load(folder / "scenes-image/features.npy")[index[name][0]])
        assert len(pictures(page, f"scenes-audio of {name}")) == 1


def test_samples_are_of_every_split_and_class_and_the_same_each_time(project):
    folder = project / "artifacts/prepare/scenes"
    chosen = chosen_samples(folder)
    assert len(chosen) == NUM_SAMPLES and chosen == chosen_samples(folder)
    rows = [(row["sample_id"], split, row["label"]) for row, split in prepared_rows(folder)]
    kinds = Counter((split, label) for name, split, label in rows if name in chosen)
    assert set(kinds) == {(split, label) for _, split, label in rows}


def test_numbers_of_words_are_shown_as_the_words_and_unknown_ones_are_marked():
    words = ["<pad>", "<start>", "<end>", "<unk>", "dog"]
    found = shown(np.array([4, 3, 0, 0], np.int32), SimpleNamespace(extractor="tokens"), words)
    assert found == {"words": [("dog", False), ("<unk>", True)], "says": "2 of at most 4 words"}


def test_other_numbers_are_a_grey_picture_and_their_range():
    found = shown(np.array([-1.0, 0.0, 3.0], np.float16), SimpleNamespace(extractor="torchvision"), [])
    (picture,) = pictures(f'src="{found["picture"]}" alt="x"', "x")
    assert found["says"] == "3 numbers, -1.00 to 3.00"
    assert picture.tolist() == [[0, 63, 255]]


def test_frames_are_shown_side_by_side_without_what_is_behind_the_end():
    frames = np.full((5, 4, 6, 3), 9, np.uint8)
    frames[3:] = 0
    found = shown(frames, SimpleNamespace(extractor="frames"), [])
    (picture,) = pictures(f'src="{found["picture"]}" alt="x"', "x")
    assert picture.shape == (4, 18, 3) and (picture == 9).all()
    assert found["says"] == "3 of at most 5 frames of 6x4 pixels"


def test_numbers_of_cells_of_frames_are_a_row_a_frame():
    found = shown(np.zeros((5, 4, 3), np.float16), SimpleNamespace(extractor="torchvision"), [])
    (picture,) = pictures(f'src="{found["picture"]}" alt="x"', "x")
    assert picture.shape == (5, 12) and found["says"].startswith("5 x 4 x 3 numbers")


def test_without_features_the_page_says_how_they_are_made(project, capsys):
    params = load_params().model_copy(update={"features": {}})
    prepare.check(params, "scenes")
    assert "none are made yet, <code>make repro</code>" in (project / "artifacts/check/scenes.html").read_text()


def test_no_prepared_data_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no data set is prepared; run `make repro`"):
        prepare.check_all(make_params(tmp_path, {}))
