"""Scheduled retraining: look for new data, run what it changes, let the gate decide, and report.

With no new data and no changed code or params it ends within seconds as `NothingToDo`. One run at a time: a second
one, or one beside a `dvc repro` by hand, ends as `Refused`. A run that failed or was killed is made good by the next.

Run it: `python -m flows.retrain [--force] [--experiments ...]`; on a schedule: `make schedule`.
"""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import argparse
import sys

from flows.graph import settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description="Retrain on new data, once.")
    parser.add_argument("--force", action="store_true", help="run the stages even when nothing changed")
    parser.add_argument("--experiments", nargs="+", metavar="NAME", help="experiments of params.yaml (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    _ARGUMENTS = _arguments()  # before Prefect is imported: --help need not wait for it
settings.apply()

from flows.graph.prefect_server import run_once
from flows.retraining.flow import retrain


def main(arguments: argparse.Namespace) -> int:
    """Run the flow once; return the exit code."""
    return run_once(lambda: retrain(arguments.force, arguments.experiments, return_state=True))


if __name__ == "__main__":
    sys.exit(main(_ARGUMENTS))
