"""One at a time, over real processes: locks that end with their holder, and DVCs of killed runs and of people."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.graph.sessions import OWNER_VARIABLE, process_mark
from flows.retraining.at_work import Refused, at_work, dvc_processes, end_orphans, sole
from tests.conftest import PROJECT, is_alive

HOLD = """
import sys, time
from pathlib import Path
from flows.retraining.at_work import sole
with sole(Path(sys.argv[1]), "retraining", "the first"):
    print("held", flush=True)
    time.sleep(600)
"""

RUN = """
import sys
from pathlib import Path
from flows.graph.dvc_stages import run_stage
run_stage(Path(sys.argv[1]), "train@caption", lambda line: print(line, flush=True), force=True)
"""


def start(script: str, root: Path, until: str, **environment: str) -> subprocess.Popen[str]:
    """Run a script over a project until it prints a line that starts so."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line.startswith(until) for line in process.stdout)
    return process


def dvc_by_hand(root: Path) -> subprocess.Popen[bytes]:
    """Start the `dvc repro` of a person, whose stage sleeps, and wait until it is at work."""
    environment = {name: value for name, value in os.environ.items() if name != OWNER_VARIABLE}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "train@caption"],
        cwd=root,
        env={**environment, "TOY_SLEEP": "train@caption"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (root / "calls.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_a_second_one_is_refused_and_told_who_is_at_work(tmp_path: Path):
    with sole(tmp_path, "retraining", "brave-fox"):
        assert at_work(tmp_path, "retraining") == {"run": "brave-fox", "process": process_mark()}
        who = rf"another retraining is at work: brave-fox \(process {os.getpid()}\)"
        with pytest.raises(Refused, match=who), sole(tmp_path, "retraining", "calm-owl"):
            pass
        with sole(tmp_path, "schedule", "another kind"):
            pass
    assert at_work(tmp_path, "retraining") is None
    with sole(tmp_path, "retraining", "calm-owl"):
        pass


def test_a_killed_holder_does_not_block_the_next(tmp_path: Path):
    holder = start(HOLD, tmp_path, "held")
    with pytest.raises(Refused, match="the first"), sole(tmp_path, "retraining", "the second"):
        pass
    holder.kill()
    holder.wait()
    assert at_work(tmp_path, "retraining") is None
    with sole(tmp_path, "retraining", "the second"):
        pass


def test_the_dvc_of_a_person_is_named_with_what_it_writes_and_left_alone(toy: Path):
    process = dvc_by_hand(toy)
    try:
        assert end_orphans(toy) == []
        who = f"`dvc repro --force --single-item train@caption` (process {process.pid})"
        assert [str(other) for other in dvc_processes(toy)] == [f"{who} is writing artifacts/train/caption"]
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert dvc_processes(toy) == []


def test_what_a_killed_run_left_at_work_is_ended(toy: Path):
    run = start(RUN, toy, "asleep", TOY_SLEEP="train@caption")
    left = [child.pid for child in psutil.Process(run.pid).children(recursive=True)]
    assert end_orphans(toy) == []  # its run is alive
    run.kill()
    run.wait()
    assert all(map(is_alive, left))
    assert [orphan.writes for orphan in end_orphans(toy)] == [("artifacts/train/caption",)]
    assert not [pid for pid in left if is_alive(pid)]
    assert dvc_processes(toy) == []


@pytest.mark.parametrize("words", ['{"write": {"/x": {"pid"', '{"write": {"/x": {"pid": PID, "cmd": "dvc repro"}}}'])
def test_a_torn_lock_file_and_the_number_of_another_program_name_nobody(tmp_path: Path, words: str):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / ".dvc/tmp/rwlock").write_text(words.replace("PID", str(sleeper.pid)))
        assert dvc_processes(tmp_path) == []
    finally:
        sleeper.kill()
        sleeper.wait()
