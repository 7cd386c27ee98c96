"""Images in class folders: from a zip of a mirror, the user's own folder, or torchvision's Flowers102."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from stages.base.errors import InputError
from stages.params import ImageFolderParams
from stages.sources.base import Fault, RawSample
from stages.sources.image_folder import PACKED, ImageFolder, download_flowers
from tests.support.small_data import encode, make_image

IMAGE = encode(make_image(1))


def source(**changes) -> ImageFolder:
    section = {"source": "image_folder", "folder": "none", "mirror": "", "archive": "", "sha256": ""}
    section |= {"torchvision": "none", "val_fraction": 0.0, "test_fraction": 0.0}
    return ImageFolder(ImageFolderParams.model_validate(section | changes))


def read_zip(folder: Path, names: list[str], **changes) -> list[RawSample | Fault]:
    with zipfile.ZipFile(folder / "own.zip", "w") as archive:
        for name in names:
            archive.writestr(name, IMAGE + name.encode())
    return list(source(archive="own.zip", **changes).read(folder))


def places(items: list[RawSample | Fault]) -> list[tuple[str, str | None, str | None]]:
    return [(item.sample_id, item.split, item.label) for item in items if isinstance(item, RawSample)]


def put(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder as the current one; returns the raw folder in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def test_folders_for_splits_and_classes_are_read_below_any_top_folder(tmp_path):
    names = ["top/train/cat/1.jpg", "top/Valid/cat/1.PNG", "top/testing/big dog/1.jpeg"]
    assert places(read_zip(tmp_path, names, val_fraction=0.5, test_fraction=0.4)) == [
        ("top/Valid/cat/1.PNG", "val", "cat"),
        ("top/testing/big dog/1.jpeg", "test", "big dog"),
        ("top/train/cat/1.jpg", "train", "cat"),
    ]


def test_the_name_of_a_class_is_a_text_in_words_where_that_is_asked(tmp_path):
    names = ["golden_retriever/1.jpg", "tabby-cat/1.jpg", "_/1.jpg"]
    for asked, texts in ((True, [("_",), ("golden retriever",), ("tabby cat",)]), (False, [(), (), ()])):
        found = read_zip(tmp_path, names, class_names=asked)
        assert sorted(item.texts for item in found if isinstance(item, RawSample)) == sorted(texts)
        assert ("texts" in source(folder="own", class_names=asked).fields) == asked


def test_what_the_folders_lack_of_val_and_test_is_taken_from_train_by_hash(tmp_path):
    train = [f"train/cat/{number}.jpg" for number in range(200)]
    test = [f"test/cat/{number}.jpg" for number in range(20)]
    items = places(read_zip(tmp_path, train + test, val_fraction=0.25, test_fraction=0.25))
    splits = {name: split for name, split, _ in items}
    assert {splits[name] for name in test} == {"test"}
    assert {splits[name] for name in train} == {"train", "val"}
    assert 30 < sum(splits[name] == "val" for name in train) < 70
    few = places(read_zip(tmp_path, train[:50], val_fraction=0.25, test_fraction=0.25))
    assert {split for _, split, _ in few} == {"train", "val", "test"}


def test_class_folders_alone_are_split_by_hash_and_new_images_move_none(tmp_path):
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(100)]
    before = places(read_zip(tmp_path, names[::2], val_fraction=0.2, test_fraction=0.2))
    after = places(read_zip(tmp_path, names, val_fraction=0.2, test_fraction=0.2))
    assert set(before) < set(after)
    for split in ("val", "test"):
        assert 20 < sum(place[1] == split for place in after) < 60


def test_what_is_no_image_of_a_class_is_a_fault(tmp_path):
    names = ["cat/1.jpg", "2.jpg", "cat/readme.txt"]
    items = read_zip(tmp_path, names)
    assert [item for item in items if isinstance(item, Fault)] == [
        Fault("own.zip: cat/readme.txt", "no image by its suffix"),
        Fault("own.zip: 2.jpg", "expected <class>/<image>"),
    ]
    assert places(items) == [("cat/1.jpg", "train", "cat")]


def test_an_image_beside_the_folders_for_splits_is_a_fault(tmp_path):
    items = read_zip(tmp_path, ["train/cat/1.jpg", "train/2.jpg", "cat/3.jpg"])
    assert [item.where for item in items if isinstance(item, Fault)] == ["own.zip: cat/3.jpg", "own.zip: train/2.jpg"]
    assert "expected <split>/<class>/<image>" in str(items)


def test_the_users_own_folder_is_packed_whole_and_the_same_bytes_come_again(raw, capsys):
    names = ["grün/a b.jpg", "花/1.PNG", "red/x.webp"]
    put(Path("data/mine"), [*names, "notes.txt", ".thumbs/red/x.jpg", "red/.DS_Store"])
    own = source(folder="mine", val_fraction=0.1)
    own.generate(raw, seed=1)
    packed = (raw / PACKED).read_bytes()
    os.utime(Path("data/mine") / names[0], (0, 0))
    own.generate(raw, seed=1)
    assert (raw / PACKED).read_bytes() == packed
    found = [item for item in own.read(raw) if isinstance(item, RawSample)]
    assert [(sample.sample_id, sample.label, sample.image) for sample in found] == [
        (name, name.split("/")[0], name.encode()) for name in sorted(names)
    ]
    assert "left out 1 files that are no images by their suffix, such as notes.txt" in capsys.readouterr().out


def test_a_packed_folder_is_stored_not_compressed(raw):
    put(Path("data/mine"), ["red/1.jpg"])
    source(folder="mine").generate(raw, seed=1)
    with zipfile.ZipFile(raw / PACKED) as archive:
        (info,) = archive.infolist()
    assert (info.compress_type, info.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))


def test_a_folder_that_is_not_there_or_has_no_image_says_what_to_put_there(raw):
    with pytest.raises(InputError, match="data/mine: no such folder: put your images there as <class>/<image>"):
        source(folder="mine").generate(raw, seed=1)
    put(Path("data/mine"), ["cat/1.gif.txt"])
    with pytest.raises(InputError, match="data/mine: no image in it; an image is a file that ends in .bmp, .gif"):
        source(folder="mine").generate(raw, seed=1)


@pytest.mark.parametrize("name", ["cat\\1.jpg", b"cat/\xff.jpg"])
def test_a_name_that_cannot_stand_in_an_archive_is_refused(raw, name):
    path = os.path.join(b"data/mine", os.fsencode(name))
    os.makedirs(os.path.dirname(path))
    with open(path, "wb"):
        pass
    with pytest.raises(InputError, match="rename the file"):
        source(folder="mine").generate(raw, seed=1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [({}, "no images"), ({"archive": "a.zip", "folder": "mine"}, "archive: a.zip and folder: mine")],
)
def test_images_come_from_one_place(changes, found):
    with pytest.raises(InputError, match=f"the source image_folder has {found}: give one of archive"):
        source(**changes)


def test_a_mirrors_zip_is_fetched_and_nothing_is_generated(tmp_path):
    (remote,) = source(archive="own.zip", sha256="0" * 64).remote_files()
    assert (remote.name, remote.urls, remote.sha256) == ("own.zip", (), ("0" * 64,))
    assert source(folder="mine").remote_files() == ()
    source(archive="own.zip").generate(tmp_path, seed=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six small flowers in torchvision's layout; the checks of the real files' digests are off."""
    from torchvision.datasets import Flowers102

    base = tmp_path / "flowers-102"
    put(base / "jpg", [f"image_{number:05d}.jpg" for number in range(1, 7)])
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array([[1, 1, 2, 2, 102, 102]])})
    scipy.io.savemat(base / "setid.mat", {"trnid": [[1, 3]], "valid": [[5, 6]], "tstid": [[2, 4]]})
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    return tmp_path


def test_flowers_are_named_by_official_split_and_class(flowers):
    named = download_flowers(flowers)
    assert [name for name, _ in named] == [
        "test/hard-leaved pocket orchid/image_00004.jpg",
        "test/pink primrose/image_00002.jpg",
        "train/hard-leaved pocket orchid/image_00003.jpg",
        "train/pink primrose/image_00001.jpg",
        "val/blackberry lily/image_00005.jpg",
        "val/blackberry lily/image_00006.jpg",
    ]
    assert all(path.read_bytes() == path.name.encode() for _, path in named)


def test_flowers_that_cannot_be_downloaded_say_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import Flowers102

    monkeypatch.setattr(Flowers102, "_download_url_prefix", "http://127.0.0.1:1/")
    with pytest.raises(
        InputError, match="cannot download Flowers102 .* put 102flowers.tgz, imagelabels.mat and setid.mat into"
    ):
        download_flowers(tmp_path)


def test_the_same_picture_under_two_names_is_on_one_split(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for number in range(60):
            for label in ("cat", "dog"):
                archive.writestr(f"{label}/{number}.jpg", IMAGE + bytes([number]))
    items = places(list(source(archive="own.zip", val_fraction=0.3, test_fraction=0.3).read(tmp_path)))
    splits = {name: split for name, split, _ in items}
    assert all(splits[f"cat/{number}.jpg"] == splits[f"dog/{number}.jpg"] for number in range(60))
    assert set(splits.values()) == {"train", "val", "test"}


def test_what_is_taken_and_left_out_of_an_archive_is_told_with_counts(tmp_path, capsys):
    read_zip(tmp_path, ["top/cat/2020/1.jpg", "top/dog/2.jpg", "top/dog/thumbs/2.jpg", "top/cat/note.txt"])
    assert capsys.readouterr().out.splitlines() == [
        "own.zip: all lie in top, which is no class",
        "own.zip: left out 1 in a folder of thumbnails, such as top/dog/thumbs/2.jpg; "
        "1 no image by its suffix, such as top/cat/note.txt",
        "own.zip: 2 images of 2 classes, train/val/test: cat 1/0/0, dog 1/0/0",
    ]


def test_an_archive_without_classes_says_what_is_expected(tmp_path):
    with pytest.raises(InputError, match="own.zip: none of 2 images is in a class's folder, 1.jpg: .*<class>/<image>"):
        read_zip(tmp_path, ["1.jpg", "2.jpg"])
