"""What the folders above an image say: its class is the top one below the root or the split.

A single folder in which all others lie is passed over, as are folders that only say again what the split says or
that there are images.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from stages.media.images import FORMATS
from stages.sources.splits import SPLIT_OF

IMAGE_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
THUMBNAILS = {"thumb", "thumbs", "thumbnail", "thumbnails", "@eadir", "__macosx", "thumbs.db"}
NEUTRAL = {"set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"}
"""Words beside a split's, or alone below one, that name no class."""
NO_SUFFIX, HIDDEN, THUMBNAIL = "no image by its suffix", "hidden", "in a folder of thumbnails"


@dataclass(frozen=True)
class Place:
    """An image: its path and what its folders say."""

    member: str
    split: str
    label: str


def left_out(member: str, read: Callable[[], bytes]) -> str | None:
    """Return why a file is not taken, or None where it is; a name without an ending is judged by its bytes."""
    *folders, name = member.split("/")
    if any(part.lower() in THUMBNAILS for part in (*folders, name)):
        return THUMBNAIL
    if any(part.startswith(".") for part in (*folders, name)):
        return HIDDEN
    suffix = "." + name.rpartition(".")[2].lower() if "." in name else ""
    taken = suffix in IMAGE_SUFFIXES or (not suffix and is_image(read()))
    return None if taken else NO_SUFFIX


def is_image(data: bytes) -> bool:
    """Tell whether bytes begin as an image does."""
    try:
        Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        return False
    except Exception:  # begins as one, and is damaged: `prepare` says how
        return True
    return True


def split_named(folder: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split that a folder is called after, and what else is in its name; None where it names none.

    >>> split_named("Training_Set"), split_named("seg_test"), split_named("tests")
    (('train', ()), ('test', ('seg',)), None)
    """
    words = [SPLIT_OF.get(word.removesuffix("set"), word) for word in re.findall(r"[^\W\d_]+", folder.lower())]
    splits = [word for word in words if word in SPLIT_OF.values()]
    rest = tuple(word for word in words if word not in SPLIT_OF.values() and word not in NEUTRAL)
    return (splits[0], rest) if len(splits) == 1 else None


def find_places(images: Iterable[str]) -> tuple[list[Place], dict[str, str], list[str]]:
    """Read split and class from the paths of images; without any folder named for a split, all are train.

    Returns:
        The images with a class, the reason by path for those without one, and what a person should know of the choice.
    """
    paths = {member: member.split("/") for member in images}
    notes: list[str] = []
    passed = _common_top(list(paths.values()))
    if passed:
        notes.append(f"all lie in {'/'.join(passed)}, which is no class")
    below = {member: parts[len(passed) :] for member, parts in paths.items()}
    splits = _split_folders(list(below.values()), notes)
    inner = {} if splits else _inner_splits(list(below.values()), notes)
    expected = "expected " + ("<split>/<class>/<image>" if splits else "<class>/<image>")
    places, wrong = [], {}
    for member, parts in below.items():
        split = splits.get(parts[0]) if splits and len(parts) > 1 else "train"
        classes = _without_wrappers(parts[1:], split) if splits else parts
        if split is None or len(classes) < 2:
            wrong[member] = expected
        else:
            places.append(Place(member, inner.get(classes[1], split), classes[0]))
    return places, wrong, notes


def _common_top(paths: list[list[str]]) -> list[str]:
    """Return the folders in which all images lie, with a class's folder still below them."""
    passed: list[str] = []
    while paths and len({parts[0] for parts in paths}) == 1 and min(map(len, paths)) > 2:
        if split_named(paths[0][0]):
            break
        passed.append(paths[0][0])
        paths = [parts[1:] for parts in paths]
    return passed


def _split_folders(paths: list[list[str]], notes: list[str]) -> dict[str, str]:
    """Return the split of each top folder that is one; nothing where such folders are classes."""
    named = {parts[0]: found for parts in paths if len(parts) > 1 and (found := split_named(parts[0]))}
    splits, rests = ({found[place] for found in named.values()} for place in (0, 1))
    others = [parts for parts in paths if len(parts) > 1 and parts[0] not in named]
    holds_classes = any(len(parts) > 2 for parts in paths if parts[0] in named)
    of_one_kind = rests == {()} or (len(rests) == 1 and len(splits) > 1)
    alone = not others or ("train" in splits and (len(splits) > 1 or all(len(parts) == 2 for parts in others)))
    if named and holds_classes and of_one_kind and alone:
        return {folder: split for folder, (split, _) in named.items()}
    if named and others:
        notes.append(f"{', '.join(sorted(named))}: taken as classes, like the folders beside them, not as splits")
    return {}


def _inner_splits(paths: list[list[str]], notes: list[str]) -> dict[str, str]:
    """Return the splits by folder where each class has its own: `<class>/<split>/<image>`."""
    folders = {parts[1] for parts in paths if len(parts) > 2}
    found = {folder: split_named(folder) for folder in folders}
    splits = {folder: named[0] for folder, named in found.items() if named and not named[1]}
    whole = splits.keys() == folders and all(len(parts) != 2 for parts in paths)
    if not whole or len(set(splits.values())) < 2:
        return {}
    notes.append(f"{', '.join(sorted(folders))} below the classes: taken as splits")
    return splits


def _without_wrappers(parts: list[str], split: str | None) -> list[str]:
    """Pass over folders below a split's that say it again, or that there are images."""
    while len(parts) > 2:
        named = split_named(parts[0])
        if not (named and named[0] == split) and not set(re.findall(r"[^\W\d_]+", parts[0].lower())) <= NEUTRAL:
            break
        parts = parts[1:]
    return parts


def told(reasons: dict[str, str]) -> str:
    """Say how many were left out for which reason, with an example each; empty where none was."""
    counts = Counter(reasons.values())
    first = {reason: next(name for name, other in reasons.items() if other == reason) for reason in counts}
    return "; ".join(f"{count} {reason}, such as {first[reason]}" for reason, count in sorted(counts.items()))


def classes_told(labels: Counter[tuple[str, str]]) -> str:
    """Say how many images of which class are on which split, from counts by (class, split)."""
    names = sorted({label for label, _ in labels})
    shown = [
        f"{name} {'/'.join(str(labels[name, split]) for split in ('train', 'val', 'test'))}" for name in names[:20]
    ]
    more = [f"and {len(names) - 20} more"] if len(names) > 20 else []
    return f"{labels.total()} images of {len(names)} classes, train/val/test: {', '.join(shown + more)}"
