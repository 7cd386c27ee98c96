"""Rollback: the champion before comes back, and the one it replaces never by itself again.

The registry alone says what was champion before; the move is written ahead like every other (`registry.journal`),
so a rollback that was cut off is finished by running it, or `python -m stages.register <name> --recover`, once more.

Run it: `python -m flows.rollback <name> [--reason TEXT] [--to VERSION]`.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from flows.graph import settings
from stages.base.errors import InputError
from stages.base.store import locked, say
from stages.params.cli import main
from stages.registry.journal import forbidden, history, move, recover
from stages.registry.registry import champion_of, fault_of, forget_record, get_version, require_model
from stages.registry.versions import STAGE, require_movable


def rollback(mlflow_client: Any, name: str, why: str, to: int | None = None) -> int:
    """Make the champion before (or version `to`) champion again and forbid the present one; return its number.

    Raises:
        InputError: when there is no champion, nothing to go back to, or `to` may not become champion.
    """
    recover(mlflow_client, name)
    bad = champion_of(mlflow_client, name)
    if bad is None:
        raise InputError(f"{name} has no champion to roll back; `python -m stages.register --list` shows what there is")
    if to is None:
        to = champion_before(mlflow_client, name, bad)
    else:
        require_movable(mlflow_client, name, to)
    move(mlflow_client, name, to, why, forbids=True)
    forget_record(name)
    say(f"{name}: version {to} is champion, version {bad} is forbidden: {why}")
    return to


def champion_before(mlflow_client: Any, name: str, bad: int) -> int:
    """Return the newest former champion that is whole and not forbidden.

    Raises:
        InputError: when there is none.
    """
    known: list[int] = [bad]
    passed = []
    for entry in reversed([entry for entry in history(mlflow_client, name) if entry.done]):
        for number in (entry.to, entry.before):
            if number is None or number in known:
                continue
            known.append(number)
            version = get_version(mlflow_client, name, number)
            reason = (forbidden(version) if version else None) or fault_of(mlflow_client, name, number)
            if reason is None:
                return number
            passed.append(f"version {number} cannot come back: {reason}")
    found = "; ".join(passed) or "no other version was ever champion"
    raise InputError(f"{name}: there is no champion before version {bad}: {found}; give one with --to <version>")


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.rollback", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", help="a registered model")
    parser.add_argument("--reason", default="no reason given", metavar="TEXT", help="why the champion is bad")
    parser.add_argument("--to", type=int, metavar="VERSION", help="the version to go back to (default: the one before)")
    args = parser.parse_args(argv)
    settings.apply()
    os.chdir(settings.project_root())
    from stages.base.tracking import client, needs_server

    with needs_server():
        mlflow_client = client()
        name = require_model(mlflow_client, args.name)
        with locked(f"{STAGE}-{name}"):
            rollback(mlflow_client, name, args.reason, args.to)


if __name__ == "__main__":
    main(command)
