"""The entries of dvc.lock are read whole, while other stages end."""

import threading

import pytest
from dvc.lock import make_lock

from stages.registry.lineage import LOCK_FILE, project_lock_entries

ENTRY = {"cmd": "true"}
WHOLE = "schema: '2.0'\nstages:\n  train@a:\n    cmd: 'true'\n"
STAGES = [("train", "a"), ("train", "b")]


def test_a_lock_file_that_dvc_is_writing_is_waited_for(tmp_path):
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    path, found = tmp_path / LOCK_FILE, []
    reader = threading.Thread(target=lambda: found.append(project_lock_entries(tmp_path, STAGES)))
    with make_lock(str(tmp_path / ".dvc" / "tmp" / "lock")):
        path.write_text("")  # as DVC does: cut off first
        reader.start()
        reader.join(0.2)
        assert reader.is_alive()
        path.write_text(WHOLE)
    reader.join(20)
    assert found == [{"train@a": ENTRY}]


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n"])
def test_a_lock_file_of_no_stage_has_none(tmp_path, text):
    (tmp_path / LOCK_FILE).write_text(text)
    assert project_lock_entries(tmp_path, STAGES) == {}


def test_without_a_project_of_dvc_the_file_is_read_as_it_is(tmp_path):
    (tmp_path / LOCK_FILE).write_text(WHOLE)
    assert project_lock_entries(tmp_path, STAGES) == {"train@a": ENTRY}
