"""Retraining over a real DVC and a real Prefect server: what is new, what runs, who is let in, what is reported."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.graph import dvc_stages
from flows.graph.dvc_stages import StageBusy, StageRun
from flows.retraining.before import KEPT
from flows.retraining.new_data import noted_fingerprint
from stages.base.store import sha256_file
from stages.base.tracking import client
from tests.conftest import PROJECT, calls, dvc
from tests.flows.retraining.test_at_work import dvc_by_hand
from tests.flows.test_pipeline import artifacts, log_lines, task_states
from tests.support.small_data import write_params
from tests.support.small_registry import add_version

RunFlow = Callable[..., Any]
NAMES = ("download@scenes", "features@scenes-text", "features@scenes-image", "train@caption", "register@caption")
ARCHIVE = "pictures.zip"
SECTION = {"source": "image_folder", "torchvision": "none", "val_fraction": 0.2, "test_fraction": 0.2, "sha256": ""}


@pytest.fixture(scope="session")
def reproduced_watched_toy(reproduced_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy with a folder of data that DVC watches, all stages up to date."""
    root = Path(shutil.copytree(reproduced_toy, tmp_path_factory.mktemp("watched") / "toy"))
    write_params(root / "params.yaml", {"datasets.scenes.folder": "inbox"})
    (root / "data/inbox").mkdir(parents=True)
    (root / "data/inbox/one.txt").write_text("1")
    graph = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(graph.replace("deps: [work.py]", "deps: [work.py, data/inbox]"))
    dvc(root, "repro")
    (root / "calls.txt").unlink()
    return root


@pytest.fixture
def watched(reproduced_watched_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(reproduced_watched_toy, tmp_path / "watched"))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def run_flow(prefect_server: str, watched: Path) -> RunFlow:
    """Run the flow over the watched toy, the current folder, and return its state."""
    from flows.retraining.flow import retrain

    return lambda **parameters: retrain(return_state=True, **parameters)


def test_nothing_new_ends_at_once_and_says_so(run_flow: RunFlow, watched: Path):
    first, second = run_flow(), run_flow()
    assert (first.name, second.name) == ("NothingToDo", "NothingToDo")
    assert first.is_completed()
    assert "first look, 1 files (one.txt), and `dvc repro` has taken that in" in first.message
    assert second.message == "data set scenes has 1 files as before; code and params did not change"
    assert calls(watched) == []
    assert task_states(second.state_details.flow_run_id, {}) == {}


def test_a_new_file_runs_what_depends_on_it_and_no_more(run_flow: RunFlow, watched: Path):
    run_flow()
    (watched / "data/inbox/two.txt").write_text("2")
    state = run_flow()
    assert state.message == "no new model version; 1 stages ran, 4 were up to date"  # the toy's bytes stay
    assert calls(watched) == ["download@scenes"]


def test_a_changed_setting_makes_a_challenger_that_is_reported(
    run_flow: RunFlow, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    curves = watched / "artifacts/evaluate/caption/curves.csv"
    work = (watched / "work.py").read_text()
    csv = "epoch,loss,val_loss\\n0,2.0,2.1\\n1,1.0,1.2\\n"
    extra = f'    write("evaluate", "x.json", 1); pathlib.Path("{curves.relative_to(watched)}").write_text("{csv}")\n'
    (watched / "work.py").write_text(work.replace('if stage == "register":\n', f'if stage == "register":\n{extra}'))
    decision = {"promote": True, "reasons": ["it is better"], "metric": "bleu_4", "challenger": 0.25}
    decision |= {"champion": 0.238, "gain": 0.012}
    monkeypatch.setenv("TOY_VERSION", json.dumps({"version": 4, "decision": decision}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@tracking.example:5000/")
    (watched / "settings.txt").write_text("second")
    (watched / "data/inbox/two.txt").write_text("2")
    state = run_flow()
    assert state.message == "1 challenger: caption v4 promoted (bleu_4 +0.012); 3 stages ran, 2 were up to date"
    assert calls(watched) == ["download@scenes", "train@caption", "register@caption"]
    published = artifacts(state.state_details.flow_run_id)
    assert json.loads(published["retrain-results"]) == [
        {
            "experiment": "caption",
            "version": 4,
            "alias": "champion",
            "metric": "bleu_4",
            "model": 0.25,
            "champion": 0.238,
            "gain": 0.012,
            "decision": "promoted",
        }
    ]
    page = published["retrain-report"]
    assert page.startswith("# 1 challenger: caption v4 promoted\n")
    assert "- data set scenes: first look, 2 files (one.txt, two.txt)" in page
    assert "- code changed: work.py, settings.txt" in page
    assert "| train@caption | Completed |" in page
    assert "[MLflow run](http://tracking.example:5000/#/runs/r1)" in page
    assert "secret" not in page
    kind, _, picture = published["retrain-curves"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert len(picture) < 200_000
    assert noted_fingerprint(watched, "scenes").folder.keys() == {"one.txt", "two.txt"}


def test_force_runs_all_and_an_experiment_what_it_needs(run_flow: RunFlow, watched: Path):
    state = run_flow(force=True, experiments=["caption"])
    assert calls(watched) == list(NAMES)
    assert state.message == "no new model version; 5 stages ran, 0 were up to date"  # the toy registers v3 again
    assert "- nothing: the run was forced" not in artifacts(state.state_details.flow_run_id)["retrain-report"]


def test_a_training_that_is_to_run_goes_on_from_the_champion_and_no_other(
    run_flow: RunFlow, watched: Path, tmp_path: Path, made_store: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(made_store, tmp_path / 'mlflow.db')}")
    write_params(watched / "params.yaml", {"datasets.scenes.folder": "inbox", "retrain.init": "champion"})
    graph = YAML(typ="safe").load(watched / "dvc.yaml")
    graph["stages"]["start"] = YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"]["start"] | {
        "foreach": {"caption": 1}
    }
    graph["stages"]["train"]["do"]["deps"].append("artifacts/start/caption")
    YAML(typ="safe").dump(graph, watched / "dvc.yaml")
    dvc(watched, "repro")
    place = watched / "artifacts/start/caption"
    number = add_version(client(), "caption", tmp_path)
    client().set_registered_model_alias("caption", "champion", number)
    assert run_flow().name == "NothingToDo" and [path.name for path in place.iterdir()] == ["about.txt"]
    (watched / "settings.txt").write_text("second")
    state = run_flow()
    told = "caption: the next training starts from the champion, version 1"
    assert told in log_lines(state.state_details.flow_run_id, told)
    assert json.loads((place / "version.json").read_text())["version"] == number
    assert run_flow().name == "NothingToDo"
    write_params(watched / "params.yaml", {"datasets.scenes.folder": "inbox"})
    assert run_flow().name == "NothingToDo" and (place / "version.json").exists()
    run_flow(force=True)
    assert [path.name for path in place.iterdir()] == ["about.txt"]


def test_an_unknown_experiment_fails_and_lists_the_known(run_flow: RunFlow, watched: Path):
    state = run_flow(experiments=["captoin"])
    assert state.is_failed()
    assert state.message == "experiments: got captoin; expected some of caption"
    assert calls(watched) == []


def mirrored(watched: Path) -> Path:
    """Let the toy's data come from a mirror, as if its archive had been downloaded; return the archive."""
    archive = watched / "mirror" / ARCHIVE
    archive.parent.mkdir()
    archive.write_bytes(b"first")
    section = {**SECTION, "folder": "none", "archive": ARCHIVE, "mirror": str(archive.parent)}
    write_params(watched / "params.yaml", {"datasets.scenes": section})
    manifest = {"schema_version": 1, "files": {ARCHIVE: {"sha256": sha256_file(archive), "bytes": 5}}}
    work = (watched / "work.py").read_text()
    (watched / "work.py").write_text(
        work
        + f"\nif stage == 'download':\n    write(stage, 'manifest.json', {manifest!r})\n"
        + f"    pathlib.Path('artifacts', stage, name, '{ARCHIVE}').write_bytes(b'first')\n"
    )
    dvc(watched, "repro")
    (watched / "calls.txt").unlink()
    return archive


def test_a_changed_upstream_forces_the_download_that_dvc_would_skip(run_flow: RunFlow, watched: Path):
    archive = mirrored(watched)
    assert run_flow().name == "NothingToDo"
    archive.write_bytes(b"other")
    state = run_flow()
    assert state.name == "Completed"
    assert calls(watched) == ["download@scenes"]
    page = artifacts(state.state_details.flow_run_id)["retrain-report"]
    assert f"- data set scenes: changed upstream ({ARCHIVE})" in page


def test_a_failed_download_leaves_the_data_new_and_other_failures_do_not(
    run_flow: RunFlow, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    from flows.graph import prefect_stages as tasks

    monkeypatch.setattr(tasks, "download_stage", tasks.stage)
    run_flow()
    (watched / "data/inbox/two.txt").write_text("2")
    (watched / "settings.txt").write_text("second")
    monkeypatch.setenv("TOY_FAIL", "download@scenes")
    assert run_flow().is_failed()
    assert "two.txt" not in noted_fingerprint(watched, "scenes").folder
    monkeypatch.setenv("TOY_FAIL", "train@caption")
    state = run_flow()
    assert state.is_failed()
    assert "two.txt" in noted_fingerprint(watched, "scenes").folder
    assert state.message.startswith("train@caption failed: exit code 1")
    assert state.message.endswith("the toy is broken")
    page = artifacts(state.state_details.flow_run_id)["retrain-report"]
    assert page.startswith("# Failed")
    assert "the toy is broken" in page
    assert "| register@caption | NotReady |" in page
    monkeypatch.delenv("TOY_FAIL")
    (watched / "calls.txt").unlink()
    assert run_flow().is_completed()
    assert calls(watched) == ["train@caption", "register@caption"]


def test_a_registry_that_is_away_for_a_moment_is_tried_again(
    run_flow: RunFlow, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    from flows.graph import prefect_stages as tasks

    assert tasks.register_stage.retries == len(tasks.REGISTER_DELAYS_S) == 3
    monkeypatch.setattr(tasks, "register_stage", tasks.stage.with_options(retries=3, retry_delay_seconds=0))
    work = (watched / "work.py").read_text()
    away = 'if stage == "register" and open("calls.txt").read().count("register") < 3:\n    sys.exit("no registry")\n'
    (watched / "work.py").write_text(work.replace("\ndef write(", f"\n{away}\ndef write(", 1))
    (watched / "settings.txt").write_text("second")
    assert run_flow().is_completed()
    assert calls(watched).count("register@caption") == 3
    assert calls(watched).count("train@caption") == 1


def test_a_second_retraining_is_refused_in_a_state_of_its_own(run_flow: RunFlow, watched: Path):
    from flows.retraining.at_work import sole
    from flows.retraining.names import WHAT

    with sole(watched, WHAT, "brave-fox"):
        state = run_flow(force=True)
    assert (state.type.value, state.name) == ("CANCELLED", "Refused")
    assert state.message == f"another retraining is at work: brave-fox (process {os.getpid()})"
    assert calls(watched) == []


def test_it_is_refused_beside_a_dvc_repro_by_hand(run_flow: RunFlow, watched: Path):
    process = dvc_by_hand(watched)
    try:
        state = run_flow()
        assert (state.type.value, state.name) == ("CANCELLED", "Refused")
        assert f"(process {process.pid}) is writing artifacts/train/caption" in state.message
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_dvc_repro_that_begins_in_the_middle_is_waited_for(
    run_flow: RunFlow, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    from flows.graph import prefect_stages as tasks
    from flows.retraining import flow as retrain

    others: list[subprocess.Popen[bytes]] = []

    def run_graph(*arguments: Any) -> Any:
        others.append(dvc_by_hand(watched))
        return tasks.run_graph(*arguments)

    def run_stage(*arguments: Any) -> StageRun:
        try:
            return dvc_stages.run_stage(*arguments)
        except StageBusy:  # the other one ends while we wait
            os.killpg(others[0].pid, signal.SIGKILL)
            others[0].wait()
            raise

    monkeypatch.setattr(retrain, "run_graph", run_graph)
    monkeypatch.setattr(tasks, "run_stage", run_stage)
    monkeypatch.setattr(tasks, "BUSY_INTERVAL_S", 0.1)
    (watched / "settings.txt").write_text("second")
    state = run_flow()
    assert state.is_completed()
    assert calls(watched) == ["train@caption", "train@caption", "register@caption"]
    lines = log_lines(state.state_details.flow_run_id, "")
    assert [line for line in lines if line.startswith("Waiting for another DVC process: ")]


def test_a_killed_retraining_blocks_nobody_and_the_next_carries_on(
    prefect_server: str, watched: Path, run_flow: RunFlow
):
    (watched / "settings.txt").write_text("second")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PREFECT_API_URL": prefect_server}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.retrain"],
        cwd=watched,
        env={**environment, "TOY_SLEEP": "train@caption"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert any("asleep" in line for line in process.stdout)
    process.kill()
    process.wait()
    assert json.loads((watched / KEPT).read_text()) == {"caption": 3}
    state = run_flow()
    assert state.is_completed()
    assert not (watched / KEPT).exists()
    assert calls(watched) == ["train@caption", "train@caption", "register@caption"]
    lines = log_lines(state.state_details.flow_run_id, "")
    assert [line for line in lines if line.startswith("Ended what a killed run had left: `dvc repro")]


def test_a_version_of_a_run_that_was_killed_before_its_report_is_told_by_the_next(run_flow: RunFlow, watched: Path):
    dvc(watched, "repro")
    (watched / KEPT).parent.mkdir(exist_ok=True)
    (watched / KEPT).write_text('{"caption": 2, "other": 7}')
    state = run_flow()
    assert state.message.startswith("1 challenger: caption v3 promoted (it is the first version); 0 stages ran")
    page = artifacts(state.state_details.flow_run_id)["retrain-report"]
    assert "- an earlier run was killed before its report" in page
    assert json.loads((watched / KEPT).read_text()) == {"other": 7}
    assert run_flow().name == "NothingToDo"


def test_a_rejected_version_is_told_with_all_reasons():
    from flows.graph.experiments import Experiment
    from flows.retraining.report import verdict

    reasons = ["accuracy 0.8 against 0.7: gain +0.1, which may be worse", "accuracy 0.8 is below its floor of 0.9"]
    decision = {"promote": False, "reasons": reasons, "metric": "accuracy", "challenger": 0.8, "gain": 0.1}
    rejected = Experiment("classify", {}, {"version": 5, "decision": decision})
    assert verdict(rejected) == f"classify v5 rejected ({'; '.join(reasons)})"
    promoted = Experiment("classify", {}, {"version": 5, "decision": {**decision, "promote": True}})
    assert verdict(promoted) == "classify v5 promoted (accuracy +0.100)"


def test_a_server_that_is_away_loses_the_artifact_and_not_the_run(run_flow: RunFlow, monkeypatch: pytest.MonkeyPatch):
    import httpx
    from prefect import flow

    from flows.retraining import flow as retrain

    def away(*arguments: Any, **options: Any) -> None:
        raise httpx.ConnectError("All connection attempts failed")

    monkeypatch.setattr(retrain, "create_markdown_artifact", away)
    flow(lambda: retrain._publish_page("# A page"), name="publishing")()


def test_looking_for_new_data_imports_neither_torch_nor_mlflow(watched: Path):
    script = """
import sys
from pathlib import Path
from flows.retraining import flow as retrain
from flows.retraining.news import look_around
from stages.params import load_params
look_around(Path(), load_params(), ["download@scenes"])
print(*(name for name in ("torch", "mlflow", "pandas", "matplotlib") if name in sys.modules))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_form_in_the_ui_has_both_parameters_with_their_docs(prefect_server: str):
    from prefect.utilities.callables import parameter_schema

    from flows.retraining.flow import retrain

    form = parameter_schema(retrain).model_dump()["properties"]
    assert list(form) == ["force", "experiments"]
    assert "no new data" in form["force"]["description"]
    assert "params.yaml" in form["experiments"]["description"]


def test_help_does_not_wait_for_prefect():
    command = [sys.executable, "-X", "importtime", "-m", "flows.retrain", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--experiments" in done.stdout
    assert "prefect" not in done.stderr
