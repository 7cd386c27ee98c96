"""What a training of the retraining starts from is chosen just before it, and only where it is to run."""

import subprocess
from pathlib import Path

import pytest

from flows.graph.dvc_stages import StageError
from flows.retraining import start
from stages.base.store import VERSION_FILE, artifact_path, write_json

ROOT = Path("project")


class Register:
    """In the place of `python -m stages.register ... --start`: notes what it is asked."""

    def __init__(self, returncode: int = 0) -> None:
        self.asked: list[list[str]] = []
        self.returncode = returncode

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.asked.append(command[3:])
        return subprocess.CompletedProcess(command, self.returncode, "caption: starts from 3", "error: no registry\n")


class Silent:
    def info(self, message: str) -> None:
        """Say nothing."""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """A project whose trainings are to run, with a registry that answers."""
    fake = Register()
    monkeypatch.setattr(subprocess, "run", fake)
    monkeypatch.setattr(start, "changes", lambda root, names: names)
    monkeypatch.setattr(start, "get_run_logger", Silent)
    return fake


@pytest.fixture
def taken_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that DVC has run."""
    ran: list[str] = []
    monkeypatch.setattr(start, "run_stage", lambda root, name, on_line: ran.append(name))
    return ran


def test_a_training_that_is_to_run_gets_the_champion_and_dvc_sees_it(register, taken_in):
    start.choose_start(ROOT, "train@caption", "champion", force=False)
    assert register.asked == [["caption", "--start", "champion"]] and taken_in == ["start@caption"]


@pytest.mark.parametrize(
    ("name", "choice"), [("evaluate@caption", "champion"), ("prepare@scenes", "champion"), ("train@caption", "none")]
)
def test_other_stages_and_those_who_start_from_nothing_anyway_ask_no_registry(register, taken_in, name, choice):
    start.choose_start(ROOT, name, choice, force=True)
    assert register.asked == [] and taken_in == []


def test_a_training_that_will_not_run_is_left_unless_forced(register, taken_in, monkeypatch):
    monkeypatch.setattr(start, "changes", lambda root, names: [])
    start.choose_start(ROOT, "train@caption", "champion", force=False)
    assert register.asked == []
    start.choose_start(ROOT, "train@caption", "champion", force=True)
    assert register.asked == [["caption", "--start", "champion"]] and taken_in == ["start@caption"]


def test_what_lay_there_goes_when_trainings_start_from_nothing_again(register, taken_in, tmp_path):
    (tmp_path / artifact_path("start", "caption")).mkdir(parents=True)
    write_json(tmp_path / artifact_path("start", "caption") / VERSION_FILE, {"version": 3, "run_id": "a"})
    start.choose_start(tmp_path, "train@caption", "none", force=False)
    assert register.asked == [["caption", "--start", "none"]] and taken_in == ["start@caption"]


def test_a_registry_that_does_not_answer_fails_the_stage_with_its_reason(register, taken_in):
    register.returncode = 1
    with pytest.raises(StageError, match="no registry") as caught:
        start.choose_start(ROOT, "train@caption", "champion", force=False)
    assert "start@caption" in str(caught.value) and taken_in == []
