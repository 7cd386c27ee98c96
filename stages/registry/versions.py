"""What the command line of `register` does with versions: list them, tell their history, promote one by hand."""

import argparse
import json
from typing import Any

from stages.base.errors import InputError
from stages.base.store import locked, say
from stages.registry.journal import Move, allow, forbidden, history, move, recover
from stages.registry.lineage import PREFIX
from stages.registry.registry import CHAMPION, aliases_of, champion_of, forget_record, require_model, require_version
from stages.registry.start import start_from

STAGE = "register"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run_versions` understands."""
    parser.add_argument("--list", action="store_true", help="print versions, aliases, scores and lineage")
    parser.add_argument("--history", action="store_true", help="print how the champion of NAME came to be")
    parser.add_argument("--recover", action="store_true", help="finish a promotion of NAME that was cut off")
    parser.add_argument("--start", choices=["none", "champion"], help="what the next training of NAME starts from")
    parser.add_argument("--promote", type=int, metavar="VERSION", help="make a version champion past the gate")
    parser.add_argument("--reason", metavar="TEXT", help="why, for --promote")
    parser.add_argument("--allow", action="store_true", help="for --promote: the version is no longer forbidden")


def run_versions(args: argparse.Namespace) -> bool:
    """Do what the arguments ask of versions; tell whether they asked for anything."""
    from stages.base.tracking import client

    if args.list:
        list_versions()
        return True
    if not (args.history or args.recover or args.start or args.promote is not None):
        return False
    mlflow_client = client()
    if args.start:
        choose_start(mlflow_client, args.name, args.start)
        return True
    name = require_model(mlflow_client, args.name)
    if args.history:
        show_history(history(mlflow_client, name), name)
        return True
    with locked(f"{STAGE}-{name}"):
        recover(mlflow_client, name)
        if args.promote is not None:
            if not args.reason:
                raise InputError("say why: python -m stages.register <name> --promote <version> --reason <text>")
            promote(mlflow_client, name, args.promote, args.reason, args.allow)
    return True


def choose_start(mlflow_client: Any, name: str, choice: str) -> None:
    """Let the next training of an experiment start from its champion, where it has one, or from nothing."""
    number = champion_of(mlflow_client, name) if choice == CHAMPION else None
    start_from(mlflow_client, name, number)
    told = "nothing" if number is None else f"the champion, version {number}"
    say(
        f"{name}: the next training starts from {told}"
        + (", as there is no champion" if choice == CHAMPION and number is None else "")
    )


def promote(mlflow_client: Any, name: str, number: int, why: str, allowed: bool = False) -> None:
    """Make a version champion by hand, past the gate; `allowed` takes back that it is forbidden.

    Raises:
        InputError: when there is no such version, it is champion already, or it is forbidden.
    """
    require_movable(mlflow_client, name, number, allowed)
    if allowed:
        allow(mlflow_client, name, number)
    move(mlflow_client, name, number, f"by hand: {why}")
    forget_record(name)
    say(f"{name}: version {number} is champion")


def require_movable(mlflow_client: Any, name: str, number: int, allowed: bool = False) -> None:
    """Refuse a version that may not become champion by hand.

    Raises:
        InputError: saying why, and what to do.
    """
    version = require_version(mlflow_client, name, number)
    if champion_of(mlflow_client, name) == number:
        raise InputError(f"{name}: version {number} is the champion already")
    reason = forbidden(version)
    if reason and not allowed:
        again = f"python -m stages.register {name} --promote {number} --allow --reason <text>"
        raise InputError(f"{name}: {reason}; `{again}` allows it again")


def show_history(moves: list[Move], name: str) -> None:
    """Print the moves of a model's champion, oldest first."""
    from rich.console import Console
    from rich.table import Table

    if not moves:
        say(f"{name}: no version was ever champion")
        return
    table = Table("move", "when (UTC)", "from", "to", "who", "state", "why")
    for entry in moves:
        state = "done" if entry.done else f"dropped: {entry.dropped}" if entry.dropped else "begun"
        if entry.forbids:
            state += f", {entry.before} forbidden"
        ends = ("-" if number is None else str(number) for number in (entry.before, entry.to))
        table.add_row(str(entry.number), entry.when[:16].replace("T", " "), *ends, entry.who, state, entry.why)
    Console().print(table)


def list_versions() -> None:
    """Print versions, aliases, scores and lineage of all registered models."""
    from rich.console import Console
    from rich.table import Table

    from stages.base.tracking import client

    mlflow_client = client()
    table = Table("model", "version", "aliases", "score", "data", "params", "commit")
    reasons = []
    for model in mlflow_client.search_registered_models():
        versions = mlflow_client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(versions, key=lambda version: int(version.version)):
            metrics = mlflow_client.get_run(version.run_id).data.metrics
            tags = {key.removeprefix(PREFIX): value for key, value in version.tags.items()}
            decision = json.loads(tags.get("decision", '{"reasons": ["not decided"]}'))
            out = forbidden(version)
            table.add_row(
                model.name,
                str(version.version),
                ", ".join(aliases_of(mlflow_client, model.name, version.version) + (["forbidden"] if out else [])),
                _headline(metrics, tags),
                *(tags.get(key, "")[:8] for key in ("data", "params", "git_commit")),
            )
            told = [*decision["reasons"], *([out] if out else [])]
            reasons.append(f"{model.name} {version.version}: {'; '.join(told)}")
    if table.row_count:
        Console().print(table)
        say("\n".join(reasons))
    else:
        say("no model is registered; run `dvc repro`")


def _headline(metrics: dict[str, float], tags: dict[str, str]) -> str:
    """Return a version's headline metric with its name."""
    name = tags.get("headline", "")
    value = metrics.get(f"test_{name}")
    return "" if value is None else f"{name} {value:.4f}"
