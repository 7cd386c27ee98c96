"""Flickr8k (Hodosh et al. 2013): photographs with five captions each, from the two public archives."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from stages.base.errors import InputError
from stages.raw.archive import Archive, ArchiveLimits, open_archive
from stages.sources.base import Fault, RawSample, RemoteFile, Source

RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
IMAGES, TEXT = "Flickr8k_Dataset.zip", "Flickr8k_text.zip"
PUBLIC_SHA256 = {
    IMAGES: "61e4b111d32b24a55b69dafd91f4c3aec07391b7b9217face15dd35d517fe6de",
    TEXT: "4992ddc8110e9aa49da5bf698522b0c8f11c448814a488584ee6bf040e5137e7",
}
CAPTIONS = "Flickr8k.token.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


class Flickr8kSettings(Protocol):
    """What the source needs of its section of params.yaml."""

    images_sha256: str
    text_sha256: str


class Flickr8k(Source):
    """The data set in its public layout; a caption file with faults is read as far as it goes."""

    required = ("image", "texts")

    def __init__(self, params: Flickr8kSettings) -> None:
        """Take the checksums of a mirror's own copies, if it has others than the public ones."""
        self._own_sha256 = {IMAGES: params.images_sha256, TEXT: params.text_sha256}

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the two archives."""
        return tuple(
            RemoteFile(name, (f"{RELEASE}/{name}",), tuple(filter(None, (public, self._own_sha256[name]))))
            for name, public in PUBLIC_SHA256.items()
        )

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield the faults of the text files, then the images in order of their names."""
        with open_archive(folder / TEXT, ArchiveLimits()) as text:
            captions, faults = _parse_captions(_member_text(text, CAPTIONS))
            splits, list_faults = _parse_lists({s: _member_text(text, n) for s, n in LISTS.items()})
        yield from faults + list_faults
        with open_archive(folder / IMAGES, ArchiveLimits()) as images:
            members: dict[str, str] = {}
            for path in images.names():
                if members.setdefault(PurePosixPath(path).name, path) != path:
                    yield Fault(f"{IMAGES}: {path}", "a second image of this name")
            for name in sorted(members.keys() | splits.keys() | captions.keys()):
                if name not in members and name not in splits:
                    yield Fault(f"{CAPTIONS}: {name}", "captions of an image that the archive lacks")
                    continue
                yield RawSample(
                    sample_id=name,
                    split=splits.get(name),
                    image=images.read(members[name]) if name in members else None,
                    texts=tuple(captions.get(name, ())),
                    fault=None if name in members else "named on a list, but the source has no such image",
                )


def _member_text(archive: Archive, file_name: str) -> str:
    """Read a text file by its bare name; broken UTF-8 becomes replacement characters."""
    for name in archive.names():
        if PurePosixPath(name).name == file_name:
            return archive.read(name).decode("utf8", errors="replace")
    raise InputError(f"{archive.path}: no member {file_name}; is it the public archive {TEXT}?")


def _parse_captions(content: str) -> tuple[dict[str, list[str]], list[Fault]]:
    """Parse rows of `<image>#<number><tab><caption>`; further tabs belong to the caption."""
    captions: dict[str, list[str]] = {}
    faults, seen = [], set()
    for row, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        image, mark, number = key.strip().partition("#")
        where = f"{CAPTIONS}: row {row}"
        if not (tab and mark and number.isdecimal()):
            faults.append(Fault(where, f"expected <image>#<number><tab><caption>, found {line[:80]!r}"))
        elif (image, number) in seen:
            faults.append(Fault(where, f"caption {number} of {image} again"))
        else:
            seen.add((image, number))
            captions.setdefault(image, []).append(caption)
    return captions, faults


def _parse_lists(contents: dict[str, str]) -> tuple[dict[str, str], list[Fault]]:
    """Return the split of each listed image; an image on two lists stays on the first."""
    splits: dict[str, str] = {}
    faults = []
    for split, content in contents.items():
        for row, line in enumerate(content.split("\n"), start=1):
            name = line.strip()
            if not name:
                continue
            if name in splits:
                faults.append(Fault(f"{LISTS[split]}: row {row}", f"{name} is listed again"))
            else:
                splits[name] = split
    return splits, faults
