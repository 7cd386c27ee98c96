"""easy-VQA is read in its public layout, with or without the top folder that GitHub adds."""

import json
import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import EasyVqaParams
from stages.sources.base import Fault, Question, RawSample
from stages.sources.easy_vqa import FILE, EasyVqa, question_kind
from tests.support.small_data import encode, make_image

IMAGES = {number: encode(make_image(number), "PNG") for number in range(12)}
ASKED = [
    ["what shape is in the image?", "circle", 0],
    ["is there a red shape?", "no", 0],
    ["is there a circle?", "yes", 1],
]


def source(sha256: str = "", val_fraction: float = 0.0) -> EasyVqa:
    section = {"source": "easy_vqa", "folder": "none", "mirror": "", "sha256": sha256, "val_fraction": val_fraction}
    return EasyVqa(EasyVqaParams.model_validate(section))


def write(folder: Path, train=ASKED, test=(), images=(0, 1), top: str = "") -> None:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for part, questions in (("train", train), ("test", test)):
            archive.writestr(f"{top}easy_vqa/data/{part}/questions.json", json.dumps(questions))
            for number in images:
                archive.writestr(f"{top}easy_vqa/data/{part}/images/{number}.png", IMAGES[number])
        archive.writestr(f"{top}easy_vqa/data/answers.txt", "circle\nno\nyes\n")


def samples(folder: Path, val_fraction: float = 0.0) -> dict[str, RawSample]:
    items = source(val_fraction=val_fraction).read(folder)
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


@pytest.mark.parametrize("top", ["", "easy-VQA-master/"])
def test_an_image_comes_once_with_all_its_questions(tmp_path, top):
    write(tmp_path, test=[["what color is the shape?", "teal", 1]], top=top)
    found = samples(tmp_path)
    assert list(found) == ["train/0", "train/1", "test/0", "test/1"]
    assert found["train/0"] == RawSample(
        "train/0",
        "train",
        image=IMAGES[0],
        questions=(
            Question("what shape is in the image?", "circle", "shape"),
            Question("is there a red shape?", "no", "exists"),
        ),
    )
    assert found["test/1"].questions == (Question("what color is the shape?", "teal", "color"),)
    assert found["test/0"].questions == ()
    assert found["test/1"].split == "test"


def test_images_come_in_order_of_their_numbers(tmp_path):
    write(tmp_path, train=[], images=(10, 9, 2))
    assert list(samples(tmp_path))[:3] == ["train/2", "train/9", "train/10"]


def test_val_is_taken_from_train_by_hash_and_test_stays(tmp_path):
    write(tmp_path, images=range(12))
    found = samples(tmp_path, val_fraction=0.5)
    splits = [sample.split for name, sample in found.items() if name.startswith("train/")]
    assert {"train", "val"} == set(splits)
    assert all(sample.split == "test" for name, sample in found.items() if name.startswith("test/"))
    write(tmp_path, images=range(6))
    assert [sample.split for name, sample in samples(tmp_path, 0.5).items() if name.startswith("train/")] == splits[:6]


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("what is the blue shape?", "rectangle", "shape"),
        ("what is the color of the shape?", "red", "color"),
        ("is a teal shape present?", "yes", "exists"),
        ("is no circle present?", "yes", "not_exists"),
        ("is there not a gray shape?", "no", "not_exists"),
    ],
)
def test_the_kind_of_a_question_is_what_it_asks_for(question, answer, kind):
    assert question_kind(question, answer) == kind


def test_an_image_that_is_asked_about_and_not_there_is_a_fault_of_its_sample(tmp_path):
    write(tmp_path, train=[["is there a circle?", "yes", 7]], images=())
    found = samples(tmp_path)["train/7"]
    assert found.image is None
    assert found.fault == "easy_vqa/data/train/questions.json: asks about image 7, which is not there"


@pytest.mark.parametrize("entry", [["is there?", "yes"], ["is there?", 5, 0], [" ", "yes", 0], "is there?", None])
def test_a_faulty_entry_is_named_and_the_others_are_kept(tmp_path, entry):
    write(tmp_path, train=[ASKED[0], entry, ASKED[1]])
    items = list(source().read(tmp_path))
    (fault,) = [item for item in items if isinstance(item, Fault)]
    assert fault.where == "easy_vqa/data/train/questions.json: entry 2"
    assert fault.reason.startswith("expected [question, answer, image number], found")
    assert len(samples(tmp_path)["train/0"].questions) == 2


@pytest.mark.parametrize("content", ["{", '{"questions": []}'])
def test_questions_in_another_form_are_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / FILE, "w") as archive:
        archive.writestr("easy_vqa/data/train/questions.json", content)
    with pytest.raises(InputError, match="train/questions.json"):
        list(source().read(tmp_path))


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / FILE, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(InputError, match=r"no member .../easy_vqa/data/train/questions.json; is it the archive of"):
        list(source().read(tmp_path))


def test_the_checksum_of_the_section_is_wanted_and_none_accepts_any():
    assert source().remote_files()[0].sha256 == ()
    assert source(sha256="0" * 64).remote_files()[0].sha256 == ("0" * 64,)
