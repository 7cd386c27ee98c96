"""VQA-RAD is read as its authors' lists have it: a picture once, on one split, with all its questions."""

import json
import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import VqaRadParams
from stages.sources.base import Fault, Question, RawSample
from stages.sources.vqa_rad import FILE, VqaRad
from tests.support.small_data import encode, make_image

IMAGES = {f"syn{number}.jpg": encode(make_image(number), "JPEG") for number in range(12)}


def entry(image: str, question: str = "Is it normal?", answer: object = "Yes", kind: str = "CLOSED ") -> dict:
    return {"image_name": image, "question": question, "answer": answer, "answer_type": kind, "qid": 1}


def read(folder: Path, train: object, test: object = None, val: float = 0.0, held: float = 0.0) -> list:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for name, entries in (("trainset.json", train), ("testset.json", test)):
            if entries is not None:
                archive.writestr(name, entries if isinstance(entries, str) else json.dumps(entries))
        for name, data in IMAGES.items():
            archive.writestr(f"images/{name}", data)
    section = {"folder": "none", "mirror": "", "sha256": "", "val_fraction": val, "test_fraction": held}
    return list(VqaRad(VqaRadParams.model_validate({"source": "vqa_rad", **section})).read(folder))


def test_a_picture_comes_once_with_its_questions_of_both_lists(tmp_path):
    train = [entry("syn1.jpg"), entry("syn0.jpg", "How many?", 2, "OPEN")]
    found = read(tmp_path, train, [entry("syn1.jpg", "Where is it?", "left", "OPEN")])
    assert found == [
        RawSample("syn0.jpg", "train", image=IMAGES["syn0.jpg"], questions=(Question("How many?", "2", "open"),)),
        RawSample(
            "syn1.jpg",
            "train",
            image=IMAGES["syn1.jpg"],
            questions=(Question("Is it normal?", "Yes", "closed"), Question("Where is it?", "left", "open")),
        ),
    ]


def test_splits_are_by_picture_whatever_the_list(tmp_path):
    names = list(IMAGES)
    one, other = (
        read(tmp_path, [entry(n) for n in names], None, 0.3, 0.3),
        read(tmp_path, [], [entry(n) for n in names], 0.3, 0.3),
    )
    assert [s.split for s in one] == [s.split for s in other]
    assert {s.split for s in one} == {"train", "val", "test"}


def test_what_cannot_be_used_is_named(tmp_path):
    found = read(tmp_path, [entry("syn0.jpg", answer=" "), "words", entry("gone.jpg")])
    assert [f for f in found if isinstance(f, Fault)][0].where == f"{FILE}: trainset.json: entry 1"
    assert "expected image_name, question, answer, answer_type, found 'words'" in found[1].reason
    assert found[2].fault == "images/gone.jpg is not in the archive"


@pytest.mark.parametrize(
    "train, words",
    [
        ("not json", "trainset.json is not JSON"),
        ({"a": 1}, "trainset.json holds no list of questions"),
        (None, "neither trainset.json nor testset.json in it"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, train, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, train)
