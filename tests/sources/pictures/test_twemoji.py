"""Emoji are read with both their names; what cannot be used is named."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stages.base.errors import InputError
from stages.params import TwemojiParams
from stages.sources.base import Fault
from stages.sources.pictures.twemoji import FILE, Twemoji
from tests.support.small_data import encode, make_image

IMAGE = encode(make_image(), "PNG")
SUN = {"name": "BLACK SUN WITH RAYS", "short_name": "sunny", "category": "Travel & Places", "image": "2600.png"}


def read(folder: Path, listed: Any, files: dict[str, bytes]) -> list:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        if listed is not None:
            archive.writestr("emoji.json", listed if isinstance(listed, str) else json.dumps(listed))
        for name, data in files.items():
            archive.writestr(f"img/{name}", data)
    section = {"folder": "none", "mirror": "", "sha256": "", "val_fraction": 0.2, "test_fraction": 0.2}
    return list(Twemoji(TwemojiParams.model_validate({"source": "twemoji", **section})).read(folder))


def test_an_emoji_has_both_its_names_and_its_category(tmp_path):
    (sun,) = read(tmp_path, [SUN], {"2600.png": IMAGE})
    assert (sun.sample_id, sun.texts, sun.label) == ("2600", ("black sun with rays", "sunny"), "Travel & Places")
    assert sun.image == IMAGE and sun.fault is None


def test_one_name_is_told_once(tmp_path):
    (sun,) = read(tmp_path, [SUN | {"short_name": "black_sun-with_rays"}], {"2600.png": IMAGE})
    assert sun.texts == ("black sun with rays",)


def test_equal_pictures_share_a_split(tmp_path):
    listed = [SUN | {"image": f"{number}.png"} for number in range(20)]
    assert len({sample.split for sample in read(tmp_path, listed, {f"{n}.png": IMAGE for n in range(20)})}) == 1


def test_what_cannot_be_used_is_named(tmp_path):
    nameless, absent = read(tmp_path, [SUN | {"name": ""}, SUN], {})
    assert isinstance(nameless, Fault) and nameless.where == f"{FILE}: emoji.json: entry 1"
    assert absent.fault == "img/2600.png is not in the archive"


@pytest.mark.parametrize(
    ("listed", "words"), [(None, "no emoji.json in it"), ("{", "is not JSON"), ("{}", "holds no list of emoji")]
)
def test_an_archive_of_something_else_is_refused(tmp_path, listed, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, listed, {})
