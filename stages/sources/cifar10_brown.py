"""CIFAR-10 images (Krizhevsky 2009), each with a sentence of the Brown corpus (Francis and Kucera 1964).

Ten image classes stand for the ten Brown categories with most words, so a class can be told from either
modality, and a sentence of the right kind written for an image. Train, val and test sentences come from
different documents. A mirror gives the images as an image folder in a zip; without one they come from
their public home as the binary archive, which is read as a stream of fixed records, nothing unpacked.
"""

import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image

from stages.base.errors import InputError
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.splits import completed_split, digest

IMAGES, BINARY, TEXT = "cifar10-images.zip", "cifar-10-binary.tar.gz", "brown.zip"
BINARY_URL = f"https://www.cs.toronto.edu/~kriz/{BINARY}"
TEXT_URL = f"https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/{TEXT}"
PUBLIC_SHA256 = {
    BINARY: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    TEXT: "9b275f9b3b95d7bd66ccfb7cd259f445a13bbe5d1f4107aba09fd3e8364bafa6",
}
PARTS = ("train", "test")
CATEGORY_OF = {  # in the order of CIFAR-10's labels
    "airplane": "news",
    "automobile": "hobbies",
    "bird": "lore",
    "cat": "romance",
    "deer": "fiction",
    "dog": "adventure",
    "frog": "learned",
    "horse": "belles_lettres",
    "ship": "government",
    "truck": "editorial",
}
SENTENCE_WORDS = range(8, 41)
DOCUMENT_SHARES = {"test": 0.2, "val": 0.1}  # of a category's documents
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the planes red, green, blue
Sentences = dict[tuple[str, str], list[str]]  # words joined by spaces, by split and category


class Cifar10BrownParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def mirror(self) -> str:
        """The folder or address that holds the images as a zip; empty takes the public archive."""

    @property
    def images_sha256(self) -> str:
        """The digest of a mirror's own archive of images."""

    @property
    def text_sha256(self) -> str:
        """The digest of a mirror's own archive of text, if not the public one."""

    @property
    def val_fraction(self) -> float:
        """The part of the training images that is kept for validation, by hash."""


class Cifar10Brown(Source):
    """One sample is an image and a sentence of its class's category."""

    fields = ("image", "texts", "label")
    required = ("image", "texts", "label")

    def __init__(self, params: Cifar10BrownParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the images, in the form that the mirror has, and the text."""
        own_images = tuple(filter(None, (self.params.images_sha256,)))
        if self.params.mirror and not (Path(self.params.mirror).expanduser() / BINARY).exists():
            images = RemoteFile(IMAGES, (), own_images)
        else:
            images = RemoteFile(BINARY, (BINARY_URL,), (PUBLIC_SHA256[BINARY], *own_images))
        own_text = tuple(filter(None, (self.params.text_sha256,)))
        return images, RemoteFile(TEXT, (TEXT_URL,), (PUBLIC_SHA256[TEXT], *own_text))

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the images in the order of their archive, one at a time in memory."""
        from nltk.tokenize.treebank import TreebankWordDetokenizer

        join = TreebankWordDetokenizer().detokenize
        with open_archive(folder / TEXT) as text:
            sentences, faults = read_sentences(text)
        yield from faults
        zipped = folder / IMAGES
        for item in _from_folders(zipped) if zipped.exists() else _from_records(folder / BINARY):
            if isinstance(item, Fault):
                yield item
                continue
            part, label, name, image = item
            sample_id = f"{part}/{label}/{name}"
            split = completed_split(part, sample_id, PARTS, self.params.val_fraction)
            choices = sentences[split, CATEGORY_OF[label]]
            words = choices[digest(f"{sample_id}/sentence") % len(choices)].split(" ")
            yield RawSample(sample_id, split, image=image, texts=(join(words),), label=label)


Item = tuple[str, str, str, bytes] | Fault  # part, class, name, encoded image


def _from_folders(path: Path) -> Iterator[Item]:
    """Read `.../<train or test>/<class>/<name>.jpg` from a zip."""
    with open_archive(path) as archive:
        for member in archive.names():
            *_, part, label, name = ("", "", *PurePosixPath(member).parts)
            if part in PARTS and label in CATEGORY_OF:
                yield part, label, PurePosixPath(name).stem, archive.read(member)
            else:
                yield Fault(f"{IMAGES}: {member}", f"expected <{' or '.join(PARTS)}>/<one of the ten classes>/<image>")


def _from_records(path: Path) -> Iterator[Item]:
    """Read the binary archive: members `data_batch_<n>.bin` and `test_batch.bin` of records one after another."""
    labels = tuple(CATEGORY_OF)
    try:
        with tarfile.open(path, "r|gz") as members:
            for member in members:
                name = PurePosixPath(member.name)
                content = members.extractfile(member) if member.isreg() and name.suffix == ".bin" else None
                number = 0
                while content and (record := content.read(RECORD_BYTES)):
                    part = "test" if name.stem.startswith("test") else "train"
                    where = f"{name.stem}-{number:05d}"
                    if len(record) == RECORD_BYTES and record[0] < len(labels):
                        yield part, labels[record[0]], where, _png(record[1:])
                    else:
                        yield Fault(f"{BINARY}: {where}", f"a record of {len(record)} bytes, label {record[0]}")
                    number += 1
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}: damaged or no tar.gz archive ({error}): delete it and run the stage again"
        ) from error


def _png(planes: bytes) -> bytes:
    pixels_HWC = np.frombuffer(planes, dtype=np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels_HWC)).save(out, "PNG")
    return out.getvalue()


def read_sentences(archive: Archive) -> tuple[Sentences, list[Fault]]:
    """Read the sentences of 8 to 40 words, joined by spaces, from NLTK's layout of the corpus.

    Raises:
        InputError: the archive is not the Brown corpus, or a category has too little text.
    """
    documents, faults = _documents(archive)
    members = {PurePosixPath(name).name: name for name in archive.names()}
    sentences: Sentences = {}
    for category in CATEGORY_OF.values():
        for document, split in document_splits(documents.get(category, [])).items():
            content = archive.read(members[document]).decode("utf8", errors="replace")
            lines = [[token.rpartition("/")[0] for token in line.split()] for line in content.splitlines()]
            kept = sentences.setdefault((split, category), [])
            kept += [" ".join(words) for words in lines if len(words) in SENTENCE_WORDS]
        for split in ("train", "val", "test"):
            if not sentences.get((split, category)):
                raise InputError(f"{archive.path}: no {split} sentence of {category}; is it the archive of {TEXT_URL}?")
    return sentences, faults


def _documents(archive: Archive) -> tuple[dict[str, list[str]], list[Fault]]:
    """Return the documents of each category by `cats.txt`, and what it names and the archive lacks."""
    members = {PurePosixPath(name).name: name for name in archive.names()}
    if "cats.txt" not in members:
        raise InputError(f"{archive.path}: no member cats.txt; is it the archive of {TEXT_URL}?")
    documents: dict[str, list[str]] = {}
    faults = []
    for row, line in enumerate(archive.read(members["cats.txt"]).decode("utf8", errors="replace").splitlines(), 1):
        document, _, category = line.strip().partition(" ")
        if document in members:
            documents.setdefault(category, []).append(document)
        elif document:
            faults.append(Fault(f"{TEXT}: cats.txt: row {row}", f"no document {document}"))
    return documents, faults


def document_splits(documents: list[str]) -> dict[str, str]:
    """Put a category's documents, in the order of their hashes, on test, val and train; none stays empty."""
    ranked = sorted(documents, key=lambda name: (digest(name), name))
    num_test, num_val = (max(1, round(share * len(ranked))) for share in DOCUMENT_SHARES.values())
    splits = ["test"] * num_test + ["val"] * num_val + ["train"] * len(ranked)
    return dict(zip(ranked, splits, strict=False))
