"""Classified images in folders: a zip of a mirror, the user's own `data/<folder>`, or Flowers102 from torchvision.

The class of an image is the top folder below the root, or below the folder that is called after a split;
`folders` has the rules. What is missing of val and test is taken from train by the hash of the image's bytes, so
that a picture under two names is on one split.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from stages.base.errors import InputError
from stages.base.store import SCRATCH, say
from stages.raw.archive import JUDGED, Archive, open_archive, write_stored
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.folders import IMAGE_SUFFIXES, NO_SUFFIX, Place, classes_told, find_places, left_out, told
from stages.sources.splits import completed_split, content_key

PACKED = "images.zip"
NO_CLASSES = "put them as <class>/<image> or <split>/<class>/<image>, a folder for each class"
FLOWERS = SCRATCH / "downloads" / "flowers102"


class ImageFolderParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def folder(self) -> str:
        """The user's own folder of images, below `data/`; or none."""

    @property
    def archive(self) -> str:
        """The file name of a zip in the mirror, or empty."""

    @property
    def sha256(self) -> str:
        """The digest of that zip; empty accepts any."""

    @property
    def torchvision(self) -> Literal["none", "Flowers102"]:
        """A data set that torchvision downloads, or none."""

    @property
    def class_names(self) -> bool:
        """Whether the name of its class is each picture's text, too."""

    @property
    def val_fraction(self) -> float:
        """The part that becomes validation where the folders have none, of the training part."""

    @property
    def test_fraction(self) -> float:
        """The part that becomes test where the folders have none, of the training part."""


class ImageFolder(Source):
    """One sample is one image; its label is the top folder that it lies in, splits aside."""

    fields: tuple[str, ...] = ("image", "label")
    required = ("image", "label")

    def __init__(self, params: ImageFolderParams) -> None:
        """Keep the params.

        Raises:
            InputError: the images come from nowhere or from two places.
        """
        places = {"archive": params.archive, "folder": params.folder, "torchvision": params.torchvision}
        given = [f"{key}: {value}" for key, value in places.items() if value not in ("", "none")]
        if len(given) != 1:
            raise InputError(
                f"the source image_folder has {' and '.join(given) or 'no images'}: give one of archive (a zip in the "
                "mirror), folder (your own, below data/) and torchvision; leave the others at '' and none"
            )
        self.params = params
        if params.class_names:
            self.fields = (*ImageFolder.fields, "texts")

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the mirror's zip, if there is one."""
        accepted = tuple(filter(None, (self.params.sha256,)))
        return (RemoteFile(self.params.archive, (), accepted),) if self.params.archive else ()

    def generate(self, folder: Path, seed: int) -> None:
        """Pack the user's own images, or torchvision's, into one stored zip in order of their names."""
        if self.params.torchvision != "none":
            write_stored(folder / PACKED, download_flowers(FLOWERS))
        elif self.params.folder != "none":
            write_stored(folder / PACKED, own_images(Path("data") / self.params.folder))

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield what is no image of a class, then the images in order of their paths."""
        params = self.params
        with open_archive(folder / (params.archive or PACKED), JUDGED) as archive:
            places, faults = read_places(archive)
            yield from faults
            present = {place.split for place in places}
            counts: Counter[tuple[str, str]] = Counter()
            for place in places:
                data = archive.read(place.member)
                split = completed_split(
                    place.split, content_key(data), present, params.val_fraction, params.test_fraction
                )
                counts[place.label, split] += 1
                texts = (class_text(place.label),) if params.class_names else ()
                yield RawSample(place.member, split, image=data, texts=texts, label=place.label)
            say(f"{archive.path.name}: {classes_told(counts)}")


def read_places(archive: Archive) -> tuple[list[Place], list[Fault]]:
    """Find the images of an archive, and say what is not taken, and why.

    Raises:
        InputError: no image lies in the folder of a class.
    """
    where = archive.path.name
    reasons = {name: left_out(name, lambda name=name: archive.read(name)) for name in archive.names()}  # type: ignore[misc]
    places, wrong, notes = find_places([name for name, reason in reasons.items() if reason is None])
    if wrong and not places:
        raise InputError(f"{where}: none of {len(wrong)} images is in a class's folder, {min(wrong)}: {NO_CLASSES}")
    refused = {name: reason for name, reason in reasons.items() if reason} | wrong
    for line in [*notes, *([f"left out {told(refused)}"] if refused else [])]:
        say(f"{where}: {line}")
    return places, [Fault(f"{where}: {name}", reason) for name, reason in refused.items()]


def class_text(label: str) -> str:
    """Return the name of a class as a text; marks between words become blanks, a name of marks alone stays.

    Example:
        >>> class_text("golden_retriever")
        'golden retriever'
    """
    return re.sub(r"[_.-]+", " ", label).strip() or label


def own_images(root: Path) -> list[tuple[str, Path]]:
    """Name all images below a folder, links followed, and say what is left out.

    Raises:
        InputError: no such folder, no image in it, or none in the folder of a class.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: put your images there as <class>/<image> or <split>/<class>/<image>")
    files = sorted(_files(root), key=lambda path: path.relative_to(root).as_posix())
    reasons = {path.relative_to(root).as_posix(): _own_reason(root, path) for path in files}
    images = [(name, root / name) for name, reason in reasons.items() if reason is None]
    if not images:
        raise InputError(f"{root}: no image in it; an image is a file that ends in {', '.join(IMAGE_SUFFIXES)}")
    places, wrong, _ = find_places([name.replace("\\", "/") for name, _ in images])  # which packing refuses by name
    if not places:
        raise InputError(f"{root}: none of {len(images)} images is in a class's folder, {min(wrong)}: {NO_CLASSES}")
    if out := {name: _in_words(reason) for name, reason in reasons.items() if reason}:
        say(f"{root}: left out {told(out)}")
    return images


def _in_words(reason: str) -> str:
    return "files that are no images by their suffix" if reason == NO_SUFFIX else reason


def _own_reason(root: Path, path: Path) -> str | None:
    name = path.relative_to(root).as_posix()
    if path.is_dir():
        return "links back to a folder above them"
    if path.is_symlink() and not path.exists():
        return "links to nothing"
    return left_out(name, path.read_bytes) if path.is_file() else "no plain files"


def _files(root: Path) -> Iterator[Path]:
    """Yield what lies below a folder, links followed, and as it stands a link to a folder that it lies in."""
    above = {str(root): {os.path.realpath(root)}}
    for folder, folders, names in os.walk(root, followlinks=True):
        for name in list(folders):
            path = os.path.join(folder, name)
            if (real := os.path.realpath(path)) in above[folder]:
                folders.remove(name)
                yield Path(path)
            above[path] = above[folder] | {real}
        yield from (Path(folder, name) for name in names)


def download_flowers(root: Path) -> list[tuple[str, Path]]:
    """Let torchvision download Flowers102 and name its images by official split and class."""
    from torchvision.datasets import Flowers102

    try:
        parts = {split: Flowers102(str(root), split, download=True) for split in ("train", "val", "test")}
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"torchvision cannot download Flowers102 ({error}): put 102flowers.tgz, imagelabels.mat and setid.mat "
            f"into {root}/flowers-102 and run the stage again, or its images as <split>/<class>/<image> into a folder "
            "below data/ and give that as folder"
        ) from error
    # torchvision has no public way to the files themselves, only to decoded images
    return sorted(
        (f"{split}/{Flowers102.classes[label]}/{Path(image).name}", Path(image))
        for split, part in parts.items()
        for image, label in zip(part._image_files, part._labels, strict=True)
    )
