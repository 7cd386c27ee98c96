"""The graph as a Prefect flow: a real server, a real DVC, and the states that the server then shows."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import yaml

from tests.conftest import calls, is_alive, table_rows

GRAPH = {
    "download@a": [],
    "features@b": ["download@a"],
    "features@c": ["download@a"],
    "train@d": ["features@b"],
}

Environment = dict[str, str]
RunFlow = Callable[..., Any]


@pytest.fixture
def run_flow(prefect_server: str, toy: Path) -> RunFlow:
    """Run the flow over the toy and return its state."""
    from flows.pipeline import pipeline

    return lambda **parameters: pipeline(root=toy, return_state=True, **parameters)


def forget(toy: Path, stage: str) -> None:
    """Delete the output of a stage, from DVC's cache too."""
    output = yaml.safe_load((toy / "dvc.lock").read_text())["stages"][stage]["outs"][0]
    shutil.rmtree(toy / output["path"])
    (toy / ".dvc/cache/files/md5" / output["md5"][:2] / output["md5"][2:]).unlink()


def task_states(flow_run_id: UUID, wanted: dict[str, str]) -> dict[str, str]:
    """Return the task runs' states as the server has them, once they are `wanted` or after 30 s."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    states: dict[str, str] = {}
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while states != wanted and time.monotonic() < deadline:
            time.sleep(0.2)
            runs = client.read_task_runs(flow_run_filter=chosen)
            states = {run.name: run.state_name for run in runs}
    return states


def artifacts(flow_run_id: UUID) -> dict[str, Any]:
    """Return what the flow run published, by key."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return {found.key: found.data for found in client.read_artifacts(artifact_filter=chosen)}


def log_lines(flow_run_id: UUID, wanted: str) -> list[str]:
    """Return the log of the flow run, once a line is `wanted` or after 30 s."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    lines: list[str] = []
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while wanted not in lines and time.monotonic() < deadline:
            time.sleep(0.2)
            lines = [log.message for log in client.read_logs(log_filter=chosen)]
    return lines


def test_what_ran_is_completed_and_the_rest_is_cached(run_flow: RunFlow, toy: Path):
    (toy / "settings.txt").write_text("second")
    shutil.rmtree(toy / "artifacts/features/scenes-text")
    state = run_flow()
    assert state.is_completed()
    assert state.message == "2 stages ran, 3 were up to date"
    assert calls(toy) == ["train@caption", "register@caption"]
    wanted = {
        "download@scenes": "Cached",
        "features@scenes-image": "Cached",
        "features@scenes-text": "Cached",
        "train@caption": "Completed",
        "register@caption": "Completed",
    }
    assert task_states(state.state_details.flow_run_id, wanted) == wanted


def test_without_git_the_page_has_no_commit(toy: Path, monkeypatch: pytest.MonkeyPatch):
    from flows.graph.experiments import provenance

    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance(toy)[0] == "- git commit: `none`"


def test_a_deleted_output_runs_only_the_stage_that_makes_it(run_flow: RunFlow, toy: Path):
    forget(toy, "features@scenes-text")
    state = run_flow()
    assert state.is_completed()
    assert calls(toy) == ["features@scenes-text"]
    cached = ("download@scenes", "features@scenes-image", "train@caption", "register@caption")
    wanted = {**dict.fromkeys(cached, "Cached"), "features@scenes-text": "Completed"}
    assert task_states(state.state_details.flow_run_id, wanted) == wanted


def test_lines_are_logged_and_progress_results_and_lineage_are_published(run_flow: RunFlow, toy: Path):
    state = run_flow(targets=["register"], force=True)
    flow_run_id = state.state_details.flow_run_id
    assert calls(toy) == ["download@scenes", "features@scenes-text", "features@scenes-image"] + [
        "train@caption",
        "register@caption",
    ]
    lines = log_lines(flow_run_id, "at work on register@caption")
    assert "at work on register@caption" in lines
    assert not [line for line in lines if "PROGRESS" in line]
    published = artifacts(flow_run_id)
    assert published["progress-train-caption"] == 100.0  # 42 % was the last that it told, then it ended
    assert '"row": "toy-caption v3 (champion)", "bleu_1": 0.5, "bleu_4": 0.25' in published["results"]
    assert '"row": "majority"' in published["results"]
    assert "it is the first version" in published["lineage"]
    assert "git commit: `none`" in published["lineage"]


def test_a_failing_stage_fails_the_flow_and_those_after_it_are_not_ready(
    run_flow: RunFlow, toy: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOY_FAIL", "features@scenes-image")
    forget(toy, "features@scenes-image")
    state = run_flow()
    assert state.is_failed()
    assert state.message.startswith("features@scenes-image failed: exit code 1")
    assert state.message.endswith("the toy is broken")
    assert calls(toy) == ["features@scenes-image"]
    wanted = {
        "download@scenes": "Cached",
        "features@scenes-image": "Failed",
        "features@scenes-text": "Cached",
        "train@caption": "NotReady",
        "register@caption": "NotReady",
    }
    assert task_states(state.state_details.flow_run_id, wanted) == wanted


def test_only_downloads_are_tried_again(run_flow: RunFlow, toy: Path, monkeypatch: pytest.MonkeyPatch):
    from flows.graph import prefect_stages as tasks

    assert (tasks.download_stage.retries, tasks.download_stage.retry_delay_seconds) == (
        2,
        [10.0, 10.0],
    )
    monkeypatch.setattr(tasks, "download_stage", tasks.stage.with_options(retries=2, retry_delay_seconds=0))
    monkeypatch.setenv("TOY_FAIL", "download@scenes")
    state = run_flow(force=True, targets=["download@scenes"])
    assert state.is_failed()
    assert calls(toy) == ["download@scenes"] * 3


@pytest.mark.parametrize(
    "targets, wanted",
    [
        (None, list(GRAPH)),
        (["features@c"], ["download@a", "features@c"]),
        (["features"], ["download@a", "features@b", "features@c"]),
        (["train@d"], ["download@a", "features@b", "train@d"]),
    ],
)
def test_targets_take_the_stages_before_them(targets: list[str] | None, wanted: list[str]):
    from flows.graph.dependencies import select

    assert list(select(GRAPH, targets)) == wanted


def test_an_unknown_target_lists_the_stages():
    from flows.graph.dependencies import select

    with pytest.raises(ValueError, match="no stage is called 'features@d'.*features@b, features@c"):
        select(GRAPH, ["features@d"])


def test_help_does_not_wait_for_prefect():
    command = [sys.executable, "-X", "importtime", "-m", "flows.pipeline", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--targets" in done.stdout
    assert "prefect" not in done.stderr


def test_the_command_prints_states_and_uses_the_given_server(
    toy: Path, prefect_server: str, cli_environment: Environment
):
    environment = {**cli_environment, "PREFECT_API_URL": prefect_server, "TOY_FAIL": "train@caption"}
    (toy / "settings.txt").write_text("second")
    command = [sys.executable, "-m", "flows.pipeline"]
    done = subprocess.run(command, cwd=toy, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "temporary server" not in done.stderr
    table = table_rows(done.stdout[: done.stdout.index("train@caption failed")])
    assert table["features@scenes-text"][0] == "Cached"
    assert table["train@caption"][0] == "Failed"
    assert table["register@caption"][0] == "NotReady"
    assert done.stdout.rstrip().endswith("the toy is broken")


def test_a_server_that_does_not_answer_is_said_and_stopped(toy: Path, cli_environment: Environment):
    too_short = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1"}
    environment = {name: value for name, value in cli_environment.items() if name != "PREFECT_API_URL"}
    command = [sys.executable, "-m", "flows.pipeline"]
    process = subprocess.Popen(command, cwd=toy, env=environment | too_short, stdout=subprocess.PIPE, text=True)
    servers: set[psutil.Process] = set()
    while process.poll() is None:
        servers |= set(psutil.Process(process.pid).children()) if psutil.pid_exists(process.pid) else set()
        time.sleep(0.02)
    assert process.stdout is not None
    assert "error: Prefect's temporary server does not answer: RuntimeError: Timed out" in process.stdout.read()
    assert process.returncode == 1 and servers
    assert not any(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in servers)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_stored_and_leaves_neither_stage_nor_server(
    toy: Path, cli_environment: Environment, number: signal.Signals, code: int
):
    """A Ctrl-C goes to every process of the terminal's group, the temporary server too."""
    environment = {**cli_environment, "TOY_SLEEP": "train@caption"}
    environment.pop("PREFECT_API_URL", None)
    (toy / "settings.txt").write_text("second")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline", "--targets", "train@caption"],
        cwd=toy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("asleep" in line for line in process.stdout)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    start = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait() == code
    assert time.monotonic() - start < 30
    assert len(children) >= 3
    assert not [pid for pid in children if is_alive(pid)]
    assert "Finished in state Crashed" in rest.splitlines()[-2]
    assert "Traceback" not in rest
