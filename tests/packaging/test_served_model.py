"""What the packaged model takes as one input: bytes, a path, base64 in every form, or nothing."""

import base64
from pathlib import Path

import pandas as pd
import pytest

from stages.packaging.served_model import MLFLOW_SERVER, read_input, read_media

DATA = bytes(range(256)) * 5
TEXTS = {
    "plain": base64.b64encode(DATA).decode(),
    "wrapped": base64.encodebytes(DATA).decode(),
    "URL-safe, not padded": base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "data URL": "data:image/png;base64," + base64.b64encode(DATA).decode(),
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSELINE_ALLOW_PATHS", raising=False)
    monkeypatch.delenv(MLFLOW_SERVER, raising=False)


@pytest.mark.parametrize("form", TEXTS)
def test_every_form_of_base64_gives_the_bytes(form):
    assert read_media("image", TEXTS[form]) == DATA


@pytest.mark.parametrize("name", ["photo", "photos12", "照片.png", "a/b", "QUJD", "=", "a b"])
def test_a_file_that_is_there_is_a_file_whatever_its_name(name):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(DATA)
    assert read_media("image", name) == read_media("image", Path(name)) == DATA


@pytest.mark.parametrize("text", ["照片.png", "photo", "photo.png", "a" * 300 + ".png", "a\0b", "\ud800", "."])
def test_a_file_that_is_not_there_is_named(text):
    with pytest.raises(ValueError, match="image: expected encoded bytes, base64 text or the path of a file, got"):
        read_media("image", text)


@pytest.mark.parametrize("variable, value", [("FUSELINE_ALLOW_PATHS", "0"), (MLFLOW_SERVER, "here")])
def test_where_paths_are_refused_a_file_is_not_read(variable, value, monkeypatch):
    Path("QUJD").write_bytes(DATA)
    Path("photo.png").write_bytes(DATA)
    monkeypatch.setenv(variable, value)
    assert read_media("image", "QUJD") == b"ABC"
    with pytest.raises(ValueError, match="image: expected encoded bytes or base64 text, got 'photo.png'"):
        read_media("image", "photo.png")


@pytest.mark.parametrize("nothing", ["", "  ", "\n\u3000", None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("modality", ["image", "audio", "text", "question"])
def test_nothing_is_missing(modality, nothing):
    assert read_input(modality, nothing) is None
