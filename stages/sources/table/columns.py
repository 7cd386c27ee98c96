"""Which column of a user's table is what: as params.yaml says or, for `auto`, by the names and the values."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence

from stages.base.errors import InputError
from stages.sources.splits import SPLIT_OF
from stages.sources.table.rows import Row

ROLES = (
    *("id", "image", "audio", "video", "transcript", "text", "message"),
    *("question", "answer", "label", "group", "split", "tags"),
)
NAMES = {
    "id": ("id", "key", "uid", "uuid", "identifier"),
    "text": ("text", "caption", "captions", "sentence", "description", "transcript", "transcription"),
    "message": ("message", "comment", "review", "post", "tweet"),
    "transcript": ("transcript", "transcription", "utterance"),
    "question": ("question",),
    "answer": ("answer",),
    "label": (
        *("label", "class", "category", "target", "kind", "species", "emotion", "sentiment", "y"),
        *("labels", "classes", "categories", "targets", "diagnosis", "diagnoses", "breed", "genre"),
        *("classname", "labelname", "categoryname", "classid", "labelid", "categoryid", "targetid"),
        *("klasse", "kategorie", "etikett", "classe", "catégorie", "categorie", "étiquette", "clase", "categoría"),
        *("categoria", "etiqueta", "rótulo", "класс", "метка", "категория", "标签", "标注", "类别", "分类", "類別"),
        *("標籤", "ラベル", "分類", "カテゴリ", "라벨", "레이블", "분류"),
    ),
    "group": ("group", "speaker", "user", "author", "patient", "subject", "session"),
    "tags": ("tags", "keywords", "genres", "topics"),
    "split": ("split", "subset", "partition", "set", "fold"),
}
MEDIA_NAMES = {
    "image": ("image", "img", "photo", "photograph", "picture"),
    "audio": ("audio", "sound", "recording", "speech", "wav"),
    "video": ("video", "clip", "movie", "film", "footage"),
}
PLACES = ("path", "file", "filename", "name", "url", "link")  # "photo path", "image_url"

MediaKind = Callable[[str], str | None]


def resolve(
    wanted: dict[str, str], names: Sequence[str], head: Sequence[Row], media_kind: MediaKind, where: str
) -> dict[str, str]:
    """Return the column of each role that has one.

    Args:
        wanted: by role, a column's name, "auto" or "none".
        names: the columns that there are.
        head: the first rows.
        media_kind: tells for a cell whether it names an image, an audio file, a video or none.
        where: the table, for messages.

    Raises:
        InputError: a column that is not there, or questions without answers.
    """
    chosen = {role: name for role, name in wanted.items() if name not in ("auto", "none")}
    for role, name in chosen.items():
        if name not in names:
            raise InputError(f"{where}: no column {name!r}, given as columns.{role}; it has {', '.join(names)}")
    _refuse_data_as_names(names, head, media_kind, where)
    guessed = _guess([role for role in ROLES if wanted[role] == "auto"], chosen, names, head, media_kind)
    found = guessed | chosen
    if ("question" in found) != ("answer" in found):
        if {"question", "answer"} & chosen.keys():
            raise InputError(f"{where}: columns.question and columns.answer go together; it has {', '.join(names)}")
        found = {role: name for role, name in found.items() if role not in ("question", "answer")}
    repeats = "id" in guessed and len({row.cells.get(found["id"]) for row in head}) < len(head)
    if repeats and not found.keys() & {"question", "text"}:
        del found["id"]
    return {role: found[role] for role in ROLES if role in found}


def _refuse_data_as_names(names: Sequence[str], head: Sequence[Row], media_kind: MediaKind, where: str) -> None:
    """Refuse a header that names a file as the cells below it do: it is a row, and the names are missing."""
    data = [name for name in names if media_kind(name) and any(media_kind(row.cells.get(name, "")) for row in head)]
    if data:
        raise InputError(
            f"{where}: row 1 ({', '.join(names)}) looks like data, not like names of columns: {data[0]!r} is a file; "
            "write a line of names above it, such as image,label"
        )


def no_label(where: str, names: Sequence[str], head: Sequence[Row], taken: Sequence[str]) -> str:
    """Say that no column holds labels, which could (few different values, none taken), and the line that says it."""
    fitting = []
    for name in names:
        values = Counter(row.cells[name] for row in head if name in row.cells)
        if name not in taken and 1 < len(values) <= values.total() / 2:
            fitting.append(name)
    looked, few = ", ".join(NAMES["label"][:6]), f"; with few values each: {', '.join(fitting)}" if fitting else ""
    column = json.dumps((fitting or list(names))[0], ensure_ascii=False)
    return (
        f"{where}: no column is the label (looked for {looked}, ...); it has {', '.join(names)}{few}; "
        f"to classify, change in params.yaml\n    columns: {{label: {column}}}"
    )


def _guess(
    roles: Sequence[str], chosen: dict[str, str], names: Sequence[str], head: Sequence[Row], media_kind: MediaKind
) -> dict[str, str]:
    """Give each role at most one of the columns that are not chosen: media by values, the others by name."""
    free = [name for name in names if name not in chosen.values()]
    kinds = {name: _kind_of_column(name, head, media_kind) for name in free}
    found: dict[str, str] = {}
    for role in MEDIA_NAMES:
        media = [name for name in free if kinds[name] == role]
        by_name = [name for name in media if _is_media_name(name, role)]
        if role in roles and media:
            found[role] = (by_name or media)[0]
    plain = [name for name in free if kinds[name] is None]
    for matches in (_is_name, _ends_in_name):
        for role in (role for role in roles if role in NAMES and role not in found):
            fits = [n for n in plain if n not in found.values() and matches(n, role) and _allows(role, n, head)]
            if fits:
                found[role] = fits[0]
    return found


def _kind_of_column(name: str, head: Sequence[Row], media_kind: MediaKind) -> str | None:
    """Tell what most cells of a column name; where none can be told, what its own name says."""
    cells = [row.cells[name] for row in head if name in row.cells]
    kinds = Counter(media_kind(cell) for cell in cells)
    unclear = kinds[None] == len(cells) and len(cells) > 0
    for kind in MEDIA_NAMES:
        if kinds[kind] * 2 > len(cells) or (unclear and _is_media_name(name, kind)):
            return kind
    return None


def words_of(name: str) -> list[str]:
    """Split "Photo path", "photo_path" and "photoPath" into small words."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", spaced.lower()) or [name]


def _is_media_name(name: str, kind: str) -> bool:
    first, *_, last = [*words_of(name)[:1], *words_of(name)]
    return last in MEDIA_NAMES[kind] or (last in PLACES and first in MEDIA_NAMES[kind])


def _is_name(name: str, role: str) -> bool:
    return "".join(words_of(name)) in NAMES[role]


def _ends_in_name(name: str, role: str) -> bool:
    """Match "product category" as a label and "user id" as a group; "question id" is an id."""
    *before, last = words_of(name)
    if last in NAMES["id"]:
        is_group = bool(before) and before[-1] in NAMES["group"]
        return role == ("group" if is_group else "id")
    return last in NAMES[role]


def is_id(name: str) -> bool:
    """Tell whether a column is called an id."""
    return words_of(name)[-1] in NAMES["id"]


def no_split(names: Sequence[str], head: Sequence[Row]) -> str:
    """Say why no column gives the splits: none is called so, or one that is has other words."""
    for name in names:
        if _is_name(name, "split") or _ends_in_name(name, "split"):
            words = sorted({row.cells[name] for row in head if name in row.cells} - SPLIT_OF.keys())
            return f"the column {name} has {', '.join(words[:5])}, which are not train, val or test"
    return "no column of train, val and test"


def _allows(role: str, name: str, head: Sequence[Row]) -> bool:
    """Refuse a split column with other words than splits."""
    return role != "split" or all(row.cells.get(name, "train").lower() in SPLIT_OF for row in head)
