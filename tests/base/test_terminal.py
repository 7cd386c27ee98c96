"""A command ends well wherever it is started: output that cannot show a letter, Python without docstrings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SAYS = """
from stages.base.errors import InputError
from stages.base.store import say
from stages.params.cli import main
def body(argv):
    say("bild_\\u00fc.png \\u6570\\u636e")
    raise InputError("\\u6570\\u636e")
main(body)
"""
PRINTS = """
from rich.table import Table
from flows.graph.terminal import console, stage_table
console().print(stage_table([("train@\\u6570\\u636e", "ran", 1.0)]))
"""
STAGES = [f"stages.{name}" for name in ("download", "prepare", "features", "train", "evaluate", "register", "serve")]
OFFERED = ("repro", "rebuild", "schedule", "results", "fusion_bench", "search", "preset", "rollback")
FLOWS = [f"flows.{name}" for name in OFFERED]
POOR = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **variables}
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=PROJECT, capture_output=True)


@pytest.mark.parametrize("poor", POOR, ids=str)
def test_letters_that_cannot_be_shown_are_escaped(poor):
    done = python("-c", SAYS, **poor)
    told = "\\xfc" if "latin-1" not in poor.values() else "ü"
    encoding = "latin-1" if "latin-1" in poor.values() else "ascii"
    assert done.stdout.decode(encoding) == f"bild_{told}.png \\u6570\\u636e\n"
    assert (done.returncode, done.stderr) == (1, b"error: \\u6570\\u636e\n")
    table = python("-c", PRINTS, **poor)
    assert table.returncode == 0, table.stderr
    assert b"train@\\u6570\\u636e" in table.stdout


@pytest.mark.parametrize("module", [*STAGES, *FLOWS])
def test_a_command_needs_no_docstring(module):
    done = python("-m", module, "--help", PYTHONOPTIMIZE="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"usage: ")
