"""Classified images in folders: a zip of a mirror, the user's own `data/<folder>`, or Flowers102 from torchvision.

Each image lies in the folder of its class. Where a folder above that is called train, val or test (or as
`SPLIT_OF` lists) it is the split; what is missing of val and test is taken from train by hash.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from stages.base.errors import InputError
from stages.base.store import SCRATCH, say
from stages.raw.archive import JUDGED, open_archive, write_stored
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.splits import SPLIT_OF, completed_split

PACKED = "images.zip"
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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
    def val_fraction(self) -> float:
        """The part that becomes validation where the folders have none, of the training part."""

    @property
    def test_fraction(self) -> float:
        """The part that becomes test where the folders have none, of the training part."""


class ImageFolder(Source):
    """One sample is one image; its label is the folder that it lies in."""

    fields = ("image", "label")
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
            places, faults = find_places(archive.path.name, archive.names())
            yield from faults
            present = {place.split for place in places}
            for place in places:
                split = completed_split(place.split, place.member, present, params.val_fraction, params.test_fraction)
                yield RawSample(place.member, split, image=archive.read(place.member), label=place.label)


@dataclass(frozen=True)
class Place:
    """An image: its path in the archive and what its folders say."""

    member: str
    split: str
    label: str


def find_places(archive: str, members: tuple[str, ...]) -> tuple[list[Place], list[Fault]]:
    """Read split and class from the paths; without any folder named for a split, all are train."""
    images = [m for m in members if PurePosixPath(m).suffix.lower() in IMAGE_SUFFIXES]
    faults = [Fault(f"{archive}: {m}", "no image by its suffix") for m in members if m not in set(images)]
    splits = {member: _split_above(member) for member in images}
    has_splits = any(splits.values())
    expected = "<split>/<class>/<image>" if has_splits else "<class>/<image>"
    places = []
    for member, split in splits.items():
        label = PurePosixPath(member).parent.name
        if not label or (has_splits and split is None):
            faults.append(Fault(f"{archive}: {member}", f"expected {expected}"))
        else:
            places.append(Place(member, split or "train", label))
    return places, faults


def _split_above(member: str) -> str | None:
    """Return the split that the nearest folder above the class names."""
    folders = PurePosixPath(member).parts[:-2]
    return next((SPLIT_OF[name.lower()] for name in reversed(folders) if name.lower() in SPLIT_OF), None)


def own_images(root: Path) -> list[tuple[str, Path]]:
    """Name all images below a folder, hidden ones left out.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: put your images there as <class>/<image> or <split>/<class>/<image>")
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    shown = {name: path for name, path in paths.items() if not any(p.startswith(".") for p in name.split("/"))}
    images = sorted((name, path) for name, path in shown.items() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{root}: no image in it; an image is a file that ends in {', '.join(IMAGE_SUFFIXES)}")
    if len(images) < len(shown):
        others = sorted(shown.keys() - dict(images).keys())
        say(f"{root}: left out {len(others)} files that are no images by their suffix, such as {others[0]}")
    return images


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
