"""The command line that all stages share: `python -m stages.<stage> <name>`."""

import argparse
import errno
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.base.errors import InputError
from stages.base.terminal import escape_what_cannot_be_shown
from stages.params import Params, load_params


def stage_parser(stage: str, doc: str | None, named: bool = True) -> argparse.ArgumentParser:
    """Return a parser with a stage's params file and, where it works on one entry of its section, the entry's name."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{stage}", description=(doc or "").strip().partition("\n")[0]
    )
    if named:
        parser.add_argument("name", nargs="?", help="a name in the stage's section of params.yaml")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the params file")
    return parser


def run_named(args: argparse.Namespace, section: str, run: Callable[[Params, str], None]) -> None:
    """Run a stage for one entry of a section of params.yaml."""
    params = load_params(args.params)
    names = list(getattr(params, section))
    if args.name not in names:
        wrong = "give a name" if args.name is None else f"{section} has no {args.name!r}"
        raise InputError(f"{args.params}: {wrong}; expected one of {', '.join(names)}")
    run(params, args.name)


def main(body: Callable[[Sequence[str] | None], None]) -> None:
    """Run a command; a person's mistake ends in one message and exit status 1, a defect in a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    escape_what_cannot_be_shown()
    try:
        body(None)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = error.filename2 or error.filename or "an artifact"  # of a copy, where it was copied to
            sys.exit(f"error: no space left on the disk while writing {what}; make room and run the stage again")
        named = FileNotFoundError | PermissionError | IsADirectoryError
        if isinstance(error, named) or error.errno == errno.EROFS:
            sys.exit(f"error: {error.strerror}: {error.filename}")
        raise
    except KeyboardInterrupt:
        sys.exit(130)
