"""What a data source gives: files to fetch, files it makes itself, and raw samples read from both."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.base.addresses import RemoteFile
from stages.base.lexicon import Lexicon


@dataclass(frozen=True)
class Question:
    """A question about a sample, its answer, and its kind (for scores by kind)."""

    text: str
    answer: str
    kind: str = ""


@dataclass(frozen=True)
class Rating:
    """What a user thinks of a sample, since when, and the split on which that is known: not always the sample's own."""

    user: str
    value: float
    time: int  # seconds; only their order counts
    split: str


@dataclass(frozen=True)
class RawSample:
    """One sample as the source has it, before it is checked.

    `split` is None for a sample that the source puts on no split. A modality that the sample lacks is None or
    empty, which is an ordinary case; a file that should be there and is not, or cannot be read, is a `fault`.
    """

    sample_id: str
    split: str | None
    image: bytes | None = None  # encoded
    audio: bytes | None = None  # WAV or FLAC
    video: bytes | None = None  # encoded, with or without sound
    texts: tuple[str, ...] = ()  # captions, sentences: texts that say the same in other words
    message: str | None = None  # a text of its own beside them
    transcript: str | None = None  # the words that are spoken in the sound or the video
    word_times: tuple[tuple[float, float], ...] = ()  # seconds from start to end of each of them, where known
    questions: tuple[Question, ...] = ()
    fields: dict[str, str | None] | None = None  # cells of a table beside it, as written, by column
    ratings: tuple[Rating, ...] = ()  # of the sample, as something that people like or not
    label: str | None = None
    tags: tuple[str, ...] | None = None  # all that apply, none is an answer too; None where nobody knows
    numbers: Mapping[str, float | None] = field(default_factory=dict)  # to be predicted, by name, each in its own unit
    group: str | None = None  # speaker, user: for splits and scores by group
    oracle: str | None = None  # the caption written from the true attributes
    truth: dict[str, Any] | None = None  # the true attributes
    fault: str | None = None  # why it cannot be used, found while reading


@dataclass(frozen=True)
class Users:
    """What is told of those who rate: each column's kind, or `auto`, and by user the cells as written."""

    kinds: Mapping[str, str]
    cells: Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True)
class Fault:
    """Something in the raw data that belongs to no sample: where it stands and what is wrong."""

    where: str
    reason: str


class Source:
    """The protocol of a data source, made from its section of `datasets` in params.yaml.

    `fields` are those fields of `RawSample` that samples of this source can have, beside id and split;
    `required` those without which a sample is bad.
    """

    fields: tuple[str, ...] = ("image", "texts")
    required: tuple[str, ...] = ()

    def __init__(self, params: Any) -> None:
        """Take the section."""

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the files to fetch into the raw folder; empty for a generated source."""
        return ()

    def generate(self, folder: Path, seed: int) -> dict[str, int] | None:
        """Write into the raw folder what needs no download; the same seed gives the same bytes.

        Return counts for the manifests of download and prepare, if there are any.
        """
        return None

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield samples and faults from the raw folder in a fixed order, one at a time in memory."""
        raise NotImplementedError

    def field_kinds(self, folder: Path) -> dict[str, str]:
        """Name the columns of `fields` in order, each with its kind, or `auto` where its cells are to tell."""
        return {}

    def users(self, folder: Path) -> Users | None:
        """Return what the raw folder tells of those who rate its samples; None where it tells nothing."""
        return None

    def lexicon(self) -> Lexicon | None:
        """Return what the phrases of its captions say of the `truth` of its samples; None where it knows none."""
        return None
