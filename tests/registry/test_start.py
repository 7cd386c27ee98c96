"""The champion is put where the next training starts from, and what comes of it says so."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import evaluate, register, train
from stages.base.errors import InputError
from stages.base.store import VERSION_FILE, artifact_path, read_manifest, sha256_file
from stages.base.tracking import client
from stages.params import load_params
from stages.registry.start import start_from
from stages.registry.trained_on import TRAINED_ON

pytestmark = pytest.mark.filterwarnings("ignore")
NAME = "caption"


def weights() -> str:
    return sha256_file(artifact_path("train", NAME) / "model.safetensors")


def digests(path: Path) -> list[int]:
    return pq.read_table(path)["digest"].to_pylist()


def test_the_champion_is_what_a_training_goes_on_from_until_nothing_is_chosen(project, capsys):
    params, place = load_params(), artifact_path("start", NAME)
    register.command([NAME, "--start", "champion"])
    assert "caption: the next training starts from nothing, as there is no champion" in capsys.readouterr().out
    assert list(place.iterdir()) == []
    register.run(params, NAME)
    from_nothing = weights()
    register.command([NAME, "--start", "champion"])
    assert "caption: the next training starts from the champion, version 1" in capsys.readouterr().out
    assert read_manifest(place / "model") == read_manifest(artifact_path("train", NAME))
    train.run(params, NAME)
    assert "weights of its version 1" in capsys.readouterr().out
    gone_on = weights()
    train.run(params, NAME)
    assert weights() == gone_on != from_nothing
    gone = digests(place / TRAINED_ON)
    pq.write_table(pa.table({"digest": pa.array([*gone, 7], pa.uint64())}), place / TRAINED_ON)  # it is in no data now
    evaluate.run(params, NAME)
    register.run(params, NAME)
    (kept,) = (path for path in (project / "artifacts/mlflow").rglob(f"lineage/{TRAINED_ON}") if 7 in digests(path))
    assert sorted(digests(kept)) == sorted([*gone, 7])
    tags = client().get_model_version(NAME, "2").tags
    found = {key: tags[f"fuseline.{key}"] for key in ("init", "init_version", "init_weights")}
    assert found == {"init": NAME, "init_version": "1", "init_weights": from_nothing}
    register.command([NAME, "--start", "none"])
    train.run(params, NAME)
    assert weights() == from_nothing and list(place.iterdir()) == []


def test_a_version_that_is_not_whole_is_refused_and_what_was_there_stays(project):
    register.run(load_params(), NAME)
    start_from(client(), NAME, 1)
    before = (artifact_path("start", NAME) / VERSION_FILE).read_bytes()
    with pytest.raises(InputError, match="caption: nothing can start from version 7: it is not there"):
        start_from(client(), NAME, 7)
    assert (artifact_path("start", NAME) / VERSION_FILE).read_bytes() == before
    shutil.rmtree(artifact_path("start", NAME))
