"""A model scored again on the test data it was evaluated on says the same, in a process that has only its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.base.errors import InputError
from stages.base.store import PREDICTIONS, artifact_path
from stages.packaging import rescore
from stages.params import load_params
from tests.conftest import OTHERS

pytestmark = pytest.mark.filterwarnings("ignore")


def settings_of() -> dict:
    params = load_params()
    return {"base": params.base.model_dump(), "evaluate": params.evaluate.model_dump()}


@pytest.mark.parametrize("name", ["caption", "classify", *OTHERS])
def test_every_task_says_again_what_its_evaluation_said(every_task, name):
    prepared = artifact_path("prepare", load_params().experiments[name].dataset)
    found = rescore.rescore(artifact_path("train", name), settings_of(), prepared)
    assert found == pq.read_table(artifact_path("evaluate", name) / PREDICTIONS).to_pydict()


def test_a_fresh_process_needs_the_code_the_model_and_the_data(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "settings.json").write_text(json.dumps(settings_of()))
    places = {"model": artifact_path("train", "classify"), "prepared": artifact_path("prepare", "scenes")}
    places |= {"settings": tmp_path / "settings.json", "out": tmp_path / "again.parquet"}
    arguments = [f"--{key}={path.absolute()}" for key, path in places.items()]
    environment = os.environ | {"PYTHONPATH": str(Path(rescore.__file__).parents[2])}
    command = [sys.executable, "-m", "stages.packaging.rescore", *arguments]
    subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, check=True)
    again = pq.read_table(tmp_path / "again.parquet").to_pydict()
    assert again == pq.read_table(artifact_path("evaluate", "classify") / PREDICTIONS).to_pydict()


def test_data_that_lacks_a_column_of_the_model_is_refused_by_name(project, tmp_path):
    prepared = artifact_path("prepare", "scenes")
    for path in prepared.glob("test-*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["message"]), path)
    manifest = json.loads((prepared / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        entry["bytes"] = (prepared / name).stat().st_size
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="artifacts/prepare/scenes has no column message; its source gives sample_id"):
        rescore.rescore(artifact_path("train", "classify"), settings_of(), prepared)
