"""A data set on one screen, as the model will see it: counted from the prepared Parquet, not from the source.

What a person should look at stands in lines that begin with `!`.
"""

import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from stages.base.store import FIELDS, MEDIA, QUARANTINE_FILE, SPLITS, read_manifest
from stages.media.colours import SAID, WHITE
from stages.media.columns import Columns, read_columns
from stages.media.text import tokenize
from stages.samples.fields import Told
from stages.samples.media import MOST_NAMED, OF_VIDEOS, PAIRS_NAMED, Equal, Images, Sounds, Videos, counted
from stages.samples.ratings import Ratings

ROWS_AT_A_TIME = 64


@dataclass
class Texts:
    """What is told of a column of texts."""

    column: str
    num_samples: int = 0
    words: list[int] = field(default_factory=list)
    scripts: Counter[str] = field(default_factory=Counter)
    equal: Equal = field(default_factory=Equal)

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        self.num_samples += 1
        texts = row[self.column]
        texts = texts if isinstance(texts, list) else [texts]
        cut = [tokenize(text) for text in texts]
        self.words += map(len, cut)
        self.scripts.update(map(script, texts))
        if not any(row.get(medium) for medium in MEDIA):  # beside a medium, the same words may be said of another one
            self.equal.add(" ".join(cut[0]).encode(), row["sample_id"], split)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        several = f" of {self.num_samples} samples" if len(self.words) != self.num_samples else ""
        length = f"{min(self.words)} to {max(self.words)} words, median {statistics.median(self.words):g}"
        yield f"{self.column}: {len(self.words)}{several}, {length}; in {counted(self.scripts)}"
        yield from self.equal.lines("texts (by their words)")


@dataclass
class Classes:
    """What is told of labels, answers or groups: how many of each on each split."""

    column: str
    found: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        value = row[self.column]
        for name in value if isinstance(value, list) else [value]:
            if name:
                self.found[name][split] += 1

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        by_size = sorted(self.found.items(), key=lambda item: (-item[1].total(), item[0]))
        named = ", ".join(f"{name} {'/'.join(str(n[s]) for s in SPLITS)}" for name, n in by_size[:MOST_NAMED])
        more = f", and {len(by_size) - MOST_NAMED} more" if len(by_size) > MOST_NAMED else ""
        yield f"{self.column}: {len(by_size)} different ({'/'.join(SPLITS)}): {named}{more}"
        unknown = [name for name, counts in by_size if not counts["train"]]
        if self.column == "group":
            several = [name for name, counts in by_size if len(counts) > 1]
            if several:
                yield f"group: {len(several)} are on several splits, such as {', '.join(several[:PAIRS_NAMED])}"
        elif unknown:
            yield f"! {self.column}: {len(unknown)} not in training: {', '.join(unknown[:MOST_NAMED])}"


@dataclass
class Numbers:
    """What is told of numbers to be predicted: how many of each on each split, and where they lie."""

    found: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        for name, value in row["numbers"]:
            self.found[name][split].append(value)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        for name, by_split in sorted(self.found.items()):
            values = sorted(value for found in by_split.values() for value in found)
            counts = "/".join(str(len(by_split[split])) for split in SPLITS)
            middle = f"median {statistics.median(values):g}, mean {statistics.fmean(values):.4g}"
            yield f"number {name}: {counts} ({'/'.join(SPLITS)}), {values[0]:g} to {values[-1]:g}, {middle}"


class Overview:
    """What the rows of a prepared data set hold, in lines for a person."""

    def __init__(self, columns: Columns | None = None) -> None:
        """Start with nothing seen; `columns` are those of fields, where there are any."""
        self._parts: dict[str, Images | Sounds | Videos | Texts | Classes | Numbers | Ratings | Told]
        self._parts = {"image": Images(), "audio": Sounds(), "video": Videos()}
        self._parts |= {column: Texts(column) for column in ("texts", "message", "questions")}
        self._parts |= {column: Classes(column) for column in ("answers", "label", "tags", "group")}
        self._parts["numbers"] = Numbers()
        self._parts["rating_users"] = Ratings()
        self._parts |= {FIELDS: Told(columns)} if columns else {}
        self._seen: set[str] = set()

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row of the Parquet."""
        for column, part in self._parts.items():
            if row.get(column):
                self._seen.add(column)
                part.add(row, split)

    def lines(self) -> Iterator[str]:
        """Say what was found, column by column."""
        for column, part in self._parts.items():
            if column in self._seen:
                yield from part.lines()


def screen(folder: Path) -> str:
    """Return a prepared data set on one screen.

    Raises:
        InputError: when the folder holds no complete artifact.
    """
    manifest = read_manifest(folder)
    overview = Overview(read_columns(folder))
    for row, split in prepared_rows(folder):
        overview.add(row, split)
    background = manifest["params"].get("prepare", {}).get("transparent_on", WHITE)
    lines = [*_counts(manifest["counts"], background), *overview.lines(), *_put_aside(folder / QUARANTINE_FILE)]
    return "\n".join([f"data set {manifest['name']}, as the model will see it", *(f"  {line}" for line in lines)])


def prepared_rows(folder: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield (row, split) of a prepared data set, few in memory at a time."""
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}-*.parquet")):
            file = pq.ParquetFile(path, pre_buffer=False)  # which would read ahead
            for batch in file.iter_batches(ROWS_AT_A_TIME):
                for row in batch.to_pylist():
                    yield row, split


def _counts(counts: dict[str, int], background: str) -> Iterator[str]:
    kept = sum(counts[split] for split in SPLITS)
    read = kept + counts["bad_samples"] + counts["not_on_a_split"]
    if "rows_read" in counts:
        rows, empty, joined = (counts[f"rows_{kind}"] for kind in ("read", "empty", "joined"))
        yield (
            f"{'' if rows == read + empty + joined else '! '}rows: {rows} read = {read} samples + {empty} empty + "
            + (f"{joined} that belong to a sample above")
        )
    yield f"samples: {read} read = {kept} kept + {counts['bad_samples']} put aside + " + (
        f"{counts['not_on_a_split']} on no split"
    )
    yield "splits: " + ", ".join(f"{split} {counts[split]}" for split in SPLITS)
    if told := altered(counts, background):
        yield f"altered images: {told}"
    if OF_VIDEOS in counts:
        yield f"sounds: {counts[OF_VIDEOS]} are those of their videos"


def altered(counts: Mapping[str, int], background: str) -> str:
    """Say how many images were altered in which way, by the keys of `colours.SAID`; empty where none was."""
    found = (f"{counts[key]} {text.format(background=background)}" for key, text in SAID.items() if counts.get(key))
    return ", ".join(found)


def _put_aside(path: Path) -> Iterator[str]:
    found = pq.read_table(path).to_pylist()
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in found:
        by_reason[row["reason"]].append(row["where"])
    for reason, where in sorted(by_reason.items(), key=lambda item: -len(item[1]))[:MOST_NAMED]:
        yield f"! put aside: {len(where)} times {reason}: {', '.join(where[:PAIRS_NAMED])}"
    if len(by_reason) > MOST_NAMED:
        yield f"! put aside: {len(by_reason) - MOST_NAMED} more reasons, all in {path}"


def script(text: str) -> str:
    """Return the script that most letters of a text belong to, by Unicode's names; `signs` where it has no letter.

    >>> script("two dogs"), script("两只狗"), script("👍")
    ('Latin', 'Han', 'signs')
    """
    if text.isascii():  # the usual case, quickly
        return "Latin" if any(map(str.isalpha, text)) else "signs"
    found = Counter(filter(None, map(_script_of, text)))
    return max(found, key=lambda name: (found[name], name)) if found else "signs"


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    if not letter.isalpha():
        return ""
    word = unicodedata.name(letter, "UNNAMED").split()[0].partition("-")[0]
    return "Han" if word == "CJK" else word.capitalize()
