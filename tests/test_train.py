"""Training is exact, goes on after a kill, and does not need the tracking server."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from stages import train
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.base.store import CURVES, MANIFEST, SPLITS, artifact_path, read_manifest, sha256_file, write_json
from stages.models.model import WEIGHTS, load_model, reading_of
from stages.models.tables import load_split
from stages.params import load_params
from stages.training.batches import TrainBatches
from tests.conftest import PROJECT, SMALL
from tests.support.small_data import make_params, write_params

CPU = Device(torch.device("cpu"), torch.float32)


def hashes(name: str = "caption") -> dict[str, str]:
    folder = artifact_path("train", name)
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "modalities"), [("caption", ["image"]), ("classify", ["image", "audio", "text"])])
def test_the_same_params_and_data_give_the_same_bytes(project, name, modalities):
    before = hashes(name)
    extractors = {f"{modality}/extractor.json" for modality in modalities}
    assert set(before) == {"manifest.json", "model.json", "model.safetensors", "curves.csv", *extractors}
    train.run(load_params(), name)
    assert hashes(name) == before


def test_a_killed_training_ends_with_the_same_bytes(project):
    before = hashes()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "stages.train", "caption"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 3"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((project / ".fuseline/checkpoints").rglob("last.ckpt"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "going on from" in done.stdout, done.stderr
    assert hashes() == before
    assert not list((project / ".fuseline/checkpoints").rglob("*.ckpt"))


def test_curves_have_a_row_for_each_epoch(project):
    with (artifact_path("train", "caption") / CURVES).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(6)]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


@pytest.mark.parametrize("head", ["gru", "transformer"])
def test_every_decoder_trains_and_stops_at_its_best_epoch(project, head):
    changes = {"experiments.caption.head": head, "train.monitor": "loss", "train.epochs": 3}
    params = make_params(project, SMALL | changes)
    train.run(params, "caption")
    manifest = read_manifest(artifact_path("train", "caption"))
    with (artifact_path("train", "caption") / CURVES).open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert manifest["settings"]["best_epoch"] == losses.index(min(losses))
    weights = load_file(artifact_path("train", "caption") / "model.safetensors")
    assert load_model(artifact_path("train", "caption"), CPU).state_dict().keys() == weights.keys()


def test_streamed_features_give_the_training_of_resident_ones(project):
    weights = sha256_file(artifact_path("train", "classify") / "model.safetensors")
    train.run(make_params(project, SMALL | {"train.device_cache_gb": 0.0}), "classify")
    assert sha256_file(artifact_path("train", "classify") / "model.safetensors") == weights


def test_training_goes_on_when_the_tracking_server_is_away(project, monkeypatch, capsys):
    before = hashes("classify")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    start = time.monotonic()
    train.run(load_params(), "classify")
    shown = capsys.readouterr().out
    assert shown.count("is away") == 1 and "secret" not in shown
    assert time.monotonic() - start < 60
    assert hashes("classify") == before


def test_a_missing_artifact_says_what_to_run(project):
    write_params(project / "params.yaml", SMALL)
    manifest = artifact_path("features", "scenes-image") / "manifest.json"
    manifest.unlink()
    with pytest.raises(ValueError, match="no complete artifact there; run `dvc repro`"):
        train.run(load_params(), "caption")


def relabel(label: Callable[[str, int], str]) -> None:
    """Give the prepared rows other labels, by their split and number."""
    folder = artifact_path("prepare", "scenes")
    manifest = read_manifest(folder)
    for split in SPLITS:
        (path,) = folder.glob(f"{split}-*.parquet")
        table = pq.read_table(path)
        labels = pa.array([label(split, i) for i in range(len(table))])
        pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", labels), path)
        manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    write_json(folder / MANIFEST, manifest)


def test_what_cannot_be_learnt_is_told_before_any_training(project, capsys):
    relabel(lambda split, i: "cat")
    before = hashes("classify")
    with pytest.raises(InputError, match=r"^train classify: every label in training is 'cat' \(128\): .*[^\n]$"):
        train.run(load_params(), "classify")
    assert "epoch" not in capsys.readouterr().out and hashes("classify") == before


def test_what_is_odd_is_said_and_trained(project, capsys):
    kept = load_model(artifact_path("train", "classify"), CPU).classes
    relabel(lambda split, i: "new" if split == "test" and i < 3 else kept[i % len(kept)])
    train.run(load_params(), "classify")
    shown = capsys.readouterr().out.splitlines()
    told = next(i for i, line in enumerate(shown) if "3 of 16 labels on the split test are in no training" in line)
    assert told < next(i for i, line in enumerate(shown) if line.startswith("epoch 1"))


def test_batches_cover_the_split_once_and_depend_on_the_epoch_alone(project):
    params = load_params()
    split = load_split(reading_of(params.experiments["caption"]), "train", set_up(*params.base.hardware()), 1e9)
    task = load_model(artifact_path("train", "caption"), CPU)
    batches = TrainBatches(split, task, params.train)
    first = [batch["captions"] for batch in batches]
    assert sum(map(len, first)) == len(split) == 128
    assert all(torch.equal(a["captions"], b) for a, b in zip(batches, first, strict=True))
    batches.epoch = 1
    assert not all(a["captions"].equal(b) for a, b in zip(batches, first, strict=True))


def test_two_processes_train_one_model_and_only_one_of_them_writes(project):
    write_params(project / "params.yaml", SMALL | {"train.devices": 2, "train.epochs": 2})
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "stages.train", "caption"]
    before = hashes()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2:") == done.stdout.count("best epoch") == 1
    assert read_manifest(artifact_path("train", "caption"))["counts"]["epochs"] == 2
    assert hashes()["model.safetensors"] != before["model.safetensors"]


def test_a_training_begins_with_the_encoders_of_another_and_the_same_bytes_come_out(project, capsys):
    start = {"experiments.classify.init": "caption", "experiments.classify.dim": 32}
    still = {"experiments.classify.train": {"epochs": 1, "learning_rate": 1e-12, "batch_size": 32, "ema_decay": 0.0}}
    train.run(make_params(project, SMALL | start | still), "classify")
    told = "train classify: starts with caption's encoder of image; not that of audio: it has no audio; text: it has no"
    assert told in capsys.readouterr().out
    before = hashes("classify")
    theirs, mine = (load_file(artifact_path("train", name) / WEIGHTS) for name in ("caption", "classify"))
    learnt = [key for key in theirs if key.startswith("encoders.image.") and theirs[key].ndim > 1]
    assert learnt and all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in learnt)
    assert read_manifest(artifact_path("train", "classify"))["settings"]["init"] == {
        "init": "caption",
        "weights": hashes()[WEIGHTS],
    }
    train.run(load_params(), "classify")
    assert hashes("classify") == before
