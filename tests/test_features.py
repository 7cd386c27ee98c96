"""Features are extracted once per medium, whatever is killed, added or taken away."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision

from stages import download, features, prepare
from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import (
    FEATURES,
    FIELDS_FILE,
    INDEX,
    artifact_path,
    read_manifest,
    sha256_file,
    write_json,
    writing,
)
from stages.cache.segments import FeatureCache, clear, evict
from stages.extractors import ON_ARRAYS, Extractor, on_torch
from stages.extractors.batches import Medium, extract, read_media
from stages.extractors.torchvision import Torchvision
from stages.media.columns import Columns, learnt
from stages.media.fields.kinds import NUMBER, Habit
from stages.media.text import SPECIALS
from stages.params import TorchvisionParams, load_params
from stages.params.features import FeaturesParams
from stages.samples.schema import samples_schema
from tests.conftest import PROJECT, SMALL
from tests.support.small_data import encode, make_image, make_params, write_params
from tests.support.videos import shades, video

CPU = Device(torch.device("cpu"), torch.float32)
NAME = "scenes-image"


def extracted(capsys) -> int:
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"features {NAME}"))
    return int(line.split(", ")[1].split()[0])


def index_and_array(name: str) -> tuple[dict, np.ndarray]:
    folder = artifact_path("features", name)
    return pq.read_table(folder / INDEX).to_pydict(), np.load(folder / FEATURES)


def torchvision_params(tmp_path, **changes) -> TorchvisionParams:
    weights = tmp_path / "weights.pth"
    if not weights.exists():
        torch.manual_seed(0)
        torch.save(torchvision.models.get_model("squeezenet1_1").state_dict(), weights)
    values = {
        "dataset": "scenes",
        "modality": "image",
        "extractor": "torchvision",
        "size_px": 64,
        "batch_size": 4,
        "backbone": "squeezenet1_1",
        "weights": str(weights),
        "weights_sha256": "",
        "layer": "grid",
    }
    return TorchvisionParams(**{**values, **changes})


def test_the_index_names_every_sample_in_the_order_of_the_rows(project):
    index, array = index_and_array(NAME)
    assert len(index["sample_id"]) == len(array) == 160
    assert index["rows"] == [[row] for row in range(160)]
    assert index["split"] == ["train"] * 128 + ["val"] * 16 + ["test"] * 16
    sample_id, split, (medium,) = next(read_media(artifact_path("prepare", "scenes"), "image"))
    assert (sample_id, split) == (medium.sample_id, "train") == (index["sample_id"][0], index["split"][0])
    assert np.array_equal(array[0], ON_ARRAYS["pixels"](32).decode(medium.data))


def test_texts_have_a_row_each_and_equal_ones_share_it(project):
    index, array = index_and_array("scenes-question")
    prepared = sorted(artifact_path("prepare", "scenes").glob("*-00000.parquet"))
    asked = {row["sample_id"]: row["questions"] for path in prepared for row in pq.read_table(path).to_pylist()}
    row_of: dict[str, int] = {}
    for sample_id, rows in zip(index["sample_id"], index["rows"], strict=True):
        assert len(rows) == len(asked[sample_id]) > 1
        assert [row_of.setdefault(text, row) for text, row in zip(asked[sample_id], rows, strict=True)] == rows
    assert sorted(row_of.values()) == list(range(len(array))) and len(array) < sum(map(len, asked.values()))


def write_prepared(samples: dict[str, dict], name: str = "own") -> None:
    """Write a prepared data set of texts and messages, all on the training split."""
    schema = samples_schema(("texts", "message"))
    rows = [{"sample_id": sample_id, **columns} for sample_id, columns in samples.items()]
    with writing("prepare", name, {}) as draft:
        pq.write_table(pa.Table.from_pylist(rows, schema), draft.folder / "train-00000.parquet")
        words = sorted({word for row in rows for text in row.get("texts") or [] for word in text.split()})
        vocabularies = {"texts": [*SPECIALS, *words], "message": [*SPECIALS]}
        (draft.folder / "vocabulary.json").write_text(json.dumps(vocabularies))
        draft.counts |= {"train": len(rows), "val": 0, "test": 0}


def own_params(tmp_path, column: str):
    section = {"dataset": "own", "modality": "text", "extractor": "tokens", "column": column, "max_words": 3}
    own = {"source": "flickr8k", "folder": "none", "mirror": "", "images_sha256": "", "text_sha256": ""}
    return make_params(tmp_path, {"datasets.own": own, "features.own-text": section | {"batch_size": 2}})


def test_a_sample_may_have_no_text_or_several(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = {"a": ["red dog", "dog"], "b": [], "c": None, "d": ["dog red dog red", "red dog"]}
    write_prepared({sample_id: {"texts": found} for sample_id, found in texts.items()})
    params = own_params(tmp_path, "texts")
    features.run(params, "own-text")
    index, array = index_and_array("own-text")
    assert index["sample_id"] == list("abcd") and index["rows"] == [[0, 1], [], [], [2, 0]]
    assert array.tolist() == [[5, 4, 0], [4, 0, 0], [4, 5, 4]]  # after the specials: dog 4, red 5
    settings = read_manifest(artifact_path("features", "own-text"))
    assert settings["counts"] == {"samples": 4, "rows": 3, "cut": 1} and settings["settings"]["num_words"] == 6
    features.explain(params, "own-text", "b")
    features.explain(params, "own-text", "d")
    shown = capsys.readouterr().out
    assert "features own-text: 3 media of 4 samples, 3 extracted, 1 longer than 3 words, cut there\n" in shown
    assert "b has no texts" in shown and shown.count("d: sha256 of its texts") == shown.count("hit: ") == 2


def test_a_column_that_is_empty_or_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared({"a": {"texts": ["red dog"]}})
    with pytest.raises(InputError, match="features.own-text: no sample of own has any message"):
        features.run(own_params(tmp_path, "message"), "own-text")
    with pytest.raises(InputError, match="has no column image; its source gives sample_id, texts, tokens, message"):
        next(read_media(artifact_path("prepare", "own"), "image"))


def test_a_model_that_writes_nothing_is_named(tmp_path):
    section = own_params(tmp_path, "transcript").features["own-text"].model_copy(update={"answers": "hear"})
    assert features._nothing(section) == (
        "the model of hear wrote a text of no sample: see its evaluation, or train it longer"
    )


def test_more_samples_extract_only_the_new_ones_and_give_the_bytes_of_a_full_run(project, capsys):
    params = make_params(project, SMALL | {"datasets.scenes.samples": 170})
    download.run(params, "scenes")
    prepare.run(params, "scenes")
    features.run(params, NAME)
    assert extracted(capsys) == 10
    grown = sha256_file(artifact_path("features", NAME) / FEATURES)
    clear()
    features.run(params, NAME)
    assert extracted(capsys) == 170
    assert sha256_file(artifact_path("features", NAME) / FEATURES) == grown


def test_explain_tells_a_hit_from_a_miss_and_names_what_is_different(project, capsys):
    sample = "scene-00000003"
    features.explain(load_params(), NAME, sample)
    assert "hit" in capsys.readouterr().out
    changed = make_params(project, SMALL | {f"features.{NAME}.size_px": 40})
    features.explain(changed, NAME, sample)
    shown = capsys.readouterr().out
    assert "miss" in shown and "size_px 32" in shown
    with pytest.raises(InputError, match="has no sample 'nobody'"):
        features.explain(changed, NAME, "nobody")


def test_a_killed_extraction_goes_on_from_what_it_had(project, capsys):
    whole = sha256_file(artifact_path("features", NAME) / FEATURES)
    script = (
        "import time; from stages import features; from stages.cache import segments;"
        "from stages.params import load_params;"
        "from stages.extractors import ON_ARRAYS; kind = ON_ARRAYS['pixels']; slow = kind.extract;"
        "segments.SEGMENT_BYTES = 1; kind.extract = lambda *a: (time.sleep(0.1), slow(*a))[1];"
        f"features.run(load_params(), {NAME!r})"
    )
    write_params(project / "params.yaml", SMALL | {f"features.{NAME}.batch_size": 8})
    clear()
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(PROJECT)})
    deadline = time.monotonic() + 60
    while len(list((project / ".fuseline/features").rglob("*.keys.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    features.run(load_params(), NAME)
    assert 0 < extracted(capsys) <= 160 - 3 * 8
    assert sha256_file(artifact_path("features", NAME) / FEATURES) == whole


def test_the_cache_is_bounded_by_what_was_used_last(tmp_path):
    cache = FeatureCache({"a": 1}, tmp_path)
    keys = [bytes([i]) * 32 for i in range(3)]
    for i, key in enumerate(keys):
        cache.add([key], np.full((1, 1000), i, np.uint8))
    for i, path in enumerate(sorted(tmp_path.rglob("*.keys.npy"), key=lambda p: np.load(p)[0, 0])):
        os.utime(path, (i, i))
    freed = evict(2700, tmp_path)
    left = FeatureCache({"a": 1}, tmp_path)
    assert freed > 0 and [key in left for key in keys] == [False, True, True]
    out = np.zeros((2, 1000), np.uint8)
    left.copy_to([keys[2], keys[1]], out)
    assert out[:, 0].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("backbone", "layer", "shape"),
    [
        ("squeezenet1_1", "grid", (9, 512)),
        ("mobilenet_v2", "grid", (4, 1280)),
        ("mobilenet_v2", "pooled", (1280,)),
        ("resnet18", "grid", (4, 512)),
        ("resnet18", "pooled", (512,)),
    ],
)
def test_backbones_give_their_grid_or_pooled_vector(backbone, layer, shape, tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.get_model(backbone).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    params = torchvision_params(tmp_path, backbone=backbone, layer=layer)
    extractor = Torchvision.from_params(params, CPU, "features.x", tmp_path)
    assert extractor.shape == shape
    decoded = np.stack([extractor.decode(encode(make_image(i, (70, 90)))) for i in range(2)])
    got = extractor.extract(decoded)
    assert got.shape == (2, *shape) and got.dtype == np.float16
    if layer == "pooled" or backbone == "resnet18":
        x = (
            torch.from_numpy(decoded).permute(0, 3, 1, 2).float() / 255
            - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        ) / (torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        model.fc = model.classifier = torch.nn.Identity()
        with torch.inference_mode():
            pooled = model(x).numpy()
        mine = got.astype(np.float32) if layer == "pooled" else got.astype(np.float32).mean(1)
        assert np.abs(mine - pooled).max() < 0.01 * np.abs(pooled).max() + 0.01


def test_an_extractor_saved_and_loaded_gives_the_same_features(tmp_path):
    extractor = Torchvision.from_params(torchvision_params(tmp_path), CPU, "features.x", tmp_path)
    extractor.save(tmp_path)
    decoded = np.stack([extractor.decode(encode(make_image()))])
    again = Torchvision.load(tmp_path, CPU)
    assert again.identity() == extractor.identity()
    assert np.array_equal(again.extract(decoded), extractor.extract(decoded))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_that_take_a_batch_each_change_no_byte_and_no_order(threads, tmp_path):
    extractor = Torchvision.from_params(torchvision_params(tmp_path), CPU, "features.x", tmp_path)
    media = [Medium(f"s{i}", bytes([i]) * 32, encode(make_image(i))) for i in range(11)]
    decoded = np.stack([extractor.decode(medium.data) for medium in media])
    in_turn = np.concatenate([extractor.extract(decoded[start : start + 3]) for start in range(0, len(media), 3)])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = list(extract(media, extractor, batch_size=3))
        assert torch.get_num_threads() == threads, "torch has its threads back"
    finally:
        torch.set_num_threads(before)
    assert [key for keys, _ in found for key in keys] == [medium.key for medium in media]
    assert np.array_equal(np.concatenate([features for _, features in found]), in_turn)


def test_a_gpu_sees_full_batches_alone(tmp_path, monkeypatch):
    extractor = Torchvision.from_params(torchvision_params(tmp_path), CPU, "features.x", tmp_path)
    extractor.side_by_side = False  # as on a GPU
    shapes, own = [], extractor.extract
    monkeypatch.setattr(extractor, "extract", lambda decoded: (shapes.append(decoded.shape), own(decoded))[1])
    media = [Medium(f"s{i}", bytes([i]) * 32, encode(make_image(i))) for i in range(7)]
    found = list(extract(media, extractor, batch_size=3))
    assert len(set(shapes)) == 1, "the last batch is filled up"
    assert [len(keys) for keys, _ in found] == [len(features) for _, features in found] == [3, 3, 1]
    alone = own(np.stack([extractor.decode(media[6].data)] * 3))[:1]
    assert np.array_equal(found[-1][1], alone)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "mobilnet"}, "features.x.backbone: 'mobilnet' is unknown"),
        ({"weights": "nowhere.pth"}, "features.x.weights: no file nowhere.pth"),
        ({"weights": "IMAGENET1K_V9"}, "neither a file nor one of IMAGENET1K_V1"),
        ({"weights_sha256": "00"}, "features.x.weights_sha256: .* has sha256"),
        ({"backbone": "resnet18"}, "weights do not fit backbone resnet18"),
    ],
)
def test_wrong_weights_are_named(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Torchvision.from_params(torchvision_params(tmp_path, **changes), CPU, "features.x", tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_nearly_the_features_of_the_cpu(tmp_path):
    decoded = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8).numpy()
    on_cpu, on_gpu = (
        Torchvision.from_params(torchvision_params(tmp_path), Device(torch.device(d), torch.float32), "x", tmp_path)
        for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_cpu.extract(decoded), on_gpu.extract(decoded), atol=0.02, rtol=0.02)


def test_the_manifest_says_what_made_the_features(project):
    settings = read_manifest(artifact_path("features", NAME))["settings"]
    assert settings == {"extractor": "pixels", "version": 2, "size_px": 32, "num_words": 0}


def test_a_full_disk_is_told_and_leaves_nothing(project, monkeypatch, capsys):
    clear()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError) as caught:
        features.run(load_params(), NAME)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename.endswith(".partial")
    assert not list((project / ".fuseline/features").rglob("*.partial"))
    assert not list((project / "artifacts/features").glob(".*"))


@pytest.mark.parametrize("extractor", ON_ARRAYS)
def test_features_that_need_no_torch_are_made_without_importing_it(project, extractor):
    texts = {"dataset": "scenes", "modality": "text", "extractor": "utf8", "column": "message"}
    changes = SMALL | {"features.scenes-utf8": {**texts, "max_bytes": 80, "batch_size": 64}} | film_changes()
    params = make_params(project, changes)
    name = next(key for key, section in params.features.items() if section.extractor == extractor)
    script = (
        "import sys; from stages import features; from stages.params import load_params;"
        f"features.run(load_params(), {name!r}); sys.exit('torch' in sys.modules)"
    )
    clear()
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0


def sections(kind):
    """Return the classes of a union, of unions inside it too."""
    if isinstance(kind, type):
        return [kind]
    return [found for part in get_args(kind) if get_args(part) or isinstance(part, type) for found in sections(part)]


def test_every_extractor_that_params_may_name_is_there_and_no_other():
    kinds = ON_ARRAYS | on_torch()
    assert {get_args(section.model_fields["extractor"].annotation)[0] for section in sections(FeaturesParams)} == set(
        kinds
    )
    assert all(issubclass(kind, Extractor) for kind in kinds.values())


FILM = {"dataset": "own", "modality": "video", "extractor": "frames", "fps": 5.0, "seconds": 0.6, "size_px": 16}


def film_changes() -> dict:
    """Write a prepared data set of videos beside a table; return the params of frames and of fields of it."""
    films = {"a": video(), "b": video(shades(4)), "c": video(), "d": None}
    with writing("prepare", "own", {}) as draft:
        cells = {"a": ["2.5"], "b": ["1"], "c": [None], "d": None}
        rows = [{"sample_id": key, "video": data, "fields": cells[key]} for key, data in films.items()]
        table = pa.Table.from_pylist(rows, samples_schema(("video", "fields")))
        pq.write_table(table, draft.folder / "train-00000.parquet")
        columns = Columns([learnt("weight", Habit(NUMBER), ["2.5", "1"], 1)])
        write_json(draft.folder / FIELDS_FILE, columns.dump())
        draft.counts |= {"train": len(rows), "val": 0, "test": 0}
    own = {"source": "flickr8k", "folder": "none", "mirror": "", "images_sha256": "", "text_sha256": ""}
    fields = {"dataset": "own", "modality": "fields", "extractor": "fields", "batch_size": 2}
    return {"datasets.own": own, "features.own-video": FILM | {"batch_size": 2}, "features.own-fields": fields}


def test_videos_are_extracted_once_and_those_that_are_cut_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    params = make_params(tmp_path, film_changes())
    features.run(params, "own-video")
    assert "2 media of 4 samples, 2 extracted, 1 longer than 0.6 s, cut there" in capsys.readouterr().out
    index, array = index_and_array("own-video")
    assert index["rows"] == [[0], [1], [0], []]
    assert array.shape == (2, 3, 16, 16, 3) and array.any((2, 3, 4)).tolist() == [[True] * 3, [True] * 2 + [False]]
    features.run(params, "own-video")
    assert "0 extracted" in capsys.readouterr().out
