"""Rows that are one sample: brought together, and what they say that is no single cell."""

import json
from collections.abc import Iterable, Iterator

from stages.sources.base import Fault, Question
from stages.sources.splits import content_key
from stages.sources.table.labels import whole_number
from stages.sources.table.rows import Row


def grouped(rows: Iterable[Row], columns: dict[str, str]) -> Iterator[list[Row]]:
    """Bring together rows that are one sample, in the order of their first rows.

    These are questions about the same file or id and, in a table without labels, tags or numbers, texts that say what
    is in it; all other cells must be the same. Only such a table is held in memory, without its files.
    """
    anchors: tuple[str, ...]
    if "question" in columns:
        anchors, varying = ("image", "audio", "video", "id", "text"), {"question", "answer", "id"}
    elif "text" in columns and not {"label", "tags", "numbers"} & {role.partition(".")[0] for role in columns}:
        anchors, varying = ("image", "audio", "video", "id"), {"text", "id"}
    else:
        yield from ([row] for row in rows)
        return
    fixed = [columns[role] for role in columns if role not in varying]
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        anchor = next((row.cells[columns[r]] for r in anchors if columns.get(r) in row.cells), None)
        alone = anchor is None or row.fault
        key = (row.number,) if alone else (anchor, *(row.cells.get(name) for name in fixed))
        groups.setdefault(key, []).append(row)
    yield from groups.values()


def questions_of(table: str, rows: list[Row], columns: dict[str, str]) -> tuple[tuple[Question, ...], list[Fault]]:
    """Take the questions with their answers; a row with one of them alone is a fault."""
    found, faults = [], []
    for row in rows if "question" in columns else ():
        question, answer = (row.cells.get(columns[role]) for role in ("question", "answer"))
        if question and answer:
            found.append(Question(question, whole_number(answer)))
        elif question or answer:
            lacks = "an answer" if question else "a question"
            faults.append(Fault(f"{table}: row {row.number}", f"{lacks} is missing"))
    return tuple(found), faults


def odd_cell(rows: list[Row], columns: dict[str, str]) -> str | None:
    """Name a cell of a used column that is neither text nor number."""
    for row in rows:
        for role, name in columns.items():
            if name in row.odd and not (role == "tags" and name in row.lists):
                return f"column {name} holds a {row.odd[name]}; expected text or a number"
    return None


def split_key(row: Row, value: dict[str, str], medium: bytes | None) -> str:
    """Return what a row's split depends on: its file's bytes, its id or its texts, never its place in the table."""
    if medium is not None:
        return content_key(medium)
    if "id" in value:
        return value["id"]
    texts = [value[role] for role in ("text", "message", "transcript") if role in value] or [value.get("question", "")]
    return "\n".join(filter(None, texts)) or json.dumps(row.cells, sort_keys=True)
