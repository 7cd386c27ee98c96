"""VQA-RAD (Lau et al. 2018): questions of clinicians about radiology pictures, closed (yes or no, a choice) and open.

The public test asks about pictures that are in the training set too; here a picture is on one split with all its
questions, by hash of its bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from stages.base.errors import InputError
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, Question, RawSample
from stages.sources.by_picture import ByPicture

FILE = "vqa-rad.zip"
LISTS = ("trainset.json", "testset.json")
FIELDS = ("image_name", "question", "answer", "answer_type")


class VqaRad(ByPicture):
    """One sample is one picture with all its questions; their kind is closed or open."""

    file = FILE
    fields = ("image", "questions")
    required = ("image", "questions")

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the pictures in order of their names, after the entries that are faulty."""
        with open_archive(folder / FILE) as archive:
            questions: dict[str, list[Question]] = {}
            names = [name for name in LISTS if name in archive.names()]
            if not names:
                raise InputError(f"{archive.path}: neither {' nor '.join(LISTS)} in it")
            for name in names:
                yield from _parse(archive, name, questions)
            for image_name, asked in sorted(questions.items()):
                yield self._sample(archive, image_name, asked)

    def _sample(self, archive: Archive, image_name: str, asked: list[Question]) -> RawSample:
        member = f"images/{image_name}"
        if member not in archive:
            return RawSample(image_name, "train", questions=tuple(asked), fault=f"{member} is not in the archive")
        image = archive.read(member)
        return RawSample(image_name, self.split_of(image), image=image, questions=tuple(asked))


def _parse(archive: Archive, name: str, questions: dict[str, list[Question]]) -> Iterator[Fault]:
    """Add the questions of a list by their picture; yield the entries that cannot be used, counted from 1."""
    try:
        entries = json.loads(archive.read(name))
    except ValueError as error:
        raise InputError(f"{FILE}: {name} is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise InputError(f"{FILE}: {name} holds no list of questions")
    for row, entry in enumerate(entries, start=1):
        values = [str(entry.get(field, "")).strip() for field in FIELDS] if isinstance(entry, dict) else []
        if not values or not all(values):
            yield Fault(f"{FILE}: {name}: entry {row}", f"expected {', '.join(FIELDS)}, found {entry!r:.80}")
            continue
        image_name, question, answer, kind = values
        questions.setdefault(Path(image_name).name, []).append(Question(question, answer, kind.lower()))
