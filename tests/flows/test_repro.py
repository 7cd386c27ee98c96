"""`python -m flows.repro` as a user sees it, over a real DVC."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from flows.graph.experiments import Experiment, experiments
from flows.repro import model_table
from tests.conftest import calls, is_alive, table_rows

Environment = dict[str, str]


def run(toy: Path, environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.repro", *arguments]
    return subprocess.run(command, cwd=toy, env=environment, capture_output=True, text=True)


JOBS = pytest.mark.parametrize("jobs", ["1", "2"])


@JOBS
def test_nothing_to_do_is_said_and_the_model_is_shown(toy: Path, cli_environment: Environment, jobs: str):
    done = run(toy, cli_environment, "--jobs", jobs)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to do: every stage is up to date" in done.stdout
    outcome, seconds = table_rows(done.stdout)["train@caption"]
    assert outcome == "cached"
    assert re.fullmatch(r"\d\.\d", seconds)  # what DVC took to see that, which is none where no DVC ran
    assert jobs == "1" or seconds == "0.0"
    assert "toy-caption v3 (champion)   bleu_4   0.250   majority 0.100     0.750" in done.stdout
    assert '.venv/bin/python -m stages.register caption --try image=FILE text="WORDS"' in done.stdout
    assert "\x1b" not in done.stdout
    assert calls(toy) == []


@JOBS
def test_what_ran_is_told_from_what_did_not(toy: Path, cli_environment: Environment, jobs: str):
    (toy / "settings.txt").write_text("second")
    shutil.rmtree(toy / "artifacts/features/scenes-text")
    done = run(toy, cli_environment, "--jobs", jobs)
    assert done.returncode == 0
    assert "at work on train@caption" in done.stdout
    assert "nothing to do" not in done.stdout
    table = table_rows(done.stdout)
    assert [table[name][0] for name in ("download@scenes", "features@scenes-text", "train@caption")] == [
        "cached",
        "restored",
        "ran",
    ]


def test_the_lock_is_the_same_however_many_stages_are_at_work(toy: Path, cli_environment: Environment):
    locks = []
    for jobs in ("1", "3"):
        (toy / "dvc.lock").unlink()
        shutil.rmtree(toy / ".dvc/cache/runs")
        assert run(toy, cli_environment, "--jobs", jobs).returncode == 0
        locks.append((toy / "dvc.lock").read_text())
    assert locks[0] == locks[1]


@JOBS
def test_targets_are_handed_on(toy: Path, cli_environment: Environment, jobs: str):
    done = run(toy, cli_environment, "features@scenes-text", "--jobs", jobs)
    assert done.returncode == 0
    assert "train@caption" not in done.stdout
    assert "toy-caption" not in done.stdout


@JOBS
def test_a_failing_stage_is_named_with_its_own_last_lines(toy: Path, cli_environment: Environment, jobs: str):
    (toy / "settings.txt").write_text("second")
    done = run(toy, {**cli_environment, "TOY_FAIL": "train@caption"}, "--jobs", jobs)
    assert done.returncode == 1
    assert "train@caption failed: exit code 1" in done.stdout
    assert done.stdout.rstrip().endswith("the toy is broken")
    assert "Traceback" not in done.stdout + done.stderr


@JOBS
def test_outside_of_a_dvc_project_dvc_says_so(tmp_path: Path, cli_environment: Environment, jobs: str):
    done = run(tmp_path, cli_environment, "--jobs", jobs)
    assert done.returncode == 1
    assert "not inside of a DVC repository" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_no_process(
    toy: Path, cli_environment: Environment, number: signal.Signals, code: int, jobs: str
):
    (toy / "settings.txt").write_text("second")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.repro", "--jobs", jobs],
        cwd=toy,
        env={**cli_environment, "TOY_SLEEP": "train@caption"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("asleep" in line for line in process.stdout)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    os.killpg(process.pid, number)
    rest = process.stdout.read()
    assert process.wait() == code
    assert len(children) >= 2
    assert not [pid for pid in children if is_alive(pid)]
    assert "Traceback" not in rest


@JOBS
def test_an_unknown_stage_is_said(toy: Path, cli_environment: Environment, jobs: str):
    done = run(toy, cli_environment, "train@nobody", "--jobs", jobs)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (1, False)
    assert "train@nobody" in done.stdout


def test_no_jobs_is_a_wrong_number(toy: Path, cli_environment: Environment):
    done = run(toy, cli_environment, "--jobs", "0")
    assert (done.returncode, "got 0; expected 1 or more" in done.stderr) == (2, True)


def test_no_heavy_package_is_imported():
    heavy = ("dvc", "mlflow", "prefect", "torch")
    script = f"import sys, flows.repro; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_the_metric_named_by_the_evaluation_comes_first(tmp_path: Path):
    metrics = {"bleu_4": 0.1, "f1": 0.6, "accuracy": 0.5, "num_samples": 9}
    assert Experiment("a", metrics, {}).headline == "bleu_4"
    assert Experiment("a", {**metrics, "settings": {"headline": "f1"}}, {}).headline == "f1"
    assert Experiment("a", {"num_samples": 9, "cer": 0.2}, {}).headline == "cer"
    assert Experiment("a", {}, {}).headline is None


def test_an_experiment_without_a_version_or_metrics_is_shown_as_such(tmp_path: Path):
    write(tmp_path / "artifacts/evaluate/one/metrics.json", {"accuracy": 0.5})
    write(tmp_path / "artifacts/register/two/version.json", {"name": "two", "version": 1, "aliases": []})
    found = experiments(tmp_path)
    console = Console(width=110, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(model_table(found))
    text = console.export_text()
    assert "one (not registered)" in text
    assert table_rows(text)["two"] == ["v1", "not", "evaluated", "-", "-", "-"]


def test_an_experiment_that_left_the_graph_is_not_shown(tmp_path: Path):
    for name in ("old", "new"):
        write(tmp_path / f"artifacts/evaluate/{name}/metrics.json", {"accuracy": 0.5})
    assert [experiment.name for experiment in experiments(tmp_path, ["download@scenes", "train@new"])] == ["new"]
