"""Versions over one base: it is in the registry once, each version answers wherever it is asked, and can be packed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows import rollback
from stages import evaluate, register, train
from stages.base.errors import InputError
from stages.base.store import PREDICTIONS, artifact_path, bases_folder, sha256_file
from stages.base.tracking import client
from stages.params import load_params
from stages.registry.comparison import read_predictions, score_again
from stages.registry.registry import champion_of, fault_of
from stages.serving.served import resolve
from stages.serving.version import Place, Version, load_version
from tests.conftest import SMALL, working_in
from tests.support.small_data import make_params
from tests.support.tiny_models import write_tiny

pytest.importorskip("peft", reason="needs the extra `huggingface`")
pytestmark = pytest.mark.filterwarnings("ignore")

VERSIONS = 10
ASK = """
import json, sys, mlflow, pyarrow.parquet as pq
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pq.read_table(sys.argv[2]).to_pylist()
print(json.dumps(model.predict({"image": [row["image"] for row in rows]})["caption"].tolist()))
"""


def changes(root: Path, number: int = 0) -> dict[str, Any]:
    return SMALL | {
        "experiments.caption.head": {"name": "language_model", "model": str(root / "llama")},
        "experiments.caption.max_words": 8,
        "experiments.caption.train": {"epochs": 1, "batch_size": 32, "texts_per_step": 1, "word_loss": 0.0},
        "evaluate.beam_size": 1,
        "evaluate.num_samples_shown": 1 + number,  # another digest, equal predictions
    }


@pytest.fixture(scope="module")
def made(finished_project, made_store, tmp_path_factory):
    """A project with ten versions over one base, whose own folder is gone."""
    root = tmp_path_factory.mktemp("bases") / "project"
    shutil.copytree(finished_project, root, ignore=shutil.ignore_patterns("mlflow", "register", "locks"))
    (root / "artifacts/mlflow").mkdir()
    shutil.copyfile(made_store, root / "artifacts/mlflow/mlflow.db")
    write_tiny("llama", root / "llama")
    (root / "llama/README.md").write_text("---\nlicense: mit\n---\n")
    with working_in(root):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root}/artifacts/mlflow/mlflow.db"
        train.run(make_params(root, changes(root)), "caption")
        for number in range(VERSIONS):
            params = make_params(root, changes(root, number))
            for stage in (evaluate, register):
                stage.run(params, "caption")
    (root / "llama").rename(root / "elsewhere")
    return root


@pytest.fixture
def project(made, monkeypatch):
    """The project of ten versions as the current folder, to be left as it is."""
    monkeypatch.chdir(made)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made}/artifacts/mlflow/mlflow.db")
    return made


@pytest.fixture
def moved(project):
    """The same without the store of this machine."""
    bases_folder().rename("bases.aside")
    yield project
    shutil.rmtree(bases_folder(), ignore_errors=True)
    Path("bases.aside").rename(bases_folder())


def predicted() -> list[str]:
    return pq.read_table(artifact_path("evaluate", "caption") / PREDICTIONS).to_pydict()["caption"]


def captions(version: Version) -> list[str]:
    """Return what a version that the server loaded says of the test samples."""
    rows = pq.read_table(next(artifact_path("prepare", "scenes").glob("test-*.parquet"))).to_pylist()
    return [answer["caption"] for answer in version.predictor.predict([{"image": row["image"]} for row in rows])]


def ask(uri: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Ask a version about the test samples, in a process that has nothing of the project but its own files."""
    test = next(artifact_path("prepare", "scenes").glob("test-*.parquet")).absolute()
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    command = [sys.executable, "-W", "ignore", "-c", ASK, uri, str(test)]
    return subprocess.run(command, cwd=folder, env=inherited | environment, capture_output=True, text=True)


def answers(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_ten_versions_have_one_base_and_ten_adapters_in_the_registry(project):
    weights = [path for path in Path("artifacts/mlflow/files").rglob("*.safetensors")]
    base, adapter = Path("elsewhere/model.safetensors"), artifact_path("train", "caption") / "model.safetensors"
    digests = [sha256_file(path) for path in weights]
    assert digests.count(sha256_file(base)) == 1 and digests.count(sha256_file(adapter)) == VERSIONS
    total = sum(path.stat().st_size for path in weights)
    assert total == base.stat().st_size + VERSIONS * adapter.stat().st_size
    kept = [path for path in bases_folder().iterdir() if path.is_dir()]
    assert [sha256_file(path / "model.safetensors") for path in kept] == [sha256_file(base)]


def test_the_version_says_which_base_it_stands_on_and_whose_licence_that_has(project):
    tags = client().get_model_version("caption", "1").tags
    assert re.fullmatch(r"llama, licence mit, sha256 [0-9a-f]{64}", tags["fuseline.base.head"])
    card = load_version(client(), Place("caption", "1")).card
    assert card.lineage["base.head"] == tags["fuseline.base.head"]


def test_versions_in_one_server_share_the_base_and_answer_as_evaluated(project):
    versions = [load_version(client(), Place("caption", str(number))) for number in range(1, 4)]
    models = [version.predictor.task.decoder.model for version in versions]
    places = [{w.data_ptr() for name, w in model.named_parameters() if "lora_" not in name} for model in models]
    assert places[0] == places[1] == places[2]
    assert [captions(version) for version in versions] == [predicted()] * 3


def test_a_process_elsewhere_brings_the_base_and_verifies_it_when_it_is_read_again(project, tmp_path):
    found = {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"], "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert answers(ask("models:/caption@champion", tmp_path, **found)) == predicted()
    (place,) = (path for path in (tmp_path / "cache/fuseline/bases").iterdir() if path.is_dir())
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    refused = ask("models:/caption/2", tmp_path, **found)
    words = rf"base .* \(llama\): its file model.safetensors is changed .* in {place}; remove {place} "
    assert refused.returncode and re.search(words, refused.stderr)


def test_a_version_whose_base_is_nowhere_is_refused_by_name_and_cannot_be_promoted(moved):
    (files,) = Path("artifacts/mlflow/files/bases.pretrained").rglob("base")
    kept = files.rename("base.aside")
    try:
        words = r"base .* \(llama\), digest .{64}, is missing: .*, the registry .* does not give it"
        with pytest.raises(ValueError, match=words):  # the version's own InputError
            load_version(client(), Place("caption", "1"))
        words = r"version 3 is not whole: the file config.json of its base .* \(llama\) has no bytes in the registry"
        with pytest.raises(InputError, match=words):
            register.command(["caption", "--promote", "3", "--reason", "test"])
        with pytest.raises(InputError, match="is missing"):
            register.run(load_params(), "caption")
    finally:
        kept.rename(files)
    register.command(["caption", "--promote", "3", "--reason", "test"])


def test_what_a_lost_store_lacks_comes_from_the_registry(moved):
    assert captions(load_version(client(), Place("caption", "1"))) == predicted()


def test_a_packed_version_answers_without_registry_store_or_network(moved, tmp_path, capsys):
    packed = tmp_path / "packed"
    register.command(["caption", "--pack", str(packed), "--version", "2"])
    assert f"caption: version 2 with all that it needs is in {packed}" in capsys.readouterr().out
    with pytest.raises(InputError, match=f"{packed} is there already; name a new folder"):
        register.command(["caption", "--pack", str(packed)])
    shutil.rmtree(bases_folder())
    wanted = predicted()
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert answers(ask(str(packed), tmp_path, **nowhere)) == wanted
    assert not (tmp_path / "cache").exists()
    served = load_version(client(), resolve(client(), str(packed)))
    assert captions(served) == wanted and served.card.name == "packed"
    for path in packed.rglob("base.json"):
        path.unlink()  # so the versions are that were registered before there were references
    assert captions(load_version(client(), resolve(client(), str(packed)))) == wanted


def test_the_files_of_a_version_alone_say_what_they_lack(moved, tmp_path):
    import mlflow

    client()
    copied = mlflow.artifacts.download_artifacts("models:/caption/1", dst_path=str(tmp_path / "copied"))
    refused = ask(copied, tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    words = r"is missing: not in .*, no registry is named \(MLFLOW_TRACKING_URI\)\. .*register <name> --pack FOLDER"
    assert refused.returncode and re.search(words, refused.stderr)
    assert not (tmp_path / "mlflow.db").exists()


def test_the_gate_scores_a_version_again_with_the_base_of_this_machine(project, tmp_path):
    path = score_again("models:/caption/2", artifact_path("prepare", "scenes"), tmp_path)
    assert read_predictions(path)["caption"] == predicted()


def test_a_rollback_and_deleted_versions_leave_the_base_to_the_others(project):
    before = champion_of(client(), "caption")
    rollback.rollback(client(), "caption", "test")
    after = champion_of(client(), "caption")
    assert after != before
    for number in {1, before} - {after}:
        client().delete_model_version("caption", str(number))
    assert fault_of(client(), "caption", after) is None
    assert captions(load_version(client(), Place("caption", str(after)))) == predicted()
