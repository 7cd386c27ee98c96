"""Work in processes: in order, a few results ahead, and no process is left behind however it ends."""

import itertools
import os
import signal
import subprocess
import sys
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.base.parallel import in_processes
from tests.conftest import is_alive
from tests.support.running import wait_until

STUCK = """
import os, sys, time
from pathlib import Path
from stages.base.parallel import in_processes

def stick(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    list(in_processes(stick, [1, 2], 2))
"""


def square(item: int) -> tuple[int, bool]:
    return item * item, parent_process() is not None


def mark(folder: Path, item: int) -> int:
    (folder / str(item)).touch()
    return item


def fail(item: int) -> int:
    raise InputError(f"item {item} is wrong")


def die(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order_from_other_processes():
    assert list(in_processes(square, range(20), 2)) == [(i * i, True) for i in range(20)]


@pytest.mark.parametrize(("count", "workers"), [(5, 1), (1, 4), (0, 4)])
def test_where_one_process_is_enough_it_is_this_one(count: int, workers: int):
    assert list(in_processes(square, range(count), workers)) == [(i * i, False) for i in range(count)]


def test_no_more_than_two_results_a_process_wait(tmp_path: Path):
    results = in_processes(partial(mark, tmp_path), range(100), 2)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    results.close()
    assert len(list(tmp_path.iterdir())) <= 3 + 2 * 2


def test_an_error_reaches_the_caller_as_it_is():
    with pytest.raises(InputError, match="item 0 is wrong"):
        list(in_processes(fail, range(4), 2))


def test_a_killed_process_is_told_as_what_it_is():
    with pytest.raises(InputError, match="one of 2 processes at work was killed.*memory.*run the stage again"):
        list(in_processes(die, range(4), 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_when_the_one_that_started_them_is_gone(tmp_path: Path, number: signal.Signals):
    script, begun = tmp_path / "stuck.py", tmp_path / "begun"
    script.write_text(STUCK)
    begun.mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(begun)])
    wait_until(lambda: len(list(begun.iterdir())) == 2)
    process.send_signal(number)
    process.wait()
    workers = [int(path.name) for path in begun.iterdir()]
    wait_until(lambda: not any(map(is_alive, workers)))
