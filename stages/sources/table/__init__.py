"""A user's own table in `data/<folder>`: one row a sample, with the files that it names beside it or on the web.

The stage download copies the table, finds what each column is, and packs the named files into one archive;
reading needs no other file. A row that cannot be used is named by its number, as a spreadsheet shows it.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from stages.base.errors import InputError
from stages.base.store import SCRATCH, say, write_json
from stages.raw.archive import JUDGED, open_archive
from stages.sources.base import Fault, Question, RawSample, Source, Users
from stages.sources.splits import SPLIT_OF, completed_split, split_by_hash
from stages.sources.table.columns import MEDIA_NAMES, ROLES, no_label, no_split, resolve
from stages.sources.table.fields import (
    AUTO,
    Kinds,
    fields_of,
    guess_fields,
    roles_of,
    told_left_out,
    wanted_fields,
)
from stages.sources.table.finder import Finder
from stages.sources.table.groups import grouped, odd_cell, questions_of, split_key
from stages.sources.table.labels import changed_labels, label_of
from stages.sources.table.layout import Found, Layout, TableParams, find_layout, refuse_other_kinds
from stages.sources.table.media import PackedMedia, media_kind, pack, unpacked
from stages.sources.table.ratings import Ratings, ids_of, keep_ratings, read_ratings, read_users
from stages.sources.table.rows import CSV_SUFFIXES, SUFFIXES, Row, column_names, first_row, read_rows
from stages.sources.table.targets import (
    Rows,
    Targets,
    find_targets,
    looks_like_numbers,
    number_columns,
    read_targets,
)

MEDIA, READING = "media.zip", "reading.json"
GUESSED = (
    "not UTF-8, read as Windows-1252; if letters come out wrong, save it as CSV UTF-8 or name its encoding in "
    "params.yaml, such as\n    reading: {encoding: gb18030}"
)
HEAD_ROWS = 200  # looked at to guess the columns
FIELDS = {medium: medium for medium in MEDIA_NAMES} | {"text": "texts", "message": "message", "question": "questions"}
FIELDS |= {role: role for role in ("transcript", "label", "tags", "group")}


class Table(Source):
    """One sample is one row, or the rows that ask about, or describe, the same thing."""

    def __init__(self, params: TableParams) -> None:
        """Keep the params.

        Raises:
            InputError: the table has no name that can be read.
        """
        if Path(params.table).name != params.table or not params.table.lower().endswith(SUFFIXES):
            raise InputError(
                f"table of the source table is {params.table!r}: expected a file name, without folders, that ends "
                f"in {', '.join(SUFFIXES)}; save a spreadsheet as CSV UTF-8"
            )
        self.params = params
        self.wanted = {role: getattr(params.columns, role) for role in ROLES}
        fields = tuple(field for role, field in FIELDS.items() if self.wanted[role] != "none")
        self.numbers: str | list[str] = params.columns.numbers
        self.fields = (*fields, *(("numbers",) if self.numbers != "none" else ()))
        self.fields += ("fields",) * (params.columns.fields != "none") + ("ratings",) * (params.ratings != "none")

    def generate(self, folder: Path, seed: int) -> dict[str, int]:
        """Copy the table, note what its columns are, and pack the files that it names; return counts of its rows."""
        root = Path("data") / self.params.folder
        path = root / self.params.table
        if not path.is_file():
            raise InputError(f"{path}: no such file: put your table and its files into {root}")
        refuse_other_kinds(path)
        found = find_layout(path, self.params.reading) if path.suffix.lower() in CSV_SUFFIXES else None
        layout = found.layout if found else None
        names = column_names(path, layout)
        head = list(islice(read_rows(path, layout), HEAD_ROWS))
        if not head:
            raise InputError(f"{path}: a header ({', '.join(names)}) and no filled row: add one for each sample")
        finder = Finder(root)
        columns = self._resolved(finder, str(path), names, head)
        guessed_label = columns.get("label")
        self._doubt_label(path, columns, read_rows(path, layout))
        columns |= {f"numbers.{name}": name for name in number_columns(self.numbers, names, str(path))}
        kinds, left_out = wanted_fields(self.params.columns.fields, names, columns, str(path)), dict[str, str]()
        if kinds is None:
            kinds, left_out = guess_fields(names, head, columns, lambda cell: media_kind(root, cell) is not None)
        counts = _counts(path, found, columns | roles_of(kinds))
        how = str(found) if found else "read"
        if layout and layout.encoding == "cp1252" and self.params.reading.encoding == "auto":
            how += f"; {GUESSED}"
        say(f"{path}: {how}; {counts['rows_read']} rows, {counts['rows_empty']} of them empty")
        self.fields = (*(FIELDS[role] for role in FIELDS if role in columns), *(("fields",) if kinds else ()))
        ratings = self._kept_ratings(root, folder, columns)
        self._tell_columns(path, columns | {"fields": kinds or "none"}, names, head, told_left_out(left_out))
        if self.wanted["label"] == "auto" and "label" not in columns and not guessed_label:
            say(no_label(str(path), names, head, list(columns.values())))
        targets = self._tell_targets(path, columns, partial(read_rows, path, layout))
        used = [columns[role] for role in MEDIA_NAMES if role in columns]
        rows, scratch = read_rows(path, layout), SCRATCH / "downloads" / f"table-{self.params.folder}"
        used_cells = ((row.cells[name], row.media.get(name)) for row in rows for name in used if name in row.cells)
        cells = (unpacked(cell, data, scratch) for cell, data in used_cells)
        faults = pack(finder, cells, folder / MEDIA, scratch)
        for way, count in sorted(finder.said.items()):
            say(f"{path}: {count} files are named {way}: the one that fits is taken")
        shutil.copyfile(path, folder / path.name)
        notes: dict[str, Any] = {"columns": columns, "faults": faults, "targets": targets.as_json()}
        notes |= ({"fields": list(kinds.items())} if kinds else {}) | ({"ratings": ratings} if ratings else {})
        write_json(folder / READING, notes | ({"layout": asdict(layout)} if layout else {}))
        return counts

    def _kept_ratings(self, root: Path, folder: Path, columns: dict[str, str]) -> dict[str, Any]:
        """Keep the table of ratings, if there is one; return how it is written."""
        if self.params.ratings == "none":
            return {}
        if "id" not in columns:
            raise InputError(
                f"{root / self.params.table}: ratings name its rows by id, and no column is the id: give columns.id"
            )
        if self.params.ratings.table == self.params.table:
            raise InputError(
                "ratings.table is the table itself: put the ratings into a table of their own, one in a row"
            )
        return keep_ratings(root, self.params.ratings, self.params.reading, folder, columns["id"])

    def _doubt_label(self, path: Path, columns: dict[str, str], rows: Iterator[Row]) -> None:
        """Take no column for the label that holds many different numbers, unless params.yaml names it."""
        if "label" in columns and (told := looks_like_numbers(path, columns["label"], rows)):
            say(told)
            if self.wanted["label"] == "auto":
                del columns["label"]

    def _tell_targets(self, path: Path, columns: dict[str, str], rows: Rows) -> Targets:
        """Find how what is to be predicted is written; say what of labels, tags and numbers is not the plain way."""
        label = columns.get("label")
        if told := changed_labels(row.cells[label] for row in rows() if label in row.cells):
            say(f"{path}: {label}: {told}")
        numbers = [name for role, name in columns.items() if role.startswith("numbers.")]
        return find_targets(path, rows, numbers, columns.get("tags", ""), self.params.reading.decimal)

    def _resolved(self, finder: Finder, where: str, names: Sequence[str], head: Sequence[Row]) -> dict[str, str]:
        """Find the column of each role; files may be named without their ending where each row names another."""
        columns = resolve(self.wanted, names, head, partial(media_kind, finder.root), where)
        if columns.keys() & MEDIA_NAMES.keys():
            return columns
        loose = resolve(self.wanted, names, head, partial(media_kind, finder.root, finder=Finder(finder.root)), where)
        media = next((loose[role] for role in MEDIA_NAMES if role in loose), None)
        return loose if media and len({row.cells.get(media) for row in head}) == len(head) > 1 else columns

    def _tell_columns(
        self, path: Path, columns: dict[str, Any], names: Sequence[str], head: list[Row], left_out: str
    ) -> None:
        """Print what was guessed as the lines that would fix it; refuse to split by a column that is not there."""
        if "auto" in (*self.wanted.values(), self.params.columns.fields):
            fixed: dict[str, Any] = {role: columns.get(role, "none") for role in (*ROLES, "fields")}
            fixed |= {"numbers": self.numbers} if self.numbers != "none" else {}
            line = yaml.safe_dump(fixed, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
            told = f"columns are guessed; to fix them, write into params.yaml\n    columns: {line.strip()}{left_out}"
            say(f"{path}: {told}")
        if self.params.split_by == "auto":
            say(
                f"{path}: split by "
                + (f"the column {columns['split']}" if "split" in columns else f"hash: {no_split(names, head)}")
            )
        needed = {"column": "split", "group": "group"}.get(self.params.split_by)
        if needed and needed not in columns:
            raise InputError(
                f"{path}: split_by is {self.params.split_by}, but no column is the {needed}: give columns.{needed}, "
                f"one of {', '.join(names)}, or split_by: hash"
            )

    def field_kinds(self, folder: Path) -> dict[str, str]:
        """Return the fields as params.yaml fixes them; where they were guessed, all their cells tell the kinds."""
        kinds: Kinds = dict(json.loads((folder / READING).read_text(encoding="utf8")).get("fields", []))
        return dict.fromkeys(kinds, AUTO) if self.params.columns.fields == AUTO else kinds

    def users(self, folder: Path) -> Users | None:
        """Return what the table of users tells, where there is one."""
        notes = json.loads((folder / READING).read_text(encoding="utf8")).get("ratings", {})
        return read_users(folder, self.params.ratings.users, notes["users"])[0] if "users" in notes else None

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield samples in the order of their first rows, their files one at a time in memory."""
        notes = json.loads((folder / READING).read_text(encoding="utf8"))
        columns: dict[str, str] = notes["columns"] | roles_of(dict(notes.get("fields", [])))
        self._targets = read_targets(notes.get("targets"))
        path = folder / self.params.table
        layout = Layout(**notes["layout"]) if "layout" in notes else None
        split_column = columns.get("split", "")
        words = {row.cells.get(split_column, "").lower() for row in read_rows(path, layout)}
        present = {SPLIT_OF[word] for word in words & SPLIT_OF.keys()}
        self._ratings = Ratings({})
        if "ratings" in notes:
            ids = ids_of(read_rows(path, layout), columns["id"])
            self._ratings, faulty = read_ratings(folder, self.params, notes["ratings"], ids)
            yield from faulty
            if "users" in notes["ratings"]:
                yield from read_users(folder, self.params.ratings.users, notes["ratings"]["users"])[1]
        with open_archive(folder / MEDIA, JUDGED) as archive:
            media = PackedMedia(archive, notes["faults"])
            for rows in grouped(read_rows(path, layout), columns):
                questions, faults = questions_of(path.name, rows, columns)
                yield from faults
                yield self._sample(rows, columns, media, questions, present)

    def _sample(
        self,
        rows: list[Row],
        columns: dict[str, str],
        media: PackedMedia,
        questions: tuple[Question, ...],
        present: set[str],
    ) -> RawSample:
        """Make a sample of rows that differ in their question or text alone."""
        first = rows[0]
        value = {role: first.cells[name] for role, name in columns.items() if name in first.cells}
        sample_id = value.get("id", f"row-{first.number:05d}")
        fault = first.fault or odd_cell(rows, columns)
        split: str | None = "train"  # of a faulty row too, so that it counts among the bad ones
        found, told = dict[str, bytes | None](), dict[str, Any]()
        if fault is None:
            try:
                told = self._targets.of(rows)
                found = {medium: media.read(value.get(medium)) for medium in MEDIA_NAMES}
                medium = next(filter(None, found.values()), None)
                split = self._split(value, split_key(first, value, medium), present, "split" in columns)
            except ValueError as error:
                fault = str(error)
        ratings = self._ratings.of(sample_id, split)
        if fault and ratings:
            fault += f"; its {len(ratings)} ratings go with it"
        return RawSample(
            sample_id=sample_id,
            split=split,
            image=found.get("image"),
            audio=found.get("audio"),
            video=found.get("video"),
            texts=tuple(dict.fromkeys(row.cells[columns["text"]] for row in rows if columns.get("text") in row.cells)),
            message=value.get("message"),
            transcript=value.get("transcript"),
            questions=questions,
            fields=fields_of(value),
            ratings=ratings,
            label=label_of(value.get("label")),
            **told,
            group=value.get("group"),
            fault=fault and f"{self.params.table}: row {first.number}: {fault}",
        )

    def _split(self, value: dict[str, str], key: str, present: set[str], has_column: bool) -> str | None:
        """Return a row's split; None for an empty cell of the split column."""
        val_fraction, test_fraction = self.params.val_fraction, self.params.test_fraction
        if self.params.split_by == "group":
            if "group" not in value:
                raise _RowError("no group, and split_by is group")
            return split_by_hash(value["group"], val_fraction, test_fraction)
        if self.params.split_by == "hash" or (self.params.split_by == "auto" and not has_column):
            return split_by_hash(key, val_fraction, test_fraction)
        word = value.get("split")
        if word is None:
            return None
        if word.lower() not in SPLIT_OF:
            raise _RowError(f"split {word!r}; expected train, val or test")
        return completed_split(SPLIT_OF[word.lower()], key, present, val_fraction, test_fraction)


def _counts(path: Path, found: Found | None, columns: dict[str, str]) -> dict[str, int]:
    """Count rows: those read are the empty ones, the samples, and what joins the sample of a row before."""
    layout = found.layout if found else None
    sizes = [len(rows) for rows in grouped(read_rows(path, layout), columns)]
    filled = sum(sizes)
    read = found.num_records - first_row(path, found.layout) if found else filled
    return {"rows_read": read, "rows_empty": read - filled, "rows_joined": filled - len(sizes)}


class _RowError(ValueError):
    """A row cannot be used; the text says why."""
