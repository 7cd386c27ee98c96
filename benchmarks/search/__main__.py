"""Run `python -m benchmarks.search`."""

from benchmarks.search import command
from stages.params.cli import main

main(command)
