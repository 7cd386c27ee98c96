"""GRID (Cooke et al. 2006): speakers in front of a camera say commands of six words, such as "bin blue at f two now".

The name of a clip is its sentence, and an align file beside it says when each word is spoken. The sound lies in the
video. Sentences are split by hash of their names, or a speaker is kept for the test.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from string import ascii_lowercase
from typing import Literal, NamedTuple, Protocol

from stages.base.errors import InputError
from stages.raw.archive import Archive, open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.splits import split_by_hash

HOME = "https://zenodo.org/records/3625687/files"
SUFFIXES = (".mp4", ".mpg")
ALIGN = ".align"
TICKS_PER_S = 25_000
SILENCE = ("sil", "sp")
SPEAKER = re.compile(r"s\d+")
DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SLOTS: dict[str, dict[str, str]] = {  # by slot, the word of each letter of a clip's name
    "command": {word[0]: word for word in ("bin", "lay", "place", "set")},
    "colour": {word[0]: word for word in ("blue", "green", "red", "white")},
    "preposition": {word[0]: word for word in ("at", "by", "in", "with")},
    "letter": {letter: letter for letter in ascii_lowercase.replace("w", "")},
    "digit": {"z": "zero"} | {str(number): word for number, word in enumerate(DIGITS, start=1)},
    "adverb": {word[0]: word for word in ("again", "now", "please", "soon")},
}


class GridParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def archives(self) -> list[str]:
        """The zips of videos and align files, by name."""

    @property
    def sha256(self) -> dict[str, str]:
        """The digests of the zips, by name; one that is not there accepts any."""

    @property
    def split(self) -> Literal["sentence", "speaker"]:
        """What is test: a part of the sentences, or all of one speaker."""

    @property
    def test_speaker(self) -> str:
        """The speaker who is test, with `split: speaker`."""

    @property
    def val_fraction(self) -> float:
        """The part that is kept for validation, by hash of the sentence."""

    @property
    def test_fraction(self) -> float:
        """The part that is kept for the test, by hash of the sentence, with `split: sentence`."""


class Member(NamedTuple):
    """A file in one of the archives."""

    archive: Archive
    name: str

    def __str__(self) -> str:
        """Say where it lies."""
        return f"{self.archive.path.name}: {self.name}"


Clip = tuple[str, str]  # speaker, sentence


class Grid(Source):
    """One sample is one sentence of one speaker."""

    fields = ("video", "audio", "transcript", "word_times", "group", "truth")
    required = ("video", "transcript")

    def __init__(self, params: GridParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archives."""
        digests = {name: (digest,) for name, digest in self.params.sha256.items() if digest}
        return tuple(RemoteFile(name, (f"{HOME}/{name}",), digests.get(name, ())) for name in self.params.archives)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the clips in order of their speakers and sentences."""
        with ExitStack() as stack:
            archives = [stack.enter_context(open_archive(folder / name)) for name in self.params.archives]
            clips, aligns, faults = _find(archives)
            self._check_speaker(sorted({speaker for speaker, _ in clips}))
            yield from faults
            for clip in sorted(clips):
                yield self._sample(clip, clips[clip], aligns.get(clip))
            for clip in sorted(aligns.keys() - clips.keys()):
                yield Fault(str(aligns[clip]), "times of a clip that is not there")

    def _check_speaker(self, speakers: list[str]) -> None:
        if not speakers:
            raise InputError(
                f"{', '.join(self.params.archives)}: no s<number>/<sentence>{SUFFIXES[0]} in it; are they of {HOME}?"
            )
        if self.params.split == "speaker" and (self.params.test_speaker not in speakers or len(speakers) < 2):
            raise InputError(
                f"test_speaker of the source grid is {self.params.test_speaker!r}: the archives have "
                f"{', '.join(speakers)}, and another must be left for training (or take split: sentence)"
            )

    def _sample(self, clip: Clip, video: Member, align: Member | None) -> RawSample:
        speaker, sentence = clip
        sample_id, split = f"{speaker}/{sentence}", self._split(speaker, sentence)
        try:
            slots = slots_of(sentence)
            if align is None:
                raise ValueError(f"no {sentence}{ALIGN} with its words and their times")
            words = parse_align(str(align), align.archive.read(align.name).decode("utf8", errors="replace"))
            if [word for word, _ in words] != list(slots.values()):
                raise ValueError(
                    f"{align}: says {' '.join(w for w, _ in words)!r}, its name {' '.join(slots.values())!r}"
                )
        except ValueError as error:
            return RawSample(sample_id, split, group=speaker, fault=str(error))
        return RawSample(
            sample_id,
            split,
            video=video.archive.read(video.name),
            transcript=" ".join(slots.values()),
            word_times=tuple(times for _, times in words),
            group=speaker,
            truth={"slots": slots},
        )

    def _split(self, speaker: str, sentence: str) -> str:
        params = self.params
        if params.split == "sentence":
            return split_by_hash(sentence, params.val_fraction, params.test_fraction)
        return "test" if speaker == params.test_speaker else split_by_hash(sentence, params.val_fraction)


def slots_of(sentence: str) -> dict[str, str]:
    """Return the words that the name of a clip stands for, by slot.

    >>> list(slots_of("bbaf2n").values())
    ['bin', 'blue', 'at', 'f', 'two', 'now']

    Raises:
        ValueError: it is no such name.
    """
    if len(sentence) != len(SLOTS):
        raise ValueError(f"{sentence}: expected a name of six letters and digits, such as bbaf2n")
    slots = {}
    for letter, (slot, words) in zip(sentence, SLOTS.items(), strict=True):
        if letter not in words:
            raise ValueError(f"{sentence}: {letter!r} is no {slot}; expected one of {', '.join(words)}")
        slots[slot] = words[letter]
    return slots


def parse_align(where: str, content: str) -> list[tuple[str, tuple[float, float]]]:
    """Return the words of an align file with seconds from start to end, silence left out.

    Raises:
        ValueError: a row is no `<start> <end> <word>`, or begins before the one above it ends.
    """
    words = []
    behind = 0
    for row, line in enumerate(content.splitlines(), start=1):
        match line.split():
            case []:
                continue
            case [start, end, word] if start.isdecimal() and end.isdecimal() and behind <= int(start) < int(end):
                behind = int(end)
                if word not in SILENCE:
                    words.append((word, (int(start) / TICKS_PER_S, behind / TICKS_PER_S)))
            case _:
                raise ValueError(f"{where}: row {row}: expected <start> <end> <word>, in order, found {line!r:.80}")
    return words


def _find(archives: list[Archive]) -> tuple[dict[Clip, Member], dict[Clip, Member], list[Fault]]:
    """Return the videos and align files by clip, and those that have no place.

    An align file that lies in no speaker's folder belongs to the one speaker whose videos its archive holds.
    """
    found: tuple[dict[Clip, Member], dict[Clip, Member]] = ({}, {})
    faults = []
    for archive in archives:
        paths = [path for path in map(PurePosixPath, archive.names()) if path.suffix.lower() in (*SUFFIXES, ALIGN)]
        filmed = {_speaker(path) for path in paths if path.suffix.lower() != ALIGN}
        for path in paths:
            is_align = path.suffix.lower() == ALIGN
            speaker = _speaker(path) or (min(filmed, default="") if is_align and len(filmed) == 1 else "")
            member = Member(archive, str(path))
            if not speaker:
                faults.append(Fault(str(member), "expected it in the folder of its speaker, s<number>"))
            elif found[is_align].setdefault((speaker, path.stem), member) != member:
                faults.append(Fault(str(member), "a second file of this speaker and name"))
    return *found, faults


def _speaker(path: PurePosixPath) -> str:
    """Return the speaker by the innermost folder that is named for one, or nothing."""
    return next((part for part in reversed(path.parts[:-1]) if SPEAKER.fullmatch(part)), "")
