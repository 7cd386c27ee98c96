"""The project's own tracking store: whole or absent whatever ends its making, and right wherever it is moved to."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.base.local_store import is_local, local_database, ready
from stages.base.tracking import LiveRun, client, experiment_id, tracking_uri
from tests.support.small_disk import on_a_small_disk

PROJECT = Path(__file__).parents[2]
DATABASE = Path("artifacts/mlflow/mlflow.db")
MAKES = "from stages.base.tracking import client; client(); print('made')"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    (tmp_path / "Zoë 数据").mkdir()
    monkeypatch.chdir(tmp_path / "Zoë 数据")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow keeps its address there


def make_store() -> str:
    """Make a store with a run that has a file; return the run's id."""
    run = client().create_run(experiment_id(client(), "toy"))
    client().log_text(run.info.run_id, "kept", "note.txt")
    return run.info.run_id


def note_of(run_id: str) -> str:
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # of the place before
    mlflow_client = client()
    return Path(mlflow_client.download_artifacts(run_id, "note.txt")).read_text()


def started() -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", MAKES], env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(("number", "fullness"), [(signal.SIGKILL, 0.6), (signal.SIGINT, 0.1)])
def test_a_store_whose_making_is_cut_off_is_absent_and_made_by_the_next(number, fullness):
    partial = DATABASE.with_name(".mlflow.db.partial")
    with started() as making:
        while not (partial.exists() and partial.stat().st_size > fullness * 900_000):
            assert making.poll() is None and not DATABASE.exists()
            time.sleep(0.002)
        making.send_signal(number)
    assert making.returncode != 0 and not DATABASE.exists()
    assert note_of(make_store()) == "kept"
    assert [path.name for path in DATABASE.parent.glob("*mlflow.db*")] == ["mlflow.db"]


def test_what_a_database_that_is_gone_left_does_not_get_into_the_next():
    DATABASE.parent.mkdir(parents=True)
    DATABASE.touch()
    DATABASE.with_name("mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"x" * 4096)
    assert note_of(make_store()) == "kept"


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "copied"])
def test_a_store_is_right_where_it_was_moved_or_copied_to(moved, tmp_path, monkeypatch, capsys):
    run_id = make_store()
    before = Path.cwd()
    place = Path(shutil.move(before, tmp_path / "new") if moved else shutil.copytree(before, tmp_path / "new"))
    monkeypatch.chdir(place)
    assert note_of(run_id) == "kept"
    told = f"the tracking store was moved here from {before}/artifacts/mlflow: its addresses are put right\n"
    assert capsys.readouterr().out == told
    logs = f"from stages.base.tracking import client; client().log_text('{run_id}', 'more', 'more.txt')"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}  # MLflow keeps a run's address as long as a process lives
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", logs], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (place / "artifacts/mlflow/files/toy" / run_id / "artifacts/more.txt").exists()
    if not moved:
        assert not list(before.rglob("more.txt"))
        monkeypatch.chdir(before)
        assert note_of(run_id) == "kept"
        assert capsys.readouterr().out == ""


def test_a_link_to_the_store_is_no_other_place(tmp_path, monkeypatch, capsys):
    run_id = make_store()
    (tmp_path / "link").symlink_to(Path.cwd(), target_is_directory=True)
    os.environ.pop("MLFLOW_TRACKING_URI")
    content = DATABASE.read_bytes()
    monkeypatch.chdir(tmp_path)
    ready(f"sqlite:///{local_database()}".replace(str(tmp_path), str(tmp_path / "link")))
    monkeypatch.setattr("stages.base.local_store.ARTIFACTS", tmp_path / "link/artifacts")
    assert note_of(run_id) == "kept"
    assert capsys.readouterr().out == ""
    assert (tmp_path / "link" / DATABASE).read_bytes() == content


def test_a_store_elsewhere_is_not_touched(tmp_path, monkeypatch):
    run_id = make_store()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(DATABASE.parent, elsewhere)
    content = (elsewhere / "mlflow.db").read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/mlflow.db")
    assert not is_local(tracking_uri())
    assert client().get_run(run_id).info.artifact_uri.startswith(Path.cwd().as_uri())
    assert (elsewhere / "mlflow.db").read_bytes() == content


def damage_half_made() -> None:
    with sqlite3.connect(DATABASE) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")


def damage_bytes() -> None:
    DATABASE.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_half_made, "it has no table alembic_version: it was cut off while it was made"),
        (damage_bytes, "file is not a database"),
    ],
)
def test_a_damaged_store_is_told_from_a_server_that_is_away(damage, reason, capsys):
    DATABASE.parent.mkdir(parents=True)
    damage()
    message = f"the tracking store {DATABASE.absolute()} is damaged ({reason}): put back a copy of it, or remove "
    with pytest.raises(InputError) as caught:
        client()
    assert str(caught.value).startswith(f"{message}{DATABASE.absolute()} and run ")
    LiveRun("toy", "key", {})
    said = capsys.readouterr().out
    assert said.startswith(message) and said.endswith("; training goes on without live curves\n")


GROWS = """
from stages.base.errors import InputError
from stages.base.tracking import client, experiment_id, needs_server
from pathlib import Path
try:
    with needs_server():
        made = client()
        [Path(f'artifacts/mlflow/x{i}').touch() for i in range(2)]
        experiment_id(made, 'toy')
except InputError as error:
    print(error)
"""


def test_a_store_that_cannot_grow_is_not_called_damaged():
    """SQLite has no place for its journal there; MLflow puts the reason deep in its message."""
    program = f'{sys.executable} -W ignore -c "{GROWS}"'
    done = on_a_small_disk(Path.cwd(), "artifacts/mlflow", "20m,nr_inodes=4", program)
    assert done.stdout.startswith(
        f"the tracking store {DATABASE.absolute()} cannot be written (unable to open database"
    )
