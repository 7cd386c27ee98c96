"""easy-VQA (Zhou 2019): images of one shape each, with some ten questions an image whose answers are one word.

The public archive has no validation part: it is taken from the training images by hash, all questions of an
image together.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from stages.base.errors import InputError
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, Question, RawSample, RemoteFile, Source
from stages.sources.splits import completed_split

FILE = "easy-VQA.zip"
URL = "https://github.com/vzhou842/easy-VQA/archive/refs/heads/master.zip"
QUESTIONS = "easy_vqa/data/{part}/questions.json"
PARTS = ("train", "test")


class EasyVqaParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def sha256(self) -> str:
        """The digest of the archive; empty accepts any, as GitHub's may change."""

    @property
    def val_fraction(self) -> float:
        """The part of the training images that is kept for validation."""


class EasyVqa(Source):
    """One sample is one image with all its questions."""

    fields = ("image", "questions")
    required = ("image", "questions")

    def __init__(self, params: EasyVqaParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive of the repository."""
        return (RemoteFile(FILE, (URL,), tuple(filter(None, (self.params.sha256,)))),)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the training images, then the test images, each in order of their numbers."""
        with open_archive(folder / FILE) as archive:
            for part in PARTS:
                member = _member(archive, QUESTIONS.format(part=part))
                questions, faults = _parse_questions(member, archive.read(member))
                yield from faults
                images = _images(archive, member.removesuffix("questions.json"))
                for number in sorted(questions.keys() | images.keys()):
                    sample_id = f"{part}/{number}"
                    yield RawSample(
                        sample_id=sample_id,
                        split=completed_split(part, sample_id, PARTS, self.params.val_fraction),
                        image=archive.read(images[number]) if number in images else None,
                        questions=tuple(questions.get(number, ())),
                        fault=None if number in images else f"{member}: asks about image {number}, which is not there",
                    )


def question_kind(question: str, answer: str) -> str:
    """Return what is asked for.

    >>> question_kind("is there not a red shape?", "no")
    'not_exists'
    """
    words = question.lower().rstrip("?").split()
    if answer in ("yes", "no"):
        return "not_exists" if {"no", "not"} & set(words) else "exists"
    return "color" if "color" in words else "shape"


def _member(archive: Archive, suffix: str) -> str:
    """Find a member below whatever top folder the archive has."""
    for name in archive.names():
        if name == suffix or name.endswith(f"/{suffix}"):
            return name
    raise InputError(f"{archive.path}: no member .../{suffix}; is it the archive of {URL}?")


def _images(archive: Archive, top: str) -> dict[int, str]:
    """Name the members of one part's images by their number."""
    paths = [Path(name) for name in archive.names() if name.startswith(f"{top}images/")]
    return {int(path.stem): path.as_posix() for path in paths if path.suffix == ".png" and path.stem.isdecimal()}


def _parse_questions(member: str, content: bytes) -> tuple[dict[int, list[Question]], list[Fault]]:
    """Parse the list of [question, answer, image number] into questions by image; entries count from 1."""
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise InputError(f"{FILE}: {member} is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise InputError(f"{FILE}: {member} holds no list of [question, answer, image number]")
    questions: dict[int, list[Question]] = {}
    faults = []
    for row, entry in enumerate(entries, start=1):
        match entry:
            case [str() as text, str() as answer, int() as number] if text.strip() and answer.strip():
                questions.setdefault(number, []).append(Question(text, answer, question_kind(text, answer)))
            case _:
                faults.append(
                    Fault(f"{member}: entry {row}", f"expected [question, answer, image number], found {entry!r:.80}")
                )
    return questions, faults
