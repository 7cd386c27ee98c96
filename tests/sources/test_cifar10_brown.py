"""CIFAR-10 with Brown sentences: both forms of the images, and sentences that keep class and split."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.base.errors import InputError
from stages.params import Cifar10BrownParams
from stages.raw.archive import open_archive
from stages.raw.fetch import fetch
from stages.sources.base import Fault, RawSample
from stages.sources.cifar10_brown import (
    BINARY,
    CATEGORY_OF,
    IMAGES,
    PUBLIC_SHA256,
    TEXT,
    Cifar10Brown,
    document_splits,
    read_sentences,
)
from tests.support.small_data import encode, make_image, pixels

JPEG = encode(make_image(1, (32, 32)))
DOCUMENTS = 10  # of each category


def source(**changes) -> Cifar10Brown:
    section = {"source": "cifar10_brown", "folder": "none", "mirror": "", "images_sha256": "", "text_sha256": ""}
    return Cifar10Brown(Cifar10BrownParams.model_validate(section | {"val_fraction": 0.0} | changes))


def tagged(words: list[str]) -> str:
    return " ".join(f"{word}/nn" for word in words)


def write_text(folder: Path) -> None:
    """Write ten documents a category; each sentence names its category and document."""
    listed = []
    with zipfile.ZipFile(folder / TEXT, "w") as archive:
        for number, category in enumerate(CATEGORY_OF.values()):
            for document in range(DOCUMENTS):
                name = f"c{number}{document:02d}"
                listed.append(f"{name} {category}")
                good = [tagged([category, name, f"s{s}", "the", "cat", "is", "on", "a", "mat", "."]) for s in range(3)]
                bad = [tagged(["short", "one"]), tagged(["long"] * 41)]
                archive.writestr(f"brown/{name}", "\n\n\t" + "\n\n\t".join(good + bad) + "\n")
        archive.writestr("brown/cats.txt", "\n".join([*listed, "cz99 news"]) + "\n")


def write_folders(folder: Path, per_class: int = 4, more: tuple[str, ...] = ()) -> None:
    with zipfile.ZipFile(folder / IMAGES, "w") as archive:
        for part in ("train", "test"):
            for label in CATEGORY_OF:
                for number in range(per_class):
                    archive.writestr(f"cifar10/{part}/{label}/{number:04d}.jpg", JPEG)
        for name in more:
            archive.writestr(name, JPEG)


def record(label: int, seed: int) -> bytes:
    return bytes([label]) + np.random.default_rng(seed).integers(0, 256, 3072, dtype=np.uint8).tobytes()


def write_records(folder: Path, batches: dict[str, bytes]) -> Path:
    with tarfile.open(folder / BINARY, "w:gz") as archive:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("cifar-10-batches-bin/link.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return folder / BINARY


def samples(folder: Path, **changes) -> dict[str, RawSample]:
    items = source(**changes).read(folder)
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def faults(folder: Path) -> list[Fault]:
    return [item for item in source().read(folder) if isinstance(item, Fault)]


def document(sample: RawSample) -> str:
    return sample.texts[0].split()[1]


def test_an_image_has_its_class_and_one_sentence_of_its_category(tmp_path):
    write_text(tmp_path)
    write_folders(tmp_path)
    found = samples(tmp_path)
    assert len(found) == 2 * 10 * 4
    sample = found["train/cat/0002"]
    assert (sample.split, sample.label, sample.image) == ("train", "cat", JPEG)
    category, name, sentence, *rest = sample.texts[0].split()
    assert (category, sentence[0]) == ("romance", "s")
    assert " ".join(rest) == "the cat is on a mat."  # words without tags, the point in its place
    assert all(sample.texts[0].startswith(CATEGORY_OF[sample.label]) for sample in found.values())


def test_sentences_of_different_splits_come_from_different_documents(tmp_path):
    write_text(tmp_path)
    write_folders(tmp_path, per_class=30)
    by_split: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for sample in samples(tmp_path, val_fraction=0.3).values():
        by_split[sample.split].add(document(sample))
    assert all(by_split.values())
    assert not by_split["train"] & by_split["val"]
    assert not (by_split["train"] | by_split["val"]) & by_split["test"]


def test_a_second_reading_gives_the_same(tmp_path):
    write_text(tmp_path)
    write_folders(tmp_path)
    assert samples(tmp_path) == samples(tmp_path)


def test_documents_are_dealt_by_hash_and_no_split_stays_empty():
    names = [f"ca{number:02d}" for number in range(40)]
    splits = document_splits(names)
    assert sorted(splits.values()) == ["test"] * 8 + ["train"] * 28 + ["val"] * 4
    assert document_splits(names[::-1]) == splits
    assert sorted(document_splits(names[:3]).values()) == ["test", "train", "val"]


def test_only_sentences_of_8_to_40_words_are_taken(tmp_path):
    write_text(tmp_path)
    with open_archive(tmp_path / TEXT) as archive:
        sentences, _ = read_sentences(archive)
    assert sum(map(len, sentences.values())) == 10 * DOCUMENTS * 3
    assert {len(words.split()) for kept in sentences.values() for words in kept} == {10}


def test_what_is_named_and_not_there_is_a_fault(tmp_path):
    write_text(tmp_path)
    write_folders(tmp_path, more=("cifar10/train/dragon/0.jpg", "0.jpg"))
    where = [(fault.where, fault.reason.split("/")[0]) for fault in faults(tmp_path)]
    assert where == [
        ("brown.zip: cats.txt: row 101", "no document cz99"),
        (f"{IMAGES}: 0.jpg", "expected <train or test>"),
        (f"{IMAGES}: cifar10/train/dragon/0.jpg", "expected <train or test>"),
    ]


def test_the_public_binary_archive_is_read_without_unpacking(tmp_path):
    write_text(tmp_path)
    batches = {"batches.meta.txt": b"airplane\n", "data_batch_1.bin": record(3, 0) + record(9, 1)}
    write_records(tmp_path, batches | {"test_batch.bin": record(0, 2)})
    found = samples(tmp_path)
    assert [(name, sample.split, sample.label) for name, sample in found.items()] == [
        ("train/cat/data_batch_1-00000", "train", "cat"),
        ("train/truck/data_batch_1-00001", "train", "truck"),
        ("test/airplane/test_batch-00000", "test", "airplane"),
    ]
    picture = pixels(found["train/truck/data_batch_1-00001"].image)
    raw = record(9, 1)[1:]
    assert picture.shape == (32, 32, 3)
    assert [picture[0, 1, channel] for channel in range(3)] == [raw[1], raw[1024 + 1], raw[2048 + 1]]
    assert picture[2, 5, 0] == raw[2 * 32 + 5]
    assert not (tmp_path / "cifar-10-batches-bin").exists()


def test_a_record_that_is_cut_or_of_no_class_is_a_fault(tmp_path):
    write_text(tmp_path)
    write_records(tmp_path, {"data_batch_1.bin": record(10, 0) + record(1, 1) + record(2, 2)[:100]})
    assert [fault.where for fault in faults(tmp_path)][1:] == [
        f"{BINARY}: data_batch_1-00000",
        f"{BINARY}: data_batch_1-00002",
    ]


def test_a_truncated_binary_archive_is_refused(tmp_path):
    write_text(tmp_path)
    path = write_records(tmp_path, {"data_batch_1.bin": b"".join(record(1, seed) for seed in range(20))})
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match="damaged or no tar.gz archive"):
        list(source().read(tmp_path))


@pytest.mark.parametrize("missing", ["cats.txt", "documents"])
def test_an_archive_that_is_not_the_corpus_is_refused(tmp_path, missing):
    write_folders(tmp_path)
    with zipfile.ZipFile(tmp_path / TEXT, "w") as archive:
        archive.writestr("readme.txt" if missing == "cats.txt" else "brown/cats.txt", "ca01 news\n")
    with pytest.raises(InputError, match="is it the archive of https://raw.githubusercontent.com"):
        list(source().read(tmp_path))


def test_the_images_come_in_the_form_that_the_mirror_has(tmp_path):
    images, text = source().remote_files()
    assert (images.name, images.sha256) == (BINARY, (PUBLIC_SHA256[BINARY],))
    assert (text.name, text.sha256) == (TEXT, (PUBLIC_SHA256[TEXT],))
    images, _ = source(mirror=str(tmp_path), images_sha256="0" * 64).remote_files()
    assert (images.name, images.urls, images.sha256) == (IMAGES, (), ("0" * 64,))
    (tmp_path / BINARY).write_bytes(b"")
    assert source(mirror=str(tmp_path)).remote_files()[0].name == BINARY


def test_the_corpus_is_found_where_nltk_keeps_it(tmp_path):
    corpora = tmp_path / "mirror/nltk_data/corpora"
    corpora.mkdir(parents=True)
    (corpora / TEXT).write_bytes(b"corpus")
    _, text = source().remote_files()
    remote = type(text)(text.name, ())
    fetch(remote, tmp_path / "got", tmp_path / "partial", (str(tmp_path / "mirror"),))
    assert (tmp_path / "got").read_bytes() == b"corpus"


def test_images_are_png_that_lose_nothing(tmp_path):
    write_text(tmp_path)
    write_records(tmp_path, {"test_batch.bin": record(5, 9)})
    (sample,) = samples(tmp_path).values()
    planes = np.frombuffer(record(5, 9)[1:], dtype=np.uint8).reshape(3, 32, 32)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.image))).transpose(2, 0, 1), planes)
