"""Who rated which row of a user's table, how and when: a second table in the same folder, one rating a row.

A third one, if there is, tells of those who rate: a row a user, all columns that may tell something.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from stages.base.errors import InputError
from stages.base.store import say
from stages.media.fields.kinds import AUTO, DATE, NUMBER, Habit, habit_of, is_missing, normalised
from stages.sources.base import Fault, Rating, Users
from stages.sources.splits import split_by_hash, split_ratings
from stages.sources.table.columns import is_id, words_of
from stages.sources.table.fields import guess_fields, told_left_out
from stages.sources.table.labels import whole_number
from stages.sources.table.layout import Layout, Reading, find_layout, refuse_other_kinds
from stages.sources.table.rows import CSV_SUFFIXES, SUFFIXES, Row, column_names, read_rows

NAMES = {
    "user": (
        *("user", "userid", "username", "customer", "customerid", "visitor", "visitorid", "member", "memberid"),
        *("reader", "reviewer", "reviewerid", "account", "person", "nutzer", "kunde", "client", "usuario", "用户"),
    ),
    "item": (
        *("item", "itemid", "product", "productid", "movie", "movieid", "film", "filmid", "book", "bookid", "isbn"),
        *(
            "article",
            "articleid",
            "asin",
            "song",
            "songid",
            "track",
            "trackid",
            "artikel",
            "produkt",
            "produit",
            "商品",
        ),
    ),
    "value": ("rating", "ratings", "score", "stars", "value", "grade", "vote", "bewertung", "note", "评分"),
    "time": ("time", "timestamp", "date", "datetime", "when", "createdat", "ratedat", "datum", "zeit", "fecha", "时间"),
}
NEEDED = ("user", "item")
HEAD_ROWS = 200  # looked at to find which columns tell of users
LIKED = 1.0  # what a row without a column of values says


class RatingsParams(Protocol):
    """What is read from `ratings` of a table in params.yaml; a column is its name, auto or none."""

    table: str
    users: str
    user: str
    item: str
    value: str
    time: str
    split: Literal["time", "user_time", "items", "hash"]


@dataclass(frozen=True)
class Ratings:
    """The ratings by item; of rule `items` on the split of their item, so on none before that is known."""

    found: Mapping[str, Sequence[Rating]]
    by_item: bool = False

    def of(self, item: str, split: str | None) -> tuple[Rating, ...]:
        """Return those of an item that is on a split."""
        own = self.found.get(item, ())
        return tuple(replace(rating, split=split) for rating in own) if self.by_item and split else tuple(own)


def keep_ratings(root: Path, params: RatingsParams, reading: Reading, folder: Path, item: str) -> dict[str, Any]:
    """Copy the table of ratings from `root` into `folder`; return how it is written, and say that.

    `item` is the column of ids in the table of items.

    Raises:
        InputError: when it is not there or no such table, or a column that is needed is missing.
    """
    path, layout = _opened(root, params.table, "ratings.table", reading)
    columns = _resolved(str(path), params, column_names(path, layout), item)
    habits = {
        role: _habit(str(path), role, columns[role], read_rows(path, layout))
        for role in ("value", "time")
        if role in columns
    }
    if "time" not in columns and params.split in ("time", "user_time"):
        raise InputError(
            f"{path}: ratings.split is {params.split}, but no column is the time (looked for "
            f"{', '.join(NAMES['time'][:4])}, ...): name it as ratings.time, or set ratings.split to hash or items"
        )
    told = ", ".join(f"{role}: {columns.get(role, 'none')}" for role in NAMES)
    without = "" if "value" in columns else f"; no column of values, so each row says {LIKED:g}: liked"
    say(f"{path}: ratings, split by {params.split}; to fix the columns: ratings: {{{told}}}{without}")
    shutil.copyfile(path, folder / path.name)
    kept: dict[str, Any] = {"columns": columns, "habits": {role: asdict(habit) for role, habit in habits.items()}}
    kept |= {"layout": asdict(layout)} if layout else {}
    return kept | ({"users": _keep_users(root, params.users, reading, folder)} if params.users != "none" else {})


def _keep_users(root: Path, table: str, reading: Reading, folder: Path) -> dict[str, Any]:
    """Copy the table of users; return how it is written, and say which of its columns are taken."""
    path, layout = _opened(root, table, "ratings.users", reading)
    names = column_names(path, layout)
    ids = [name for name in names if _plain(name) in NAMES["user"]] or [name for name in names if is_id(name)]
    if not ids:
        raise InputError(f"{path}: no column names the user (looked for user, id, ...); it has {', '.join(names)}")
    head = list(islice(read_rows(path, layout), HEAD_ROWS))
    kinds, left_out = guess_fields(names, head, {"id": ids[0]}, lambda cell: False)
    if not kinds:
        raise InputError(f"{path}: no column tells anything of the users: {told_left_out(left_out).strip()}")
    told = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    say(f"{path}: users by {ids[0]}: {told}{told_left_out(left_out)}")
    shutil.copyfile(path, folder / path.name)
    return {"id": ids[0], "kinds": kinds} | ({"layout": asdict(layout)} if layout else {})


def _opened(root: Path, table: str, key: str, reading: Reading) -> tuple[Path, Layout | None]:
    """Return where a table is and how it is written, None of one that is no CSV."""
    path = root / table
    if Path(table).name != table or not table.lower().endswith(SUFFIXES):
        wanted = f"a file name without folders that ends in {', '.join(SUFFIXES)}"
        raise InputError(f"{key} is {table!r}: expected {wanted}")
    if not path.is_file():
        raise InputError(f"{path}: no such file: {key} is a table beside that of the items")
    refuse_other_kinds(path)
    return path, find_layout(path, reading).layout if path.suffix.lower() in CSV_SUFFIXES else None


def _resolved(where: str, params: RatingsParams, names: Sequence[str], item: str) -> dict[str, str]:
    """Return the column of each role that has one."""
    wanted = {role: getattr(params, role) for role in NAMES}
    for role, name in wanted.items():
        if name not in (AUTO, "none", *names):
            raise InputError(f"{where}: no column {name!r}, given as ratings.{role}; it has {', '.join(names)}")
    found = {role: name for role, name in wanted.items() if name not in (AUTO, "none")}
    for role in (role for role, name in wanted.items() if name == AUTO):
        known = ((_plain(item),) if role == "item" else ()) + NAMES[role]
        fits = [name for name in names if name not in found.values() and _plain(name) in known]
        if fits:
            found[role] = min(fits, key=lambda name: known.index(_plain(name)))
    for role in NEEDED:
        if role not in found:
            raise InputError(
                f"{where}: no column is the {role} (looked for {', '.join(NAMES[role][:4])}, ...); it has "
                f"{', '.join(names)}; name it in params.yaml\n    ratings: {{{role}: {names[0]}}}"
            )
    return found


def _plain(name: str) -> str:
    return "".join(words_of(name))


def _habit(where: str, role: str, column: str, rows: Iterable[Row]) -> Habit:
    """Return how a column of numbers, or of times, is written."""
    cells = (row.cells[column] for row in rows if not is_missing(row.cells.get(column)))
    habit, told = habit_of(cells, NUMBER if role == "value" else AUTO)
    if habit.kind not in (NUMBER, DATE):
        raise InputError(f"{where}: ratings.time: the column {column} has neither dates nor numbers; set it to none")
    for line in told:
        say(f"{where}: {column}: {line}")
    return habit


def read_ratings(
    folder: Path, params: Any, notes: Mapping[str, Any], items: Iterable[str]
) -> tuple[Ratings, list[Fault]]:
    """Return the ratings of `items`, ids of the table, and the rows that cannot be used or do not count.

    Of several ratings of an item by one user the latest counts.
    """
    path, columns = folder / params.ratings.table, notes["columns"]
    habits = {role: Habit(**found) for role, found in notes["habits"].items()}
    layout = Layout(**notes["layout"]) if "layout" in notes else None
    names, faults = {whole_number(item): item for item in items}, list[Fault]()
    latest: dict[tuple[str, str], tuple[int, int, float]] = {}  # time, row and value by user and item
    for row in read_rows(path, layout):
        try:
            user, item, value, time = _read(row, columns, habits)
            if item not in names:
                raise ValueError(f"item {item!r:.80} is no id of {params.table}")
        except ValueError as error:
            faults.append(Fault(f"{path.name}: row {row.number}", str(error)))
            continue
        new, old = (time, row.number, value), latest.get((user, names[item]))
        latest[user, names[item]] = new if old is None else max(old, new)
        if old is not None:
            first, last = sorted((old, new))
            reason = f"user {user!r:.80} rated item {item!r:.80} again in row {last[1]}, which counts"
            faults.append(Fault(f"{path.name}: row {first[1]}", reason))
    return _on_splits(latest, params), faults


def _read(row: Row, columns: Mapping[str, str], habits: Mapping[str, Habit]) -> tuple[str, str, float, int]:
    """Return user, item, value and time of a row.

    Raises:
        ValueError: saying what is missing or no number.
    """
    if row.fault:
        raise ValueError(row.fault)
    cells = {role: row.cells.get(name) for role, name in columns.items()}
    for role, name in columns.items():
        if is_missing(cells[role]):
            raise ValueError(f"column {name}: no {role}")
    said = {role: normalised(cells[role] or "", habit) for role, habit in habits.items()}
    for role, cell in said.items():
        if cell is None:
            raise ValueError(f"column {columns[role]}: {cells[role]!r:.80} is no {habits[role].kind}")
    user, item = (whole_number(cells[role] or "") for role in NEEDED)
    value = float(said["value"] or 0) if "value" in said else LIKED
    return user, item, value, _seconds(said["time"] or "", habits["time"].kind) if "time" in said else 0


def _seconds(cell: str, kind: str) -> int:
    """Return a time as a whole number of which only the order counts."""
    return int(float(cell)) if kind == NUMBER else int(datetime.fromisoformat(cell).replace(tzinfo=UTC).timestamp())


def _on_splits(latest: Mapping[tuple[str, str], tuple[int, int, float]], params: Any) -> Ratings:
    """Put each rating on its split by the rule."""
    rule, shares = params.ratings.split, (params.val_fraction, params.test_fraction)
    ordered = sorted(latest)
    if rule in ("hash", "items"):
        splits = [split_by_hash(f"{user}\n{item}", *shares) for user, item in ordered]
    else:
        times = [latest[key][0] for key in ordered]
        splits = split_ratings([user if rule == "user_time" else "" for user, _ in ordered], times, *shares)
    found: dict[str, list[Rating]] = {}
    for (user, item), split in zip(ordered, splits, strict=True):
        time, _, value = latest[user, item]
        found.setdefault(item, []).append(Rating(user, value, time, split))
    return Ratings(found, rule == "items")


def read_users(folder: Path, table: str, notes: Mapping[str, Any]) -> tuple[Users, list[Fault]]:
    """Return what the table of users tells, and the rows that cannot be used."""
    layout = Layout(**notes["layout"]) if "layout" in notes else None
    cells: dict[str, dict[str, str | None]] = {}
    faults: list[Fault] = []
    for row in read_rows(folder / table, layout):
        user = whole_number(row.cells.get(notes["id"], ""))
        fault = row.fault or ("" if user else f"column {notes['id']}: no user") or ("told of before" * (user in cells))
        if fault:
            faults.append(Fault(f"{table}: row {row.number}", fault))
        else:
            cells[user] = {name: row.cells.get(name) for name in notes["kinds"]}
    return Users(notes["kinds"], cells), faults


def ids_of(rows: Iterable[Row], column: str) -> Iterator[str]:
    """Yield the ids of the table of items."""
    return (row.cells[column] for row in rows if column in row.cells)
