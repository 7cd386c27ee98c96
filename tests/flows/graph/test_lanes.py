"""Stages side by side: what may run beside what, by a real DVC, and what a failure or a full machine changes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.graph import lanes
from flows.graph.dependencies import dependencies, dependencies_and_changed
from flows.graph.dvc_stages import Outcome, StageError, StageRun
from flows.graph.lanes import Listener, chains, lane_count, run_in_lanes, touched
from tests.conftest import calls

GRAPH = {
    "prepare@a": [],
    "features@image": ["prepare@a"],
    "features@text": ["prepare@a"],
    "train@one": ["features@image"],
    "train@two": ["features@image", "features@text", "train@one"],
    "evaluate@one": ["features@image", "train@one"],
    "evaluate@two": ["features@text", "train@two"],
    "register@one": ["evaluate@one", "train@one"],
}
MEETS = """
import pathlib, sys, time
own, other = sys.argv[1:]
pathlib.Path(own).write_text("here")
deadline = time.monotonic() + 60
while not pathlib.Path(other).exists():
    if time.monotonic() > deadline:
        sys.exit("the other one never came")
    time.sleep(0.02)
"""


def ignore(*_: object) -> None:
    pass


def test_a_chain_holds_what_nothing_could_run_beside():
    assert chains(GRAPH) == [
        ("prepare@a",),
        ("features@image", "train@one"),
        ("features@text",),
        ("train@two", "evaluate@two"),
        ("evaluate@one", "register@one"),
    ]


def test_what_most_stages_wait_for_comes_first():
    graph = {"few": [], "many": [], "a": ["many"], "b": ["many"], "c": ["few"], "d": ["c", "a"], "e": ["b"]}
    assert lanes._by_followers(graph)[:2] == [("many",), ("few", "c")]


def test_touched_is_what_changed_and_what_reads_from_it():
    assert touched(GRAPH, {"features@text"}) == {
        "features@text": [],
        "train@two": ["features@text"],
        "evaluate@two": ["features@text", "train@two"],
    }
    assert touched(GRAPH, set()) == {}


def test_two_stages_are_at_work_at_once(toy: Path):
    (toy / "meet.py").write_text(MEETS)
    stages = {f"meet@{a}": {"cmd": f"python meet.py {a} {b}", "outs": [a]} for a, b in (("p", "q"), ("q", "p"))}
    (toy / "dvc.yaml").write_text(json.dumps({"stages": {name.replace("@", "-"): v for name, v in stages.items()}}))
    graph, changed = dependencies_and_changed(toy)
    assert changed == {"meet-p", "meet-q"}
    lines: list[tuple[str, str]] = []
    done: list[StageRun] = []
    runs = run_in_lanes(toy, graph, 2, Listener(lambda label, line: lines.append((label, line)), done.append))
    assert runs == done
    assert {run.name: run.outcome for run in runs} == {"meet-p": Outcome.RAN, "meet-q": Outcome.RAN}
    assert ("meet-p", "Running stage 'meet-p':") in lines
    assert dependencies_and_changed(toy)[1] == set(), "dvc.lock has lost one"


def test_a_stage_waits_for_those_it_reads_from(toy: Path):
    (toy / "settings.txt").write_text("second")
    shutil.rmtree(toy / "artifacts/features")
    for path in (toy / ".dvc/cache/runs", toy / "dvc.lock"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    graph, changed = dependencies_and_changed(toy)
    runs = run_in_lanes(toy, touched(graph, changed), 3, Listener(ignore, ignore))
    assert {run.name for run in runs} == set(graph)
    order = calls(toy)
    assert (order[0], order[-2:]) == ("download@scenes", ["train@caption", "register@caption"])
    assert dependencies_and_changed(toy)[1] == set()


def test_after_a_failure_nothing_begins(toy: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.rmtree(toy / ".dvc/cache/runs")
    (toy / "dvc.lock").unlink()
    monkeypatch.setenv("TOY_FAIL", "download@scenes")
    with pytest.raises(StageError, match="download@scenes failed: exit code 1\nat work on .*\nERROR: .*\nthe toy is"):
        run_in_lanes(toy, dependencies(toy), 2, Listener(ignore, ignore))
    assert calls(toy) == ["download@scenes"]


@pytest.mark.parametrize(
    "base, cores, free_gb, has_gpu, expected",
    [
        ({"threads": 1}, 8, 64, False, 8),
        ({"threads": 2}, 8, 64, False, 4),
        ({"threads": 1}, 8, 7, False, 2),
        ({"threads": 1}, 8, 1, False, 1),
        ({"threads": 4}, 2, 64, False, 1),
        ({"threads": "many"}, 8, 64, False, 4),
        ({"threads": 1}, 8, 64, True, 1),
        ({"threads": 1, "device": "cpu"}, 8, 64, True, 8),
        (None, 8, 64, False, 4),
    ],
)
def test_lanes_are_what_cores_and_memory_allow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base: object,
    cores: int,
    free_gb: int,
    has_gpu: bool,
    expected: int,
):
    if base is not None:
        (tmp_path / "params.yaml").write_text(json.dumps({"base": base}))
    monkeypatch.setattr(lanes, "usable_cores", lambda: cores)
    monkeypatch.setattr(lanes.psutil, "virtual_memory", lambda: SimpleNamespace(available=free_gb << 30))
    monkeypatch.setattr(lanes.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if has_gpu else None)
    assert lane_count(tmp_path) == expected
