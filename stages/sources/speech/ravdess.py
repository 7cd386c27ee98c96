"""RAVDESS (Livingstone and Russo 2018): actors speak two sentences, each with eight emotions.

Every sentence is spoken with every emotion, so its words tell nothing of the label. Parts are made of actors: whoever
is tested was never heard before.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from stages.base.errors import InputError
from stages.raw.archive import open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source

PUBLIC = "Audio_Speech_Actors_01-24.zip"
URL = f"https://zenodo.org/records/1188976/files/{PUBLIC}"
SUFFIXES = (".wav", ".flac")
NAME = re.compile(r"(?P<medium>\d\d)-(?P<voice>\d\d)-(?P<emotion>\d\d)-\d\d-(?P<sentence>\d\d)-\d\d-(?P<actor>\d\d)")
SOUND_OF_SPEECH = ("03", "01")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # from code 01
SENTENCES = ("Kids are talking by the door", "Dogs are sitting by the door")


class RavdessParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def archive(self) -> str:
        """The file name of the zip; only the public one has a home of its own."""

    @property
    def sha256(self) -> str:
        """Its digest; empty accepts any."""

    @property
    def test_actors(self) -> int | list[int]:
        """Who is the test: so many of the last actors, or their numbers."""

    @property
    def val_actors(self) -> int | list[int]:
        """Who is the validation: so many of the last of the others, or their numbers."""


class Ravdess(Source):
    """One sample is one recording; the sentence is its transcript, and a text beside the voice."""

    fields = ("audio", "message", "transcript", "label", "group")
    required = ("audio", "label")

    def __init__(self, params: RavdessParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive."""
        urls = (URL,) if self.params.archive == PUBLIC else ()
        return (RemoteFile(self.params.archive, urls, tuple(filter(None, (self.params.sha256,)))),)

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the recordings in order of their actors and names."""
        with open_archive(folder / self.params.archive) as archive:
            members = [name for name in archive.names() if PurePosixPath(name).suffix.lower() in SUFFIXES]
            if not members:
                raise InputError(f"{archive.path}: no {' or '.join(SUFFIXES)} in it; is it the archive of {URL}?")
            names = {member: NAME.fullmatch(PurePosixPath(member).stem) for member in members}
            splits = self._splits(sorted({int(name["actor"]) for name in names.values() if name}))
            seen: set[str] = set()
            for member, name in names.items():
                reason = _fault(name)
                if name is None or reason or name.string in seen:
                    yield Fault(f"{archive.path.name}: {member}", reason or "a second recording of this name")
                    continue
                seen.add(name.string)
                sentence = SENTENCES[int(name["sentence"]) - 1]
                yield RawSample(
                    sample_id=name.string,
                    split=splits[int(name["actor"])],
                    audio=archive.read(member),
                    message=sentence,
                    transcript=sentence,
                    label=EMOTIONS[int(name["emotion"]) - 1],
                    group=f"actor {name['actor']}",
                )

    def _splits(self, actors: list[int]) -> dict[int, str]:
        """Return the split of each actor."""
        test = _chosen("test_actors", self.params.test_actors, actors)
        rest = [actor for actor in actors if actor not in test]
        val = _chosen("val_actors", self.params.val_actors, rest)
        if len(val) == len(rest):
            raise InputError(
                f"test_actors and val_actors of the source ravdess leave none of {len(actors)} actors for training: "
                "give fewer"
            )
        return {actor: "test" if actor in test else "val" if actor in val else "train" for actor in actors}


def _chosen(key: str, wanted: int | Sequence[int], actors: list[int]) -> list[int]:
    """Return the actors of a count or a list.

    Raises:
        InputError: there is no such actor.
    """
    if isinstance(wanted, int):
        return actors[-wanted:]
    if missing := sorted(set(wanted) - set(actors)):
        there = ", ".join(map(str, actors))
        raise InputError(f"{key} of the source ravdess has {missing[0]}: there are still {there}")
    return list(wanted)


def _fault(name: re.Match[str] | None) -> str | None:
    """Say why a file is none of the recordings, or None."""
    if name is None:
        return f"expected a name of seven two-digit codes, such as 03-01-01-01-01-01-01{SUFFIXES[0]}"
    if (name["medium"], name["voice"]) != SOUND_OF_SPEECH:
        return (
            f"expected the sound of speech, codes {'-'.join(SOUND_OF_SPEECH)}, found {name['medium']}-{name['voice']}"
        )
    for code, meanings in (("emotion", EMOTIONS), ("sentence", SENTENCES)):
        if not 1 <= int(name[code]) <= len(meanings):
            return f"{code} {name[code]}; expected 01 to {len(meanings):02d}"
    return None
