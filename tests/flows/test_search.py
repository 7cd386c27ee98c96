"""The search over a real DVC, git and Optuna, with toy stages: kills, pruning, hanging, failures, the diff."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from flows.searching.trials import EPOCH
from stages import train
from stages.params import load_params
from tests.conftest import SMALL, is_alive
from tests.support.small_data import make_params
from tests.support.toy_project import git, make_toy, start_flow

TOY_STAGES = """
stages:
  prepare:
    foreach: ${datasets}
    do:
      cmd: python work.py prepare ${key}
      outs: ["artifacts/prepare/${key}"]
  features:
    foreach: ${features}
    do:
      cmd: python work.py features ${key}
      deps: ["artifacts/prepare/${item.dataset}"]
      outs: ["artifacts/features/${key}"]
  train:
    foreach: ${experiments}
    do:
      cmd: python work.py train ${key}
      params: ["experiments.${key}", train]
      deps:
        - work.py
        - artifacts/features/${item.inputs.image}
      outs: ["artifacts/train/${key}"]
  evaluate:
    foreach: ${experiments}
    do:
      cmd: python work.py evaluate ${key}
      deps: ["artifacts/train/${key}"]
      metrics: ["artifacts/evaluate/${key}/metrics.json"]
"""

TOY_WORK = """
import json, math, os, pathlib, sys, time
from ruamel.yaml import YAML

stage, name = sys.argv[1:]
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
folder = pathlib.Path("artifacts", stage, name)
folder.mkdir(parents=True, exist_ok=True)
calls = pathlib.Path(os.environ["TOY_CALLS"])
with calls.open("a") as file:
    file.write(f"{stage} {name}\\n")
if stage in ("prepare", "features"):
    (folder / "out.txt").write_text(name)
if stage == "train":
    experiment = params["experiments"][name]
    wanted = {**params["train"], **experiment["train"]}
    rate, epochs, seed = wanted["learning_rate"], wanted["epochs"], wanted["seed"]
    number = calls.read_text().split("\\n").count(f"train {name}")
    if os.environ.get("TOY_FAIL", "none") in (str(number), "all"):
        sys.exit("the toy is broken")
    loss = abs(math.log10(rate) + 3.2) + 0.01 * (experiment["fusion"] != "late") + seed / 1000
    rows = ["epoch,train_loss,val_loss"]
    for epoch in range(epochs):
        value = loss + 0.2 * (epochs - epoch - 1) if rate < 0.09 else math.nan
        print(f"epoch {epoch + 1}: train_loss 0.1000, val_loss {value:.4f}", flush=True)
        rows.append(f"{epoch},0.1,{value}")
        if os.environ.get("TOY_SLEEP") == str(number):
            pathlib.Path(f"{calls}.asleep").touch()
            time.sleep(600)
        time.sleep(float(os.environ.get("TOY_EPOCH_S", "0")))
    (folder / "curves.csv").write_text("\\n".join(rows))
    (folder / "manifest.json").write_text(json.dumps({"settings": {"best_epoch": epochs - 1}}))
if stage == "evaluate":
    rows = pathlib.Path("artifacts/train", name, "curves.csv").read_text().split("\\n")
    score = 1 - float(rows[-1].split(",")[-1])
    (folder / "metrics.json").write_text(json.dumps({"accuracy": score, "settings": {"headline": "accuracy"}}))
"""

RANGES = """
experiments.classify.train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
experiments.classify.fusion: [attention, concat, late]
experiments.vqa.dim: {low: 64, high: 128, step: 64}
"""


@pytest.fixture(scope="module")
def committed_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes: dict[str, object] = {"experiments.classify.train": {"epochs": 3}, "train.monitor": "loss"}
    return make_toy(tmp_path_factory, changes, TOY_STAGES, TOY_WORK)


@pytest.fixture
def toy(committed_toy: Path, tmp_path: Path) -> Path:
    (committed_toy / "search.yaml").write_text(RANGES)
    return Path(shutil.copytree(committed_toy, tmp_path / "toy"))


def search(toy: Path, *arguments: str, **environment: str) -> str:
    process = start_flow(toy, "search", "classify", *arguments, **environment)
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, "Traceback" in output) == (0, False), output
    return output


def trials(toy: Path) -> list[list[str]]:
    """Return the rows of the table: number, score, learning rate, fusion, epochs, seconds, state."""
    text = (toy / "artifacts/search/classify/table.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3].isascii()]
    return [row for row in rows if len(row) == 7 and row[0].isdigit()]


def outcome(toy: Path) -> list[list[str]]:
    return [row[:5] + row[6:] for row in trials(toy)]


def wait_for_sleep(toy: Path, process: subprocess.Popen[str]) -> list[int]:
    while not (toy / "calls.txt.asleep").exists() and process.poll() is None:
        time.sleep(0.05)
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def test_a_killed_search_goes_on_to_the_same_end_as_an_unbroken_one(toy: Path, tmp_path: Path):
    unbroken = Path(shutil.copytree(toy, tmp_path / "unbroken"))
    (toy / "params.yaml").write_text((toy / "params.yaml").read_text() + "# not committed\n")
    before = {path: path.read_bytes() for path in (toy / "params.yaml", toy / "dvc.yaml", toy / ".git/index")}
    process = start_flow(toy, "search", "classify", "--trials", "4", TOY_SLEEP="3")
    left = wait_for_sleep(toy, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert any(is_alive(pid) for pid in left)  # DVC and its stage lead a session of their own

    output = search(toy, "--trials", "4")
    assert not any(is_alive(pid) for pid in left)
    assert "trial 1 of" not in output and "trial 3 of 4: " in output
    calls = (toy / "calls.txt").read_text().splitlines()
    assert calls.count("train classify") == 5  # one of them was killed
    assert len([call for call in calls if call.startswith("features")]) == 3
    assert "1 more were killed and tried again" in output
    search(unbroken, "--trials", "2")
    search(unbroken, "--trials", "4")
    assert (unbroken / "calls.txt").read_text().splitlines().count("train classify") == 4
    assert outcome(toy) == outcome(unbroken) and len(outcome(toy)) == 4
    diffs = [(folder / "artifacts/search/classify/best.diff").read_text() for folder in (toy, unbroken)]
    assert diffs[0].replace(" # not committed\n", "") == diffs[1]
    assert {path: path.read_bytes() for path in before} == before
    assert not (toy / "artifacts/train").exists() and not (toy / ".fuseline/search/classify/clone").exists()


def test_the_first_trial_is_what_stands_and_the_best_is_a_diff_that_git_takes(toy: Path):
    output = search(toy, "--trials", "6", "--seeds", "2")
    rows = trials(toy)
    assert rows[0][1:4] == ["0.6941", "0.003", "attention"]
    best = min(rows, key=lambda row: float(row[1].strip("*")) if row[6] == "complete" else 9)
    assert best[1].startswith("**") and f"| best | {best[1].strip('*')[:3]}" in output
    folder = toy / "artifacts/search/classify"
    git(toy, "apply", str(folder / "best.diff"))
    taken = load_params(toy / "params.yaml")
    assert taken.train_of("classify").learning_rate == float(best[2])
    assert taken.experiments["classify"].fusion == best[3]
    assert "over 2 seeds" in output and "twice the standard error of that is" in output
    assert all((folder / name).stat().st_size > 1000 for name in ("history.png", "importances.png"))
    changed = start_flow(toy, "search", "classify", "--trials", "7")
    told, _ = changed.communicate()
    assert changed.returncode == 1 and "is of 6 trials with other params: scores would not compare" in told


def test_a_trial_behind_the_median_of_its_like_is_ended(toy: Path):
    search(toy, "--trials", "9", TOY_EPOCH_S="0.05")
    pruned = [row for row in trials(toy) if row[6] == "pruned"]
    assert pruned and all(int(row[4]) < 3 and row[1] == "-" for row in pruned)
    assert (
        "worse after epoch 1 than half of those with 3 epochs"
        in (toy / "artifacts/search/classify/table.md").read_text()
    )


def test_what_diverges_is_ended_what_params_refuse_is_not_begun_and_the_search_goes_on(toy: Path):
    ranges = ["train.learning_rate: {low: 1e-3, high: 5.0, log: true}", "dim: [128, 72]", "attention_heads: [4, 16]"]
    (toy / "search.yaml").write_text("".join(f"experiments.classify.{line}\n" for line in ranges))
    output = search(toy, "--trials", "6")
    assert "val_loss is nan: the training diverged" in output
    assert (
        "refuses these together: experiments.classify.attention_heads: got 16; expected a divisor of dim 72" in output
    )


def test_what_hangs_is_ended_what_fails_says_why_and_the_search_goes_on(toy: Path):
    output = search(toy, "--trials", "4", "--silence", "0.1", TOY_SLEEP="2", TOY_FAIL="3")
    assert "failed: no sign of life for 6 s; it was ended" in output
    assert "failed: exit code 1\nthe toy is broken" in output
    assert [row[6] for row in trials(toy)] == ["complete", "failed", "failed", "complete"]
    assert "- Trial 3: exit code 1 the toy is broken" in output


def test_three_failures_in_a_row_end_the_search(toy: Path):
    process = start_flow(toy, "search", "classify", "--trials", "9", TOY_FAIL="all")
    output, _ = process.communicate()
    assert (process.returncode, "Traceback" in output) == (1, False)
    assert "train@classify failed: 3 trials in a row" in output
    assert (toy / "calls.txt").read_text().splitlines().count("train classify") == 3


def test_ctrl_c_leaves_nothing_running(toy: Path):
    process = start_flow(toy, "search", "classify", "--trials", "3", TOY_SLEEP="2")
    children = wait_for_sleep(toy, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130 and "Traceback" not in output, output
    assert "the same command goes on" in output
    assert len(children) >= 2 and not any(is_alive(pid) for pid in children)
    assert len(trials(toy)) == 1 and not (toy / ".fuseline/search/classify/clone").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["words"], "experiments has no 'words'; expected one of caption, "),
        (["classify", "--trials", "0"], "--trials: got 0; expected more than 0"),
        (["classify", "--file", "none.yaml"], "none.yaml: no such file; write one with keys of params.yaml"),
        (["caption"], "nothing to search for caption; name a key and its range, such as"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(toy: Path, arguments: list[str], message: str):
    process = start_flow(toy, "search", *arguments)
    output, _ = process.communicate()
    assert (process.returncode, "Traceback" in output) == (1, False)
    assert message in output
    assert not (toy / "calls.txt").exists()


def test_the_train_stage_prints_epochs_as_a_search_reads_them(project: Path, capsys: pytest.CaptureFixture[str]):
    train.run(make_params(project, SMALL | {"train.epochs": 2}), "caption")
    found = [match for line in capsys.readouterr().out.splitlines() if (match := EPOCH.match(line))]
    assert [match[1] for match in found] == ["1", "2"]
    assert all(" ".join(pair.split(" ")[:1]) for match in found for pair in match[2].split(", "))
    assert all(dict(pair.split(" ") for pair in match[2].split(", ")).keys() >= {"val_loss"} for match in found)
