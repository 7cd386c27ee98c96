"""A version is registered once, carries all it needs, and answers as the evaluation said."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages import evaluate, features, register, train
from stages.base.errors import InputError
from stages.base.store import PREDICTIONS, artifact_path
from stages.base.tracking import client
from stages.params import load_params
from stages.registry.registry import aliases
from tests.conftest import SMALL
from tests.support.small_data import make_params
from tests.support.tiny_models import write_tiny

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def registered(finished_project, monkeypatch):
    """The finished project itself: tests that register more work on a store of their own."""
    monkeypatch.chdir(finished_project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished_project}/artifacts/mlflow/mlflow.db")
    return finished_project


def version_file() -> dict:
    return json.loads((artifact_path("register", "caption") / register.VERSION_FILE).read_text())


def written_at() -> dict[Path, int]:
    """Return when each file of registered versions was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in Path("artifacts/mlflow").rglob("*") if path.is_file()}


def test_the_first_version_is_champion_with_its_lineage(registered):
    found = version_file()
    assert found["version"] == 1 and found["aliases"] == ["champion"] and found["decision"]["promote"]
    assert found["inputs"] == ["image"]
    version = client().get_model_version("caption", "1")
    tags = {key.removeprefix("fuseline."): value for key, value in version.tags.items()}
    assert {"digest", "git_commit", "dvc_lock", "data", "params", "environment", "decision"} <= set(tags)
    run = client().get_run(version.run_id)
    assert "test_bleu_4" in run.data.metrics and "test_baselines/shuffled_image/bleu_4" in run.data.metrics
    assert len(client().get_metric_history(version.run_id, "val_loss")) == 6
    assert run.data.params["experiment.head"] == "transformer"


def test_nothing_that_is_registered_is_a_pickle(registered):
    files = [path for path in (registered / "artifacts/mlflow/files").rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".ckpt"}]


def test_what_is_registered_can_be_read_as_the_umask_says(registered):
    files = [path for path in (registered / "artifacts/mlflow/files").rglob("*.safetensors")]
    plain = registered / "plain"
    plain.touch()
    assert files and {path.stat().st_mode for path in files} == {plain.stat().st_mode}


def test_registering_again_makes_no_second_version_nor_after_its_artifact_is_gone(project):
    for _ in range(2):
        register.run(load_params(), "caption")
        assert version_file()["version"] == 1
    assert len(client().search_model_versions("name = 'caption'")) == 1


def test_a_registration_killed_before_its_decision_is_finished_by_the_next(project):
    register.run(load_params(), "caption")
    client().delete_model_version_tag("caption", "1", "fuseline.decision")
    client().delete_registered_model_alias("caption", "champion")
    register.run(load_params(), "caption")
    assert version_file()["version"] == 1 and version_file()["aliases"] == ["champion"]


def test_a_worse_model_becomes_challenger_and_the_reason_is_said(project):
    register.run(load_params(), "caption")
    worse = make_params(project, SMALL | {"train.learning_rate": 1e-6, "train.epochs": 1})
    train.run(worse, "caption")
    evaluate.run(worse, "caption")
    register.run(worse, "caption")
    found = version_file()
    assert found["version"] == 2 and found["aliases"] == ["challenger"]
    assert "against the champion's" in found["decision"]["reasons"][0]
    assert {name: int(number) for name, number in aliases(client(), "caption").items()} == {
        "champion": 1,
        "challenger": 2,
    }


def test_a_fresh_process_answers_bytes_base64_and_paths_as_the_predictions_file_says(registered, tmp_path):
    table = pq.read_table(artifact_path("evaluate", "caption") / PREDICTIONS).to_pydict()
    images = {}
    for path in artifact_path("prepare", "scenes").glob("test-*.parquet"):
        images |= {row["sample_id"]: row["image"] for row in pq.read_table(path).to_pylist()}
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    script = f"""
import base64, json, pathlib, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/caption@champion")
paths = [pathlib.Path({str(tmp_path)!r}) / name for name in {table["sample_id"]!r}]
raw = [path.read_bytes() for path in paths]
forms = [raw, [base64.b64encode(data).decode() for data in raw], [str(path) for path in paths], paths]
answers = [model.predict(pd.DataFrame({{"image": form}})).to_dict("list") for form in forms]
alone = model.predict({{"image": raw[:1]}}).to_dict("list")
import torch
print(json.dumps([[a["caption"] for a in answers], answers[0]["score"], alone["caption"], torch.get_num_threads()]))
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{registered}/artifacts/mlflow/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    captions, scores, alone, _ = json.loads(done.stdout.splitlines()[-1])
    assert captions == [table["caption"]] * 4
    assert scores == pytest.approx(table["score"], abs=1e-4)
    assert alone == table["caption"][:1]


ASK_EVERY_TASK = """
import json, mlflow, pandas as pd, pyarrow.parquet as pq
rows = pq.read_table("artifacts/prepare/scenes/test-00000.parquet").to_pylist()
image, audio = ([row[key] for row in rows] for key in ("image", "audio"))
message, caption, question = ([row[key] for row in rows] for key in ("message", "texts", "questions"))
GIVEN = {
    "retrieve": {"image": image, "text": [texts[0] for texts in caption]},
    "vqa": {"image": image, "question": [texts[0] for texts in question]},
    "match": {"image": image, "text": message},
    "translate": {"image": image, "text": message},
}
answers = {}
for name, columns in GIVEN.items():
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    answers[name] = model.predict(pd.DataFrame(columns)).to_dict("list")
    given = {"question": columns["question"][:2]} if name == "vqa" else {"image": image[:2]}
    try:
        answers[name]["alone"] = json.loads(model.predict(pd.DataFrame(given)).to_json(orient="records"))
    except mlflow.MlflowException as refused:
        answers[name]["alone"] = str(refused)
print(json.dumps(answers))
"""


def test_every_task_is_served_from_its_version_as_it_was_evaluated(every_task):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-W", "ignore", "-c", ASK_EVERY_TASK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    table = {name: pq.read_table(artifact_path("evaluate", name) / PREDICTIONS).to_pydict() for name in answers}

    first = [table["vqa"]["sample_id"].index(sample) for sample in dict.fromkeys(table["vqa"]["sample_id"])]
    assert answers["vqa"]["answer"] == [table["vqa"]["answer"][place] for place in first]
    assert answers["match"]["match"] == table["match"]["match"]
    assert answers["match"]["probability"] == pytest.approx(table["match"]["probability"], abs=1e-4)
    assert answers["translate"]["label"] == table["translate"]["text_to_image"]  # the later of both ways
    assert [len(vector) for vector in answers["retrieve"]["query"]] == [16] * 16

    alone = {name: found["alone"] for name, found in answers.items()}
    assert [answer["read_from"] for answer in alone["translate"]] == ["image"] * 2
    assert all(answer["target"] is None and len(answer["query"]) == 16 for answer in alone["retrieve"])
    assert all(0 <= answer["probability"] <= 1 for answer in alone["vqa"])
    assert "Model is missing inputs ['text']" in alone["match"]


def test_every_version_says_what_goes_in_and_what_comes_out(every_task):
    import mlflow

    client()  # from now on MLflow looks there
    shapes = {}
    for name in ("retrieve", "vqa", "match", "translate"):
        signature = mlflow.models.get_model_info(f"models:/{name}/1").signature
        required = {column.name: column.required for column in signature.inputs.inputs}
        shapes[name] = (required, signature.outputs.input_names())
    assert shapes == {
        "retrieve": ({"image": False, "text": False}, ["query", "target"]),
        "vqa": ({"image": False, "question": True}, ["answer", "probability"]),
        "match": ({"image": True, "text": True}, ["match", "probability"]),
        "translate": ({"image": False, "text": False}, ["label", "probability", "read_from"]),
    }


def test_a_metric_that_no_task_has_is_refused(project):
    params = make_params(project, SMALL | {"register.metric": "bleu"})
    with pytest.raises(
        InputError, match="register.metric: got 'bleu'; expected one of auto, accuracy, asked_found, bleu_1, "
    ):
        register.run(params, "classify")


def test_what_is_no_image_is_refused_by_name(registered):
    from stages.packaging.served_model import read_media

    assert read_media("image", b"raw") == b"raw"
    assert read_media("image", base64.b64encode(b"raw").decode()) == b"raw"
    refusal = "audio: expected encoded bytes, base64 text or the path of a file, got 'no such!'"
    with pytest.raises(ValueError, match=refusal):
        read_media("audio", "no such!")
    with pytest.raises(ValueError, match="image: expected .* got 7"):
        read_media("image", 7)


def test_texts_are_taken_as_they_are_and_nothing_as_missing(registered):
    from stages.packaging.served_model import read_input

    assert read_input("text", "ein Café") == "ein Café".encode()
    assert [read_input(modality, value) for modality in ("text", "image") for value in (None, math.nan)] == [None] * 4
    with pytest.raises(ValueError, match="question: expected text, got 7"):
        read_input("question", 7)


def test_paths_are_refused_where_they_are_not_allowed(registered, tmp_path, monkeypatch):
    from stages.packaging.served_model import read_media

    (tmp_path / "x.png").write_bytes(b"raw")
    monkeypatch.setenv("FUSELINE_ALLOW_PATHS", "0")
    with pytest.raises(ValueError, match="image: expected"):
        read_media("image", str(tmp_path / "x.png"))


def test_the_shell_lists_and_asks(registered, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    register.command(["--list"])
    listed = capfd.readouterr().out
    assert "champion" in listed and "first version" in listed
    image = tmp_path / "image.png"
    image.write_bytes(pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet")["image"][0].as_py())
    untouched = []
    while not any(untouched) and len(untouched) < 3:  # tests at work beside may load from this store meanwhile
        kept = written_at()
        register.command(["caption", "--try", str(image)])
        assert "score" in capfd.readouterr().out
        untouched.append(bool(kept) and written_at() == kept)
    assert any(untouched)  # a store that is only to be read can be asked
    register.command(["classify", "--sample", "scene-00000009"])
    asked, *lines = capfd.readouterr().out.splitlines()
    first = pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet").to_pylist()[0]
    assert first["sample_id"] == "scene-00000009" and asked.endswith(f"scene-00000009.audio, {first['message']}")
    table = pq.read_table(artifact_path("evaluate", "classify") / PREDICTIONS).to_pydict()
    assert lines[:2] == [f"  label: {table['label'][0]}", f"  probability: {table['probability'][0]:.3f}"]
    with pytest.raises(SystemExit):
        register.command(["classify", "--try", "audio=nowhere.wav"])
    assert (
        "error: audio: expected encoded bytes, base64 text or the path of a file, got 'nowhere.wav'; "
        "this model takes image=..., audio=..., text=..."
    ) in capfd.readouterr().err
    with pytest.raises(ValueError, match="name the model"):
        register.command(["--try", str(image)])
    with pytest.raises(ValueError, match="data set scenes has no sample 'nobody'"):
        register.command(["classify", "--sample", "nobody"])
    with pytest.raises(ValueError, match="no version of 'nobody' is champion"):
        register.command(["nobody", "--try", str(image)])


def test_pretrained_models_travel_with_their_version(project, tmp_path):
    pytest.importorskip("peft", reason="needs the extra `huggingface`")
    clip, llama = (write_tiny(name, tmp_path / name) for name in ("clip", "llama"))
    head = {"name": "language_model", "model": str(llama), "prompt": "in the picture"}
    section = {"dataset": "scenes", "modality": "image", "extractor": "huggingface", "model": str(clip)}
    changes = {
        "features.scenes-clip": {**section, "level": "token", "layer": -2, "batch_size": 8},
        "experiments.caption.inputs.image": "scenes-clip",
        "experiments.caption.encoders.image": "projection",
        "experiments.caption.head": head,
        "experiments.caption.train": {"epochs": 1, "batch_size": 16, "texts_per_step": 1, "word_loss": 0.0},
    }
    params = make_params(project, SMALL | changes)
    features.run(params, "scenes-clip")
    for stage in (train, evaluate, register):
        stage.run(params, "caption")
    weights = artifact_path("train", "caption") / "model.safetensors"
    assert weights.stat().st_size < (llama / "model.safetensors").stat().st_size
    for folder in (clip, llama):
        shutil.rmtree(folder)
    table = pq.read_table(artifact_path("evaluate", "caption") / PREDICTIONS).to_pydict()
    rows = pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet").to_pylist()
    import mlflow

    client()
    model = mlflow.pyfunc.load_model("models:/caption@champion")
    answers = model.predict({"image": [row["image"] for row in rows]}).to_dict("list")
    assert answers["caption"] == table["caption"]
    assert answers["score"] == pytest.approx(table["score"], abs=1e-4)
    asked = Path(mlflow.pyfunc.get_model_dependencies("models:/caption@champion")).read_text()
    assert {"peft", "transformers"} <= {line.partition("==")[0] for line in asked.splitlines()}
