"""`make schedule`: a real server with the deployment beside it, and nothing of it left after its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from flows.graph.sessions import process_mark
from flows.retraining.children import CHILDREN, Child, ChildError, end_left_children, prefect_server
from tests.conftest import PROJECT, is_alive
from tests.support.small_data import write_params

CRON = "30 4 * * 1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_deployment(address: str, process: subprocess.Popen[str]) -> dict:
    """Return the deployment as the server has it, once it is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.get(f"{address}/deployments/name/retrain/nightly")
            if answer.status_code == 200:
                return answer.json()
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError("the deployment is not there")


def test_it_serves_the_schedule_of_params_yaml_and_leaves_nothing_behind(toy: Path):
    write_params(toy / "params.yaml", {"retrain.cron": CRON, "retrain.timezone": "Europe/Paris"})
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PYTHONPATH": str(PROJECT), "PREFECT_SERVER_API_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.schedule"],
        cwd=toy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    children = []
    try:
        found = wait_for_deployment(f"http://127.0.0.1:{port}/api", process)
        children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        schedule = found["schedules"][0]
        assert (schedule["active"], schedule["schedule"]["cron"]) == (True, CRON)
        assert schedule["schedule"]["timezone"] == "Europe/Paris"
        assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        known = httpx.get(f"http://127.0.0.1:{port}/api/admin/settings").json()
        assert known["server"]["concurrency"]["lease_storage"].endswith(".filesystem")  # outlives a killed server
        second = subprocess.run(
            [sys.executable, "-m", "flows.schedule"], cwd=toy, env=environment, capture_output=True, text=True
        )
        assert second.returncode == 1
        assert second.stdout.startswith(f"error: another schedule is at work: make schedule (process {process.pid})")
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"retrain/nightly runs at `{CRON}` Europe/Paris" in said
    assert len(children) >= 2
    assert not [pid for pid in children if is_alive(pid)]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / ".dvc").mkdir()
    write_params(tmp_path / "params.yaml", {})
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PREFECT_SERVER_API_PORT": str(port)}
        environment.pop("PREFECT_API_URL", None)
        done = subprocess.run([sys.executable, "-m", "flows.schedule"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: port {port} is taken: set PREFECT_SERVER_API_PORT to a free one")


def test_a_server_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    with prefect_server(tmp_path) as server:
        assert server is None


def test_a_child_that_was_killed_is_started_again_unless_it_is_at_once_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from flows.retraining import children

    child = Child("sleeper", ["sleep", "60"], tmp_path)

    def killed() -> int:
        child.process.kill()
        child.process.wait()
        return child.process.pid

    try:
        assert not child.restart_if_dead()
        for life_s in (60.0, 60.0, 0.0, 60.0, 60.0):  # the third time it had lived long enough
            monkeypatch.setattr(children, "SHORT_LIFE_S", life_s)
            before = killed()
            assert child.restart_if_dead()
            assert child.process.pid != before
        killed()
        with pytest.raises(ChildError, match="the sleeper ended with exit code -9"):
            child.restart_if_dead()
    finally:
        child.stop()
    assert not is_alive(child.process.pid)


def test_the_last_lines_of_a_child_that_cannot_run_are_told(tmp_path: Path):
    child = Child("server", [sys.executable, "-c", "import sys; sys.exit('no room')"], tmp_path, tmp_path / "log")
    child.process.wait()
    with pytest.raises(ChildError, match="(?s)exit code 1; the end of .*no room"):
        child.restart_if_dead()
    child.stop()


def test_the_children_of_a_killed_command_are_ended_and_the_number_of_another_program_is_not(tmp_path: Path):
    child = Child("sleeper", ["sleep", "60"], tmp_path)
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        noted = (tmp_path / CHILDREN).read_text()
        stale = f"{other.pid} 1"  # that number, but begun at another time
        (tmp_path / CHILDREN).write_text(noted.replace("}", f', "other": "{stale}"' + "}"))
        assert process_mark(child.process.pid) in noted
        end_left_children(tmp_path)
        assert not is_alive(child.process.pid)
        assert is_alive(other.pid)
        assert not (tmp_path / CHILDREN).exists()
    finally:
        for process in (child.process, other):
            process.kill()
            process.wait()


def test_a_schedule_that_is_none_is_named_with_its_section():
    from flows.retraining.deployment import deployment
    from stages.base.errors import InputError
    from stages.params import load_params

    params = load_params(PROJECT / "params.yaml").retrain
    with pytest.raises(InputError, match="retrain: got cron 'at night'"):
        deployment(params.model_copy(update={"cron": "at night"}))


def test_help_does_not_wait_for_prefect():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flows.schedule", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "retrain/nightly" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith((" prefect", " torch", " mlflow"))]
