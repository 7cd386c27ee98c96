"""The project's own tracking store, SQLite and files under `artifacts/mlflow`: whole or absent, wherever it lies.

MLflow makes its tables in seconds, and a kill in between leaves a database that it can never use; so the database
is made aside and moved in. MLflow keeps absolute addresses of files; those of a store that was moved or copied, with
its project or alone, are put right before it is used. A store elsewhere is never touched.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from stages.base.errors import InputError
from stages.base.store import ARTIFACTS, locked, say

LOCK = "tracking"
SQLITE = "sqlite:///"
FILES = "files"
BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own, of a database that is gone: they would damage the next one
TABLES = {"experiments", "runs", "logged_models", "model_versions", "alembic_version"}  # some of MLflow's
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def local_database() -> Path:
    """Return the place of the project's own database."""
    return (ARTIFACTS / "mlflow" / "mlflow.db").absolute()


def is_local(uri: str) -> bool:
    """Tell whether an address is that of the project's own store."""
    return uri == f"{SQLITE}{local_database()}"


def ready(uri: str) -> None:
    """Make the project's own store if it is absent, and put its addresses right if it was moved.

    Raises:
        InputError: when the database is damaged, naming it and the remedy.
    """
    database = local_database()
    if not is_local(uri) or not _needs_work(database):
        return
    with locked(LOCK):
        if _is_absent(database):
            _make(database)
        _relocate(database)


def _needs_work(database: Path) -> bool:
    return _is_absent(database) or bool(_bases_elsewhere(database))


def _is_absent(database: Path) -> bool:
    """Tell whether no database is there, or one without a single table, as a kill in its first moment leaves it."""
    return not database.exists() or (database.stat().st_size == 0)


def _make(database: Path) -> None:
    """Make the tables in a file beside the database's place, and move it in."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry

    database.parent.mkdir(parents=True, exist_ok=True)
    partial = database.with_name(f".{database.name}.partial")
    _remove(partial)
    try:
        engine = create_sqlalchemy_engine_with_retry(f"{SQLITE}{partial}")
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        _remove(database)
        os.replace(partial, database)
    finally:
        _remove(partial)


def _remove(database: Path) -> None:
    for path in (database, *(database.with_name(database.name + end) for end in BESIDE)):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection in which each statement is done at once; SQLite's errors say what is wrong with the file."""
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(f"the tracking store {database} {trouble(str(error), database)}") from None


def trouble(reason: str, database: Path) -> str:
    """Say what SQLite's reason means for a person, and what to do."""
    if "is full" in reason or "disk I/O error" in reason:
        return f"cannot grow ({reason}): make room on the disk of {database.parent} and run the same command again"
    if "readonly" in reason or "unable to open" in reason:
        return (
            f"cannot be written ({reason}): make room in {database.parent} and let this user write there, or set "
            "MLFLOW_TRACKING_URI"
        )
    if "locked" in reason:
        return "is in use by another process for too long; run the same command again when that has ended"
    return (
        f"is damaged ({reason}): put back a copy of it, or remove {database} and run `dvc repro --force` for the stage "
        "register; models that are trained stay"
    )


def _bases_elsewhere(database: Path) -> list[str]:
    """Return the addresses of other places that a store of this project has lain in, as its experiments say.

    Raises:
        InputError: when the database is damaged.
    """
    with _opened(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := sorted(TABLES - tables):
            raise sqlite3.DatabaseError(f"it has no table {missing[0]}: it was cut off while it was made")
        found = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    bases = {place.rpartition(f"/{FILES}/")[0] for (place,) in found if place and f"/{FILES}/" in place}
    return sorted(base for base in bases if base.startswith("file:") and _is_elsewhere(base, database.parent))


def _is_elsewhere(base: str, folder: Path) -> bool:
    """Tell whether an address means another folder than this one, which has the files now."""
    if base == folder.as_uri():
        return False
    there = Path(url2pathname(urlsplit(base).path))
    with contextlib.suppress(OSError):
        if there.samefile(folder):  # a link or a mount leads here
            return False
    return (folder / FILES).is_dir() or not there.exists()


def _relocate(database: Path) -> None:
    """Let all addresses of files below former places lead below the present one, in one transaction."""
    new = database.parent.as_uri()
    for old in _bases_elsewhere(database):
        with _opened(database) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table, column in ADDRESSES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
            connection.execute("COMMIT")
        say(f"the tracking store was moved here from {url2pathname(urlsplit(old).path)}: its addresses are put right")
