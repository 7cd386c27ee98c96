"""What folders say of the images in them: class, split, and what is left out."""

import os
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.sources.folders import find_places, left_out, split_named
from stages.sources.image_folder import own_images
from tests.support.small_data import encode, make_image

IMAGE = encode(make_image(1))


def found(names: list[str]) -> set[tuple[str, str]]:
    """Return the (split, class) pairs that are read from paths."""
    return {(place.split, place.label) for place in find_places(names)[0]}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["cat/2020/1.jpg", "cat/2021/2.jpg", "dog/3.jpg"], {("train", "cat"), ("train", "dog")}),
        (["top/cat/a/b/1.jpg", "top/dog/2.jpg"], {("train", "cat"), ("train", "dog")}),
        (["train/cat/2020/1.jpg", "test/dog/2021/2.jpg"], {("train", "cat"), ("test", "dog")}),
        (["x/y/Train/cat/1.jpg", "x/y/valid_images/cat/2.jpg"], {("train", "cat"), ("val", "cat")}),
        (["training_set/training_set/cat/1.jpg", "test_set/test_set/cat/2.jpg"], {("train", "cat"), ("test", "cat")}),
        (["trainset/cat/1.jpg", "testset/cat/2.jpg"], {("train", "cat"), ("test", "cat")}),
        (["train2017/images/cat/1.jpg", "val2017/images/cat/2.jpg"], {("train", "cat"), ("val", "cat")}),
        (["seg_train/seg_train/sea/1.jpg", "seg_test/seg_test/ice/2.jpg"], {("train", "sea"), ("test", "ice")}),
        (
            ["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg"],
            {("train", "cat"), ("test", "cat"), ("train", "dog")},
        ),
        (["test/1.jpg", "control/2.jpg"], {("train", "test"), ("train", "control")}),
        (["test/2020/1.jpg", "control/2020/2.jpg"], {("train", "test"), ("train", "control")}),
        (["train/a/1.jpg", "plane/a/2.jpg", "car/a/3.jpg"], {("train", "train"), ("train", "plane"), ("train", "car")}),
        (["tests/1.jpg", "latest/2.jpg"], {("train", "tests"), ("train", "latest")}),
        (["val/cat/1.jpg", "test/cat/1.jpg"], {("val", "cat"), ("test", "cat")}),
    ],
)
def test_the_class_is_the_top_folder_below_the_root_or_the_split(names, wanted):
    assert found(names) == wanted


def test_folders_called_like_splits_that_are_classes_are_told():
    assert find_places(["test/1.jpg", "control/2.jpg"])[2] == [
        "test: taken as classes, like the folders beside them, not as splits"
    ]
    assert find_places(["cat/train/1.jpg", "cat/test/2.jpg"])[2] == ["all lie in cat, which is no class"]
    assert find_places(["top/cat/1.jpg", "top/dog/1.jpg"])[2] == ["all lie in top, which is no class"]


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ("Train", ("train", ())),
        ("test-images", ("test", ())),
        ("VALIDATION DATA", ("val", ())),
        ("dev", ("val", ())),
        ("seg_train", ("train", ("seg",))),
        ("train_test", None),
        ("contest", None),
        ("sunset", None),
    ],
)
def test_a_folder_names_a_split_by_a_whole_word(folder, named):
    assert split_named(folder) == named


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cat/1.JPG", b"", None),
        ("cat/1.jfif", b"", None),
        ("cat/1.ppm", b"", None),
        ("cat/1", IMAGE, None),
        ("cat/1", IMAGE[:50], None),
        ("cat/README", b"# Cats", "no image by its suffix"),
        ("cat/1.txt", IMAGE, "no image by its suffix"),
        ("cat/.1.jpg", IMAGE, "hidden"),
        (".ipynb_checkpoints/1.jpg", IMAGE, "hidden"),
        ("cat/Thumbs.db", b"", "in a folder of thumbnails"),
        ("cat/@eaDir/1.jpg", IMAGE, "in a folder of thumbnails"),
        ("__MACOSX/cat/1.jpg", IMAGE, "in a folder of thumbnails"),
        ("cat/thumbnails/1.jpg", IMAGE, "in a folder of thumbnails"),
    ],
)
def test_a_file_is_taken_or_left_out_with_the_reason(name, data, reason):
    assert left_out(name, lambda: data) == reason


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of one class, which is linked to from elsewhere in four ways."""
    for place in ("photos/cat/1.jpg", "elsewhere/2.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(IMAGE)
    return tmp_path / "photos"


def test_linked_folders_and_files_are_followed_and_loops_and_broken_links_are_told(root, capsys):
    (root / "dog").symlink_to("../elsewhere")
    (root / "cat/3.jpg").symlink_to("../../elsewhere/2.jpg")
    (root / "cat/back").symlink_to("..")
    (root / "cat/4.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(root / "cat/5.jpg")
    assert [name for name, _ in own_images(root)] == ["cat/1.jpg", "cat/3.jpg", "dog/2.jpg"]
    told = capsys.readouterr().out
    assert "1 links back to a folder above them, such as cat/back" in told
    assert "1 links to nothing, such as cat/4.jpg" in told
    assert "1 no plain files, such as cat/5.jpg" in told


def test_one_folder_without_classes_says_what_is_expected(root):
    with pytest.raises(
        InputError, match="none of 1 images is in a class's folder, 1.jpg: .*put them as <class>/<image>"
    ):
        own_images(root / "cat")
