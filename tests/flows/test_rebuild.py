"""Versions made again from their commit: by real stages, and by toy ones where something goes wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from flows.preset import composed, preset_names
from flows.rebuilding.version import check_commit, read_version
from stages.base.addresses import with_credentials, without_credentials
from stages.base.errors import InputError
from stages.base.store import artifact_path, read_manifest
from stages.base.tracking import client
from stages.packaging.logged_model import log_run
from stages.params import load_params
from stages.registry.lineage import DIGEST_TAG, lineage_tags, version_digest
from stages.registry.lineage_files import DIFF, LINEAGE, write_lineage
from stages.registry.start import start_from
from tests.conftest import dvc, is_alive, table_rows
from tests.support.small_data import PROJECT, write_params
from tests.support.small_registry import add_version

TOY_STAGES = """
stages:
  nothing:
    cmd: mkdir -p artifacts/features && echo none > artifacts/features/none
    outs: [artifacts/features/none]
  start:
    foreach: ${experiments}
    do:
      cmd: mkdir -p artifacts/start/${key} && echo none > artifacts/start/${key}/about.txt
      outs:
        - artifacts/start/${key}: {persist: true}
  download:
    foreach: ${datasets}
    do:
      cmd: python stages/work.py download ${key}
      outs: ["artifacts/download/${key}"]
  prepare:
    foreach: ${datasets}
    do:
      cmd: python stages/work.py prepare ${key} artifacts/download/${key}
      deps: [stages/work.py, "artifacts/download/${key}"]
      outs: ["artifacts/prepare/${key}"]
  features:
    foreach: ${features}
    do:
      cmd: python stages/work.py features ${key} artifacts/prepare/${item.dataset}
      deps: ["artifacts/prepare/${item.dataset}"]
      outs: ["artifacts/features/${key}"]
  train:
    foreach: ${experiments}
    do:
      cmd: python stages/work.py train ${key} artifacts/features/${item.inputs.text}
      params: [train]
      deps:
        - stages/work.py
        - artifacts/features/none
        - artifacts/features/${item.inputs.text}
        - artifacts/start/${key}
      outs: ["artifacts/train/${key}"]
  evaluate:
    foreach: ${experiments}
    do:
      cmd: python stages/work.py evaluate ${key} artifacts/train/${key}
      deps: ["artifacts/train/${key}"]
      outs: ["artifacts/evaluate/${key}/manifest.json"]
      metrics: ["artifacts/evaluate/${key}/metrics.json"]
"""

TOY_WORK = """
import hashlib, json, os, pathlib, sys, time
from ruamel.yaml import YAML

stage, name, *inputs = sys.argv[1:]
folder = pathlib.Path("artifacts", stage, name)
folder.mkdir(parents=True, exist_ok=True)
print(f"at work on {stage} {name}")
if os.environ.get("TOY_SLEEP") == stage:
    print(f"asleep {os.getpid()}", flush=True)
    time.sleep(600)
if os.environ.get("TOY_FAIL") == stage:
    sys.exit("the toy is broken")


def write(file_name, value):
    (folder / file_name).write_text(value)


text = "".join(pathlib.Path(path, "out.txt").read_text() for path in inputs) or os.environ.get("TOY_RAW", "raw")
settings, start = {"train_key": "k"}, pathlib.Path("artifacts/start", name)
if stage == "train" and (start / "version.json").exists():
    text += (start / "model/weights").read_text()
    settings["init"] = {"init": name, **json.loads((start / "version.json").read_text())}
if stage == "train":
    text += str(YAML(typ="safe").load(pathlib.Path("params.yaml"))["train"]["epochs"])
    write("curves.csv", "epoch,val_loss\\n0,0.5\\n")
if stage == "evaluate":
    metrics = {"accuracy": len(text) / 100, "settings": {"headline": "accuracy"}}
    write("metrics.json", json.dumps(metrics))
write("out.txt", text)
files = {path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in sorted(folder.glob("*.*"))}
files = {name: file for name, file in files.items() if name != "manifest.json"}
known = {"schema_version": 1, "files": {n: {**f, "bytes": (folder / n).stat().st_size} for n, f in files.items()}}
write("manifest.json", json.dumps({**known, "settings": settings, "params": {}, "counts": {}}))
"""

INPUTS = {
    "image": "none",
    "audio": "none",
    "text": "scenes-message",
    "question": "none",
    "video": "none",
    "fields": "none",
}
TINY: dict[str, Any] = {
    "base.threads": 1,
    "base.device": "cpu",
    "datasets.scenes.samples": 60,
    "datasets.scenes.image_size_px": 32,
    "datasets.scenes.max_objects": 1,
    "train.epochs": 1,
}


@pytest.fixture
def store(made_store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a project the current one, with an empty tracking store where the default one is."""

    def enter(root: Path) -> None:
        monkeypatch.chdir(root)
        (root / "artifacts/mlflow").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made_store, root / "artifacts/mlflow/mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/artifacts/mlflow/mlflow.db")

    return enter


def git(root: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True, env={**os.environ, **identity}
    )
    return done.stdout.strip()


def write_tiny_params(root: Path, experiments: dict[str, dict[str, Any]]) -> None:
    write_params(root / "params.yaml", TINY)
    params = YAML(typ="safe").load(root / "params.yaml")
    params["features"] = {"scenes-message": params["features"]["scenes-message"]}
    tiny = {**params["experiments"]["classify"], "inputs": INPUTS, "dim": 16, "train": {}}
    params["experiments"] = {name: tiny | changes for name, changes in experiments.items()}
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)


def commit_project(root: Path, experiments: dict[str, dict[str, Any]]) -> None:
    (root / ".gitignore").write_text("/artifacts/\n/.fuseline/\n/data/\n__pycache__/\n")
    (root / "requirements.lock").write_text("torch==2\n")
    write_tiny_params(root, experiments)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "tiny")


@pytest.fixture(scope="module")
def committed_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of toy stages, run once on its commit, and registered by hand as version 1 of `tiny`."""
    root = tmp_path_factory.mktemp("rebuild_toy")
    (root / "stages").mkdir()
    (root / "stages/work.py").write_text(TOY_WORK)
    (root / "dvc.yaml").write_text(TOY_STAGES)
    (root / ".dvc").mkdir()
    shutil.copyfile(PROJECT / ".dvc/config", root / ".dvc/config")
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    commit_project(root, {"tiny": {}})
    dvc(root, "repro")
    return root


@pytest.fixture
def toy(committed_toy: Path, tmp_path: Path, store: Callable[[Path], None]) -> Path:
    root = Path(shutil.copytree(committed_toy, tmp_path / "toy"))
    store(root)
    register_toy()
    return root


def register_toy() -> None:
    """Register what the toy stages made, as the stage `register` does, but for the model itself."""
    params, mlflow_client = load_params(), client()
    run_id = log_run(mlflow_client, params, "tiny")
    if not mlflow_client.search_registered_models():
        mlflow_client.create_registered_model("tiny")
    mlflow_client.create_model_version("tiny", "nowhere", run_id=run_id, tags=lineage_tags(params, "tiny"))


def start(root: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "stages.register", "--rebuild", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )


def rebuilt(root: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    process = start(root, *arguments, **environment)
    output, _ = process.communicate()
    return process.returncode, output


def state(root: Path) -> dict[str, bytes]:
    """Return what a rebuild must leave alone: every file, but for locks, logs of git and the store's own pages."""
    skipped = (".fuseline/locks", ".dvc/tmp", ".git/logs", "artifacts/mlflow/mlflow.db", "__pycache__")
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    names = {path: path.relative_to(root).as_posix() for path in paths}
    return {names[path]: path.read_bytes() for path in paths if not any(part in names[path] for part in skipped)}


def num_runs() -> int:
    return len(client().search_runs([e.experiment_id for e in client().search_experiments()]))


@pytest.fixture
def real_project(tmp_path: Path, store: Callable[[Path], None]) -> Path:
    """The project's own stages with tiny params, committed, then changed in three ways, run and registered.

    The model registered starts from another, `first`.
    """
    root = tmp_path / "project"
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "stages", root / "stages", ignore=ignored)
    (root / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(PROJECT / name, root / name)
    commit_project(root, {"first": {}, "tiny": {"init": "first"}})
    with (root / "stages/media/text.py").open("a") as file:
        file.write("# not committed\n")
    (root / "stages/new.py").write_text("# not known to git\n")
    (root / "stages/secret.env").write_text("TOKEN=1\n")
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("epochs: 1", "epochs: 2"))
    store(root)
    dvc(root, "repro", "register@tiny")
    return root


def test_a_version_of_an_uncommitted_tree_is_rebuilt_to_the_byte_and_the_project_left_alone(real_project: Path):
    git(real_project, "checkout", "--quiet", ".")
    (real_project / "stages/new.py").unlink()
    (real_project / "requirements.lock").write_text("torch==3\n")
    before, runs = state(real_project), num_runs()
    code, output = rebuilt(real_project, "tiny", "champion")
    assert code == 0, output
    assert "rebuilding version 1 of tiny from commit" in output and "with what was not committed" in output
    assert "note: requirements.lock is another than the version's" in output
    assert "train tiny: best epoch" in output and "features scenes-message: " in output and " 0 extracted" not in output
    assert f"same bytes: version 1 of tiny is rebuilt, digest {version_digest('tiny')[:12]}" in output
    assert "train tiny: starts with first's encoder of text" in output
    assert output.count("same bytes") == 7
    tags = client().get_model_version("tiny", "1").tags
    first = read_manifest(artifact_path("train", "first"))["files"]["model.safetensors"]["sha256"]
    assert (tags["fuseline.init"], tags["fuseline.init_weights"]) == ("first", first)
    assert table_rows(output)["download@scenes"][:2] == ["DVC's", "cache"]
    assert state(real_project) == before and num_runs() == runs
    assert len(git(real_project, "worktree", "list").splitlines()) == 1
    lineage = next((real_project / "artifacts/mlflow/files/tiny").glob(f"*/artifacts/{LINEAGE}"))
    assert "TOKEN" not in (lineage / DIFF).read_text() and "new.py" in (lineage / DIFF).read_text()


def test_other_raw_data_are_told_from_the_versions_with_both_values_of_the_metrics(toy: Path):
    lock = YAML(typ="safe").load(toy / "dvc.lock")
    md5 = lock["stages"]["download@scenes"]["outs"][0]["md5"]
    (toy / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    code, output = rebuilt(toy, "tiny", "1", TOY_RAW="others")
    assert code == 1, output
    assert "download@scenes: dvc checkout failed" in output
    rows = {line.split()[0]: line for line in output.splitlines() if "@" in line and line.endswith(" differs  ")}
    assert set(rows) == {"download@scenes", "prepare@scenes", "features@scenes-message", "train@tiny", "evaluate@tiny"}
    assert "downloaded again" in rows["download@scenes"]
    assert "accuracy: 0.04, rebuilt 0.07" in output and "out.txt: other bytes" in output
    assert "differs: version 1 of tiny is not rebuilt to the byte; first in download@scenes" in output


def test_raw_data_that_left_the_cache_come_from_the_remote(toy: Path, tmp_path: Path):
    dvc(toy, "remote", "add", "--local", "--default", "far", str(tmp_path / "far"))
    dvc(toy, "push", "download@scenes")
    shutil.rmtree(toy / ".dvc/cache")
    code, output = rebuilt(toy, "tiny", "1", TOY_RAW="others")
    assert code == 0, output
    assert "dvc checkout failed" in output and "DVC's remote" in output


def test_another_digest_is_told_though_every_stage_is_the_same(toy: Path):
    client().set_model_version_tag("tiny", "1", DIGEST_TAG, "0" * 64)
    code, output = rebuilt(toy, "tiny", "1")
    assert code == 1, output
    assert f"version 1 of tiny has the digest {'0' * 12}, its rebuild {version_digest('tiny')[:12]}" in output


def test_code_that_changed_between_training_and_registration_is_named(toy: Path):
    (toy / "stages/work.py").write_text(TOY_WORK.replace('"k"', '"other"'))
    git(toy, "commit", "--quiet", "-am", "another key")
    register_toy()
    code, output = rebuilt(toy, "tiny", "2")
    assert code == 1, output
    assert "settings.train_key: k, rebuilt other" in output
    assert "stages/work.py: when the stage ran for the version, it was not what the version's commit has" in output


def test_what_a_version_went_on_from_comes_from_the_registry_or_is_missed_by_name(toy: Path, tmp_path: Path):
    number = add_version(client(), "tiny", tmp_path)
    start_from(client(), "tiny", number)
    dvc(toy, "repro")
    register_toy()
    shutil.rmtree(toy / "artifacts/start/tiny")
    assert "xxxxxxx" in (toy / "artifacts/train/tiny/out.txt").read_text()
    code, output = rebuilt(toy, "tiny", str(number + 1))
    assert code == 0, output
    assert f"same bytes: version {number + 1} of tiny is rebuilt" in output
    client().delete_model_version("tiny", str(number))
    code, output = rebuilt(toy, "tiny", str(number + 1))
    assert code == 2, output
    told = f"version {number + 1} of tiny cannot be rebuilt without what it went on from: tiny: nothing can start from"
    assert f"error: {told} version {number}: it is not there" in " ".join(output.split())


def test_an_interruption_leaves_neither_process_nor_worktree(toy: Path):
    before = state(toy)
    process = start(toy, "tiny", "1", TOY_SLEEP="prepare")
    assert process.stdout is not None
    assert any(line.startswith("asleep") for line in process.stdout)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait() == 130, rest
    assert "Traceback" not in rest
    assert len(children) >= 2 and not [pid for pid in children if is_alive(pid)]
    assert state(toy) == before
    assert len(git(toy, "worktree", "list").splitlines()) == 1


def test_after_a_kill_the_next_rebuild_clears_up_and_one_that_fails_names_the_stage(toy: Path):
    before = state(toy)
    process = start(toy, "tiny", "1", TOY_SLEEP="prepare")
    assert process.stdout is not None
    assert any(line.startswith("asleep") for line in process.stdout)
    children = psutil.Process(process.pid).children(recursive=True)
    for found in [psutil.Process(process.pid), *children]:
        found.kill()
    process.communicate()
    while [child for child in children if is_alive(child.pid)]:
        time.sleep(0.05)
    assert len(git(toy, "worktree", "list").splitlines()) == 2
    code, output = rebuilt(toy, "tiny", "1", TOY_FAIL="prepare")
    assert code == 2, output
    assert "prepare@scenes failed: exit code 1\n" in output and output.endswith("the toy is broken\n")
    assert "Traceback" not in output
    assert state(toy) == before
    assert len(git(toy, "worktree", "list").splitlines()) == 1


def test_what_cannot_be_rebuilt_is_said_before_anything_runs(toy: Path, tmp_path: Path):
    version = read_version("tiny", "1", tmp_path)
    check_commit(toy, version)
    unknown = replace(version, tags={**version.tags, "git_commit": "12" * 20})
    with pytest.raises(
        InputError, match="version 1 of tiny was made from commit 1212.*, which this repository does not"
    ):
        check_commit(toy, unknown)
    with pytest.raises(InputError, match="'tiny' has no version '7'; `python -m stages.register --list`"):
        read_version("tiny", "7", tmp_path)
    client().set_model_version_tag("tiny", "1", "fuseline.git_commit", "none")
    with pytest.raises(InputError, match="version 1 of tiny was registered outside of git"):
        read_version("tiny", "1", tmp_path)


def test_too_large_changes_are_not_kept_and_said(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (toy / "stages/work.py").write_text("#" + "\n#".join(map(str, range(800_000))))
    folder = tmp_path / "lineage"
    folder.mkdir()
    write_lineage(folder, load_params(), "tiny", ["torch"])
    assert not (folder / DIFF).exists()
    assert "the uncommitted changes are more than 4 MB and are not kept: commit" in capsys.readouterr().out


def test_the_params_of_every_preset_are_kept_as_they_are(toy: Path, tmp_path: Path):
    for name in preset_names(PROJECT):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "written.yaml").write_text(composed(PROJECT, name), encoding="utf8")
        params = load_params(folder / "written.yaml")
        write_lineage(folder, params, next(iter(params.experiments)), ["torch"])
        assert load_params(folder / "params.yaml") == params


def test_credentials_in_addresses_are_left_out_and_put_back_where_they_are_known():
    known = "mirror: 'https://me:secret@mirror.test/data'\n"
    kept = without_credentials(known)
    assert kept == "mirror: 'https://***@mirror.test/data'\n"
    assert with_credentials(kept, known) == known
    assert with_credentials(kept, "mirror: https://me:secret@other.test/data") == kept


def test_two_evaluations_of_one_training_have_a_run_each(toy: Path):
    metrics = toy / "artifacts/evaluate/tiny/metrics.json"
    first = client().get_model_version("tiny", "1").run_id
    metrics.write_text(json.dumps({"accuracy": 0.5, "settings": {"headline": "accuracy"}}))
    (toy / "artifacts/evaluate/tiny/manifest.json").write_text("{}")
    register_toy()
    second = client().get_model_version("tiny", "2").run_id
    assert first != second
    scores = [client().get_run(run_id).data.metrics["test_accuracy"] for run_id in (first, second)]
    assert scores == [0.04, 0.5]
    register_toy()
    assert client().get_model_version("tiny", "3").run_id == second
