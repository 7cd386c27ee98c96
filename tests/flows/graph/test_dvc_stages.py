"""Stages run by a real DVC: what it did with each, what a failing one said, and what a kill leaves behind."""

import os
import shutil
import time
from pathlib import Path

import psutil
import pytest

from flows.graph import dependencies, dvc_stages, sessions
from flows.graph.dvc_stages import Outcome, StageError, StageRun
from tests.conftest import calls, is_alive

STAGES = [
    "download@scenes",
    "features@scenes-text",
    "features@scenes-image",
    "train@caption",
    "register@caption",
]


def ignore(_: object) -> None:
    pass


def outcomes(runs: list[StageRun]) -> dict[str, Outcome]:
    return {run.name: run.outcome for run in runs}


def test_stages_come_in_the_order_of_the_graph_with_ties_as_written(toy: Path):
    assert dependencies.stage_names(toy) == STAGES
    assert dependencies.stage_names(str(toy)) == STAGES


def test_dependencies_are_those_of_the_graph(toy: Path):
    graph = dependencies.dependencies(toy)
    assert graph["train@caption"] == ["features@scenes-image", "features@scenes-text"]
    assert graph["download@scenes"] == []


def test_a_stage_of_another_dvc_yaml_has_the_address_that_dvc_takes(toy: Path):
    (toy / "more").mkdir()
    (toy / "more" / "dvc.yaml").write_text("stages: {extra: {cmd: echo extra > e, outs: [e]}}")
    assert "more/dvc.yaml:extra" in dependencies.stage_names(toy)
    run = dvc_stages.run_stage(toy, "more/dvc.yaml:extra", ignore)
    assert (run.name, run.outcome) == ("more/dvc.yaml:extra", Outcome.RAN)


def test_a_broken_graph_is_told_in_words(toy: Path):
    (toy / "dvc.yaml").write_text("stages: {bad: {}}")
    with pytest.raises(StageError, match="dvc failed: .*dvc.yaml' validation failed: required key not provided"):
        dependencies.dependencies(toy)


def test_the_lines_that_are_parsed_are_the_lines_that_dvc_prints(toy: Path):
    lines: list[str] = []
    cached = dvc_stages.run_stage(toy, "train@caption", lines.append)
    assert "Stage 'train@caption' didn't change, skipping" in lines
    shutil.rmtree(toy / "artifacts/train/caption")
    restored = dvc_stages.run_stage(toy, "train@caption", lines.append)
    assert "Stage 'train@caption' is cached - skipping run, checking out outputs" in lines
    ran = dvc_stages.run_stage(toy, "train@caption", lines.append, force=True)
    assert "Running stage 'train@caption':" in lines
    assert [run.outcome for run in (cached, restored, ran)] == [Outcome.CACHED, Outcome.RESTORED, Outcome.RAN]
    assert calls(toy) == ["train@caption"]


def test_a_stage_runs_alone_and_with_the_python_of_this_environment(toy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", os.defpath)
    (toy / "settings.txt").write_text("second")
    lines: list[str] = []
    run = dvc_stages.run_stage(toy, "train@caption", lines.append)
    assert run.outcome is Outcome.RAN
    assert run.seconds > 0
    assert "at work on train@caption" in lines
    assert calls(toy) == ["train@caption"]


def test_progress_goes_to_its_callback_and_only_when_there_is_one(toy: Path):
    lines: list[str] = []
    told: list[tuple[str, float]] = []
    dvc_stages.run_stage(toy, "train@caption", lines.append, force=True)
    dvc_stages.run_stage(
        toy,
        "train@caption",
        lines.append,
        force=True,
        on_progress=lambda name, part: told.append((name, part)),
    )
    assert told == [("train@caption", 0.42)]
    assert not [line for line in lines if "PROGRESS" in line]


def test_one_repro_tells_of_every_stage(toy: Path):
    (toy / "settings.txt").write_text("second")
    shutil.rmtree(toy / "artifacts/features/scenes-text")
    done: list[StageRun] = []
    runs = dvc_stages.repro(toy, ignore, done.append)
    assert done == runs
    assert outcomes(runs) == {
        "download@scenes": Outcome.CACHED,
        "features@scenes-text": Outcome.RESTORED,
        "features@scenes-image": Outcome.CACHED,
        "train@caption": Outcome.RAN,
        "register@caption": Outcome.RAN,
    }
    assert all(run.seconds >= 0 for run in runs)
    assert calls(toy) == ["train@caption", "register@caption"]


def test_targets_take_only_the_stages_before_them(toy: Path):
    runs = dvc_stages.repro(toy, ignore, ignore, ["features@scenes-text"])
    assert outcomes(runs) == {"download@scenes": Outcome.CACHED, "features@scenes-text": Outcome.CACHED}


def test_a_failing_stage_shows_its_own_last_lines_without_those_of_dvc(toy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOY_FAIL", "train@caption")
    (toy / "settings.txt").write_text("second")
    own = ("at work on train@caption", "ERROR: the stage's own word", "the toy is broken")
    with pytest.raises(StageError) as single:
        dvc_stages.run_stage(toy, "train@caption", ignore)
    with pytest.raises(StageError) as whole:
        dvc_stages.repro(toy, ignore, ignore)
    for error in (single.value, whole.value):
        assert (error.name, error.reason, error.lines) == ("train@caption", "exit code 1", own)
        assert str(error) == "\n".join(("train@caption failed: exit code 1", *own))


def test_an_output_that_is_missing_is_told_by_dvc(toy: Path):
    work = (toy / "work.py").read_text().replace('write(stage, "out.json", text)', "print('nothing written')")
    (toy / "work.py").write_text(work)
    with pytest.raises(StageError) as caught:
        dvc_stages.repro(toy, ignore, ignore)
    assert caught.value.name == "download@scenes"
    assert "artifacts/download/scenes" in caught.value.reason
    assert "does not exist" in caught.value.reason
    assert "nothing written" in caught.value.lines


def test_an_input_that_is_missing_is_not_blamed_on_the_stage_before(toy: Path):
    (toy / "work.py").write_text((toy / "work.py").read_text() + "# changed")
    (toy / "settings.txt").unlink()
    with pytest.raises(StageError) as caught:
        dvc_stages.repro(toy, ignore, ignore)
    assert (caught.value.name, caught.value.lines) == ("train@caption", ())
    assert "settings.txt" in caught.value.reason


def test_an_unknown_stage_is_told_by_dvc(toy: Path):
    with pytest.raises(StageError, match="Stage 'nope' not found"):
        dvc_stages.run_stage(toy, "nope", ignore)


@pytest.mark.parametrize("code, words", [(1, "exit code 1"), (-9, "signal SIGKILL"), (137, "signal SIGKILL")])
def test_an_exit_code_is_told_in_words(code: int, words: str):
    assert dvc_stages._exit_words(code) == words


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "ignores SIGTERM in a group of its own"])
def test_an_exception_leaves_no_process(toy: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool):
    monkeypatch.setattr(sessions, "GRACE_S", 1.0)
    monkeypatch.setenv("TOY_SLEEP", "train@caption")
    if stubborn:
        monkeypatch.setenv("TOY_STUBBORN", "1")
    pids: list[int] = []

    def interrupt(line: str) -> None:
        if line.startswith("asleep"):
            stage = psutil.Process(int(line.split()[1]))
            pids.extend([stage.pid, stage.ppid()])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dvc_stages.run_stage(toy, "train@caption", interrupt, force=True)
    assert pids
    time.sleep(0.2)
    assert not [pid for pid in pids if is_alive(pid)]
