"""What a rebuild found: each stage's outputs against the version's, and where they differ, in what."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from stages.base.addresses import without_credentials
from stages.base.tracking import flatten

MAX_DETAILS = 12  # of a stage
SAME, DIFFERS = "same bytes", "differs"


@dataclass(frozen=True)
class Comparison:
    """One stage of the rebuild beside the version's."""

    stage: str
    how: str
    """`ran`, or where its outputs come from."""
    seconds: float
    same: bool
    details: tuple[str, ...]
    """What differs, a line each."""


@dataclass(frozen=True)
class Found:
    """What is known of a stage of the version, or of its rebuild."""

    entry: dict[str, Any]
    """In dvc.lock; empty when it ran outside of DVC."""
    manifest: dict[str, Any]
    """As the stage wrote it; empty when it is not known."""
    metrics: dict[str, Any]
    """Of the stage `evaluate`."""


def compare(stage: str, how: str, seconds: float, version: Found, rebuilt: Found) -> Comparison:
    """Compare the digests in both dvc.lock, and in both manifests where the version has no dvc.lock."""
    if version.entry:
        same = _digests(version.entry, "outs") == _digests(rebuilt.entry, "outs")
    else:
        same = version.manifest == rebuilt.manifest
    found = [] if same else list(_differences(version, rebuilt))
    return Comparison(stage, how, seconds, same, tuple(_shortened(found)))


def _digests(entry: dict[str, Any], kind: str) -> dict[str, str]:
    return {item["path"]: item.get("md5", "") for item in entry.get(kind, [])}


def _differences(version: Found, rebuilt: Found) -> Iterator[str]:
    """Yield the metrics first, for they say how much it matters; then files, other values and code."""
    yield from _values(version.metrics, rebuilt.metrics)
    if not version.manifest:
        yield "which files is not known: no manifest of the version was kept"
        return
    files = [{name: file["sha256"] for name, file in found.manifest["files"].items()} for found in (version, rebuilt)]
    for name in sorted(files[0].keys() | files[1].keys()):
        if files[0].get(name) != files[1].get(name):
            yield f"{name}: {_where(name in files[0], name in files[1])}"
    rest = [{key: value for key, value in found.manifest.items() if key != "files"} for found in (version, rebuilt)]
    yield from _values(*rest)
    code = [_digests(found.entry, "deps") for found in (version, rebuilt)]
    for path in sorted(code[0].keys() & code[1].keys()):
        if path.startswith("stages/") and code[0][path] != code[1][path]:
            yield f"{path}: when the stage ran for the version, it was not what the version's commit has"


def _where(in_version: bool, in_rebuilt: bool) -> str:
    if in_version and in_rebuilt:
        return "other bytes"
    return "of the version alone" if in_version else "of the rebuild alone"


def _values(version: dict[str, Any], rebuilt: dict[str, Any]) -> Iterator[str]:
    """Yield each value that differs with both."""
    before, after = flatten(version), flatten(rebuilt)
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            yield f"{key}: {_shown(before.get(key))}, rebuilt {_shown(after.get(key))}"


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MAX_DETAILS else [*lines[:MAX_DETAILS], f"and {len(lines) - MAX_DETAILS} more"]


def read_found(entry: dict[str, Any], manifest: Path, metrics: Path | None) -> Found:
    """Read what is there of a stage's manifest and metrics, credentials in addresses left out."""
    numbers = _read(metrics) if metrics else {}
    numbers.pop("settings", None)
    return Found(entry, _read(manifest), numbers)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(without_credentials(path.read_text(encoding="utf8"))) if path.exists() else {}


def table(rows: Iterable[Comparison]) -> Table:
    """Return the table of stages: how each came about, and whether its outputs are the version's."""
    shown = Table("stage", "how", box=box.SIMPLE_HEAD)
    shown.add_column("seconds", justify="right")
    shown.add_column("outputs")
    for row in rows:
        shown.add_row(row.stage, row.how, f"{row.seconds:.1f}", SAME if row.same else DIFFERS)
    return shown


def details(rows: Iterable[Comparison]) -> Iterator[str]:
    """Yield lines that say in what the stages differ."""
    for row in rows:
        if not row.same:
            yield f"{row.stage} {DIFFERS} in"
            yield from (f"  {detail}" for detail in row.details)


def verdict(title: str, rows: list[Comparison], digests: tuple[str, str]) -> tuple[bool, str]:
    """Return whether the rebuild is the version to the byte, and that in a line; digests are (version's, rebuilt)."""
    different = [row.stage for row in rows if not row.same]
    if not different and digests[0] == digests[1]:
        return True, f"{SAME}: {title} is rebuilt, digest {digests[0][:12]}"
    if not different:
        return False, f"{DIFFERS}: {title} has the digest {digests[0][:12]}, its rebuild {digests[1][:12]}"
    model = "; the model and its evaluation are the same all the same" if digests[0] == digests[1] else ""
    return False, f"{DIFFERS}: {title} is not rebuilt to the byte; first in {different[0]}{model}"
