"""`make` sets the environment up with uv where it is, else with pip, and says meanwhile how far it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PROJECT_FILE = """
[project]
name = "empty"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """
from zipfile import ZipFile

def build_editable(folder, settings=None, metadata=None):
    name = "empty-1-py3-none-any.whl"
    with ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("empty-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: empty\\nVersion: 1\\n")
        wheel.writestr("empty-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("empty-1.dist-info/RECORD", "")
    return name
"""
SLOW_UV = '#!/bin/sh\necho "$@" > asked\nsleep 3\nexit ${FAILS:-0}\n'


@pytest.fixture
def empty_project(tmp_path: Path) -> Path:
    """A project with the Makefile and no requirement, and a program `uv` that takes three seconds to note its call."""
    shutil.copyfile(PROJECT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT_FILE)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "uv").write_text(SLOW_UV)
    (tmp_path / "uv").chmod(0o755)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def install(project: Path, **variables: str) -> str:
    given = [f"{name}={value}" for name, value in {"PYTHON": sys.executable, **variables}.items()]
    done = subprocess.run(
        ["make", *given, ".venv/.ready"],
        cwd=project,
        env={**os.environ, "PATH": f"{project}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and (project / ".venv/.ready").exists(), done.stderr
    return done.stdout


def test_uv_takes_the_same_lock_with_hashes_and_the_size_is_told_meanwhile(empty_project: Path):
    told = install(empty_project, SAY_EVERY_S="1")
    asked = (empty_project / "asked").read_text()
    assert asked == "pip install --python .venv/bin/python --require-hashes -r requirements.lock\n"
    assert "into .venv with uv" in told and len(re.findall(r"^\.venv holds \d+ MB$", told, re.MULTILINE)) >= 2


def test_pip_does_it_without_uv(empty_project: Path):
    assert "into .venv with pip" in install(empty_project, UV="")
    assert not (empty_project / "asked").exists() and not (empty_project / ".venv/tmp").exists()


def test_pip_does_it_where_uv_fails(empty_project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAILS", "2")
    assert "uv could not: pip tries" in install(empty_project)
