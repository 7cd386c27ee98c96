"""The journal of an alias: every move of `champion`, written ahead, so that a move that was cut off is finished.

It stands in the registry itself, as numbered tags of the registered model. MLflow sets an alias in one step but has
no compare-and-set, so moves of one model run under a lock of the project; what somebody moves by hand in MLflow is
noted when it is next seen.
"""

import dataclasses
import getpass
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stages.base.errors import InputError
from stages.base.store import say
from stages.registry.lineage import PREFIX
from stages.registry.registry import CHALLENGER, CHAMPION, aliases_of, champion_of, fault_of, get_version

MOVE_TAG = f"{PREFIX}{CHAMPION}."  # and six digits
FORBIDDEN_TAG = f"{PREFIX}forbidden"
MAX_WHY = 2000  # characters; MLflow's databases hold 5000 in a tag of a registered model


@dataclass(frozen=True)
class Move:
    """One move of the alias: from a version (None: there was none) to another (None: it was taken away)."""

    number: int
    to: int | None
    before: int | None
    when: str  # UTC, ISO 8601
    who: str
    why: str
    forbids: bool = False  # the version before, from now on
    done: bool = False
    dropped: str = ""  # why it will never be done

    @property
    def is_open(self) -> bool:
        """Tell whether it was begun and neither done nor dropped."""
        return not self.done and not self.dropped


def history(mlflow_client: Any, name: str) -> list[Move]:
    """Return all moves, oldest first; none when nothing is registered under the name."""
    if not mlflow_client.search_registered_models(f"name = '{name}'"):
        return []
    tags = mlflow_client.get_registered_model(name).tags
    return [_read(key, tags[key]) for key in sorted(tags) if key.startswith(MOVE_TAG)]


def move(mlflow_client: Any, name: str, to: int, why: str, forbids: bool = False) -> None:
    """Make a version champion; `forbids` keeps the one before from ever coming back by itself.

    Raises:
        InputError: when the version is not whole.
    """
    fault = fault_of(mlflow_client, name, to)
    if fault:
        raise InputError(f"{name}: version {to} is not whole: {fault}; no alias may point to it, delete it in MLflow")
    entry = _next(mlflow_client, name, to, champion_of(mlflow_client, name), why)
    entry = dataclasses.replace(entry, forbids=forbids and entry.before is not None)
    _write(mlflow_client, name, entry)
    _finish(mlflow_client, name, entry)


def recover(mlflow_client: Any, name: str) -> None:
    """Finish the move that was cut off, if any, and note what was moved by hand; repeated, it changes nothing."""
    for entry in history(mlflow_client, name):
        if entry.is_open:
            _settle_open(mlflow_client, name, entry)
    now = champion_of(mlflow_client, name)
    done = [entry for entry in history(mlflow_client, name) if entry.done]
    last = done[-1].to if done else None
    if now != last:
        why = f"the alias was found here, moved past the journal{'' if done else ' or before it began'}"
        entry = dataclasses.replace(_next(mlflow_client, name, now, last, why), who="unknown", done=True)
        _write(mlflow_client, name, entry)
        say(f"{name}: {CHAMPION} was moved by hand from version {last} to {now}; noted")


def _settle_open(mlflow_client: Any, name: str, entry: Move) -> None:
    """Finish an open move, or drop one that may not be finished."""
    assert entry.to is not None, "moves to nothing are noted when they are done"
    now = champion_of(mlflow_client, name)
    fault = fault_of(mlflow_client, name, entry.to)
    if fault:
        dropped = f"version {entry.to} is not whole: {fault}"
    elif now not in (entry.to, entry.before):
        dropped = f"the alias was moved to version {now} by hand meanwhile"
    else:
        _finish(mlflow_client, name, entry)
        say(f"{name}: finished the move of {CHAMPION} to version {entry.to}, which was cut off")
        return
    _write(mlflow_client, name, dataclasses.replace(entry, dropped=dropped))
    say(f"{name}: dropped the move of {CHAMPION} to version {entry.to}, which was cut off: {dropped}")


def _finish(mlflow_client: Any, name: str, entry: Move) -> None:
    """Do what an entry says; each step may be done already."""
    to = str(entry.to)
    if entry.forbids and get_version(mlflow_client, name, entry.before or 0):
        note = {"why": entry.why, "when": entry.when, "who": entry.who}
        mlflow_client.set_model_version_tag(name, str(entry.before), FORBIDDEN_TAG, json.dumps(note))
    mlflow_client.set_registered_model_alias(name, CHAMPION, to)
    if CHALLENGER in aliases_of(mlflow_client, name, to):
        mlflow_client.delete_registered_model_alias(name, CHALLENGER)
    for key, value in {"at": entry.when, "by": entry.who, "why": entry.why}.items():
        mlflow_client.set_model_version_tag(name, to, f"{PREFIX}promoted_{key}", value)
    _write(mlflow_client, name, dataclasses.replace(entry, done=True))


def forbidden(version: Any) -> str | None:
    """Say why, by whom and when a version was forbidden, or None."""
    found = version.tags.get(FORBIDDEN_TAG)
    if not found:
        return None
    note = json.loads(found)
    return f"version {version.version} is forbidden since {note['when']} by {note['who']}: {note['why']}"


def allow(mlflow_client: Any, name: str, number: int) -> None:
    """Take back that a version is forbidden."""
    mlflow_client.delete_model_version_tag(name, str(number), FORBIDDEN_TAG)


def _next(mlflow_client: Any, name: str, to: int | None, before: int | None, why: str) -> Move:
    """Return the entry after the last one."""
    found = history(mlflow_client, name)
    number = found[-1].number + 1 if found else 1
    cut = why if len(why) <= MAX_WHY else why[: MAX_WHY - 4] + " ..."
    return Move(number, to, before, datetime.now(UTC).isoformat(timespec="seconds"), _who(), cut)


def _who() -> str:
    """Return the tracking server's user where one is named, else user and host."""
    named = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if named:
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _write(mlflow_client: Any, name: str, entry: Move) -> None:
    value = dataclasses.asdict(entry)
    key = f"{MOVE_TAG}{value.pop('number'):06d}"
    value["from"] = value.pop("before")
    mlflow_client.set_registered_model_tag(name, key, json.dumps(value, ensure_ascii=False, sort_keys=True))


def _read(key: str, text: str) -> Move:
    value = json.loads(text)
    value["before"] = value.pop("from")
    return Move(number=int(key.removeprefix(MOVE_TAG)), **value)
