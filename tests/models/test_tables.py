"""Media are drawn, gathered, left out and swapped as asked, wherever the features lie."""

import copy

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import FEATURES, INDEX, artifact_path, writing
from stages.models.baselines import without_time
from stages.models.encoders.base import FeatureSpec
from stages.models.tables import PRESENT, FeatureTable, Reading, Split, feature_spec, load_split, read_rows
from stages.samples.schema import samples_schema
from tests.support.small_splits import CPU, NUM_SAMPLES, make_features, make_rows, make_split

COUNTS = [len(row["questions"]) for row in make_rows()]  # 2 3 1 2 3 1 2 3
ALL = np.arange(NUM_SAMPLES)


def questions(limit_bytes: float = 1e9, lacking: tuple[int, ...] = ()) -> Split:
    pairs = [("question", i) for i in lacking]
    return make_split(("image", "question"), ("question",), pairs, limit_bytes)


def batch_of(split: Split, samples: np.ndarray, picks: dict) -> dict:
    return next(split.batches([(samples, picks)]))


# Which media


@pytest.mark.parametrize("wanted", [1, 2, 3, 5])
def test_no_medium_is_drawn_twice_while_there_are_others(wanted):
    split = questions(lacking=(1,))
    drawn = split.draw(ALL, wanted, np.random.default_rng(0))
    assert drawn["image"].tolist() == [[0]] * NUM_SAMPLES
    assert drawn["question"].shape == (NUM_SAMPLES, wanted)
    assert drawn["question"][1].tolist() == [-1] * wanted
    for i in set(range(NUM_SAMPLES)) - {1}:
        times = np.bincount(drawn["question"][i], minlength=COUNTS[i])
        assert len(times) == COUNTS[i] and times.max() - times.min() <= 1


def test_every_medium_is_drawn_as_often():
    split, rng = questions(), np.random.default_rng(0)
    drawn = np.concatenate([split.draw(np.array([1]), 1, rng)["question"] for _ in range(3000)])
    assert np.bincount(drawn[:, 0]) / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_of_modalities_that_come_alone_one_medium_is_drawn():
    split = make_split(("text",))  # one to three texts each
    drawn = np.stack([split.draw(ALL, 5, np.random.default_rng(seed))["text"] for seed in range(40)])
    assert drawn.shape == (40, NUM_SAMPLES, 1)
    assert [set(drawn[:, i, 0]) for i in range(3)] == [{0}, {0, 1}, {0, 1, 2}]


def test_the_same_generator_draws_the_same():
    one, other = (questions().draw(ALL, 2, np.random.default_rng(5))["question"] for _ in range(2))
    assert one.tolist() == other.tolist()


def test_every_medium_of_those_that_come_in_several_and_the_first_of_others():
    chosen = questions(lacking=(4,)).every(np.array([0, 1, 4]))
    assert chosen["question"].tolist() == [[0, 1, -1], [0, 1, 2], [-1, -1, -1]]
    assert chosen["image"].tolist() == [[0], [0], [0]]
    assert questions(lacking=(4,)).every(np.array([4]))["question"].tolist() == [[-1]]
    assert make_split(("text",), lacking=[("text", 1)]).every(ALL)["text"][:3].tolist() == [[0], [-1], [0]]


# Their features


def test_batches_hold_what_was_picked_and_zeros_where_nothing_is():
    split = questions(lacking=(1,))
    starts = np.cumsum([0, 2, 0, 1, 2, 3, 1, 2])
    words, images = make_features("question", sum(COUNTS) - 3), make_features("image", NUM_SAMPLES)
    picks = {"image": np.array([[0], [0], [0]]), "question": np.array([[1, 0], [-1, -1], [2, 2]])}
    batch = batch_of(split, np.array([3, 1, 7]), picks)
    assert list(batch) == ["image", "image" + PRESENT, "question", "question" + PRESENT]
    assert np.array_equal(batch["image"].numpy(), images[[3, 1, 7]])
    assert batch["image" + PRESENT].tolist() == [True] * 3
    assert batch["question" + PRESENT].tolist() == [[True, True], [False, False], [True, True]]
    assert np.array_equal(batch["question"][0].numpy(), words[[starts[3] + 1, starts[3]]])
    assert np.array_equal(batch["question"][2].numpy(), words[[starts[7] + 2] * 2])
    assert not batch["question"][1].any()


def test_streamed_features_are_those_on_the_device():
    resident, streamed = questions(lacking=(2,)), questions(limit_bytes=0, lacking=(2,))
    assert all(table._resident is None for table in streamed.features.values())
    chosen = [(samples, resident.draw(samples, 2, np.random.default_rng(0))) for samples in (ALL[5:], ALL[:4], ALL)]
    for one, other in zip(resident.batches(chosen), streamed.batches(chosen), strict=True):
        assert list(one) == list(other) and all(one[key].equal(other[key]) for key in one)


DEVICES = [
    CPU,
    pytest.param(
        Device(torch.device("cuda"), torch.float32),
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_a_gpu_holds_the_rows_of_the_split_and_a_cpu_copies_none(device):
    features = np.arange(20, dtype=np.float16).reshape(10, 2)
    table = FeatureTable(features, [[7], [2, 7], []], device, limit_bytes=2 * 2 * 2)
    assert table._resident is not None
    if device.is_cuda:
        assert table._resident.tolist() == [[4, 5], [14, 15]]
    else:
        assert table._resident.data_ptr() == features.ctypes.data
    found, present = next(table.batches([(np.array([1, 2, 0]), np.array([[1, 0], [-1, -1], [0, -1]]))]))
    assert found.tolist() == [[[14, 15], [4, 5]], [[0, 0], [0, 0]], [[14, 15], [0, 0]]]
    assert present.tolist() == [[True, True], [False, False], [True, False]]
    assert FeatureTable(features, [[7], [2, 7]], CPU, limit_bytes=7)._resident is None


def test_a_copy_of_a_module_that_holds_a_split_copies_no_features():
    """As a weight average copies the module that it averages; a copied memory map is a whole file in memory."""
    module, split = torch.nn.Linear(1, 1), questions()
    module.validation = split
    copied = copy.deepcopy(module)
    assert copied.weight is not module.weight
    assert copied.validation.features["image"]._features is split.features["image"]._features


def test_a_split_in_order_is_covered_once():
    split = questions()
    found = list(split.in_order(3))
    assert np.concatenate([samples for samples, _, _ in found]).tolist() == ALL.tolist()
    assert [len(batch["image"]) for _, _, batch in found] == [3, 3, 2]
    assert sum(batch["question" + PRESENT].sum().item() for _, _, batch in found) == sum(COUNTS)


# Splits made from splits


@pytest.mark.parametrize("limit_bytes", [1e9, 0])
def test_reordered_samples_have_another_samples_media(limit_bytes):
    split = questions(limit_bytes, lacking=(0,))
    order = np.array([3, 0, -1, 2, 1, 7, 7, 5])
    other = split.reordered("question", order)
    picks = other.every(ALL)
    assert other.features["question"].counts.tolist() == [2, 0, 0, 1, 3, 3, 3, 1]
    before, after = batch_of(split, ALL, split.every(ALL)), batch_of(other, ALL, picks)
    for i, source in enumerate(order):
        wanted = before["question"][source] if source >= 0 else before["question"][0]  # sample 0 has none
        assert after["question"][i].equal(wanted)
    assert after["image"].equal(before["image"]) and other.rows is split.rows
    assert batch_of(split, ALL, split.every(ALL))["question"].equal(before["question"])  # the split itself stays


def test_only_some_modalities_are_there_and_the_others_are_missing_in_every_sample():
    split = questions()
    alone = split.only(("image",))
    batch = batch_of(alone, ALL, alone.every(ALL))
    assert batch["image"].equal(batch_of(split, ALL, split.every(ALL))["image"])
    assert batch["question"].shape == (NUM_SAMPLES, 1, 6) and not batch["question" + PRESENT].any()
    assert (alone.draw(ALL, 2, np.random.default_rng(0))["question"] == -1).all()


# Splits read from artifacts


READING = Reading("own", {"text": "own-text"}, ("label", "texts", "color"), needed=("label",))


def write_own(rows: list[dict], indexed: dict[str, list[int]] | None = None, name: str = "own-text") -> None:
    """Write a prepared data set of these rows, all on the test split, and its features."""
    with writing("prepare", "own", {}) as draft:
        table = pa.Table.from_pylist(rows, samples_schema(("texts", "label")))
        pq.write_table(table, draft.folder / "test-00000.parquet")
    write_features(indexed if indexed is not None else {row["sample_id"]: [i] for i, row in enumerate(rows)}, name)


def write_features(indexed: dict[str, list[int]], name: str) -> None:
    with writing("features", name, {}) as draft:
        np.save(draft.folder / FEATURES, np.arange(20, dtype=np.int32).reshape(10, 2))
        columns = {"sample_id": list(indexed), "split": ["test"] * len(indexed)}
        index = pa.table(columns | {"rows": pa.array(list(indexed.values()), pa.list_(pa.int32()))})
        pq.write_table(index, draft.folder / INDEX)
        draft.settings["num_words"] = 30


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(**labels: str | None) -> list[dict]:
    return [{"sample_id": name, "label": label, "texts": ["x"], "tokens": ["x"]} for name, label in labels.items()]


def test_samples_that_lack_what_the_task_needs_are_left_out_and_said(capsys):
    write_own(rows_of(a="cat", b=None, c="dog", d="", e="cat"), {"a": [4], "b": [1], "c": [], "d": [2], "e": [5, 4]})
    split = load_split(READING, "test", CPU, 1e9)
    assert [row["sample_id"] for row in split.rows] == ["a", "e"]  # b and d without a label, c without a text
    assert capsys.readouterr().out == "own, test: 3 of 5 samples lack what the task needs\n"
    assert split.features["text"].counts.tolist() == [1, 2]
    batch = batch_of(split, np.array([0, 1]), {"text": np.array([[0], [1]])})
    assert batch["text"].tolist() == [[8, 9], [8, 9]]


def test_a_sample_with_one_of_its_modalities_is_kept(capsys):
    write_own(rows_of(a="cat", b="dog"), {"a": [], "b": [3]})
    write_features({"a": [0], "b": []}, "own-image")
    both = Reading("own", {"image": "own-image", "text": "own-text"}, ("label",), ("label",))
    split = load_split(both, "test", CPU, 1e9)
    assert [table.counts.tolist() for table in split.features.values()] == [[1, 0], [0, 1]]
    assert capsys.readouterr().out == ""


def test_columns_that_a_data_set_has_not_are_left_out():
    write_own(rows_of(a="cat"))
    (row,) = load_split(READING, "test", CPU, 1e9).rows
    assert row == {"sample_id": "a", "label": "cat", "texts": ["x"]}
    assert read_rows(artifact_path("prepare", "own"), "val", ["sample_id"]) == []


@pytest.mark.parametrize(
    ("reading", "split", "message"),
    [
        (READING, "val", "data set own: the split val is empty; raise datasets.own.val_fraction "),
        (
            READING,
            "train",
            "data set own: the split train is empty; lower datasets.own.val_fraction and test_fraction ",
        ),
        (Reading("own", {"text": "own-text"}, ("questions",), ("questions",)), "test", "data set own has no questions"),
        (Reading("own", {"text": "other-text"}, ("label",)), "test", "other-text was made from another .* `dvc repro`"),
        (Reading("own", {"text": "own-text"}, ("texts",), ("texts",)), "test", "no sample of the split test has what"),
        (
            Reading("own", {"text": "own-text"}, ("texts",), ("texts",)),
            "test",
            "texts and one of text; raise .*test_f",
        ),
        (Reading("gone", {}, ()), "test", "no complete artifact there; run `dvc repro`"),
    ],
)
def test_artifacts_that_do_not_serve_are_named(reading, split, message):
    write_own([{"sample_id": "a", "label": "cat", "texts": []}])
    write_features({"other": [0]}, "other-text")
    with pytest.raises(InputError, match=message):
        load_split(reading, split, CPU, 1e9)


def test_the_features_say_their_shape_and_how_many_words_there_are():
    write_own(rows_of(a="cat"))
    assert feature_spec("own-text") == FeatureSpec((2,), 30)


def clips(*lengths: int) -> Split:
    """Make a split of videos of five places, the frames of sample i numbered 10 * i + 1 and on."""
    features = np.zeros((len(lengths), 5, 2), np.float16)
    for i, length in enumerate(lengths):
        features[i, :length] = np.arange(10 * i + 1, 10 * i + 1 + length)[:, None]
    rows = make_rows(len(lengths) + 1)
    return Split(rows, {"video": FeatureTable(features, [*([i] for i in range(len(lengths))), []], CPU, 1e9)})


def frames_of(split: Split, row: str, batch_size: int) -> list[list[int]]:
    changed = split.changed("video", without_time(3)[row]) if row else split
    found = [batch["video"][:, :, 0].int().tolist() for _, _, batch in changed.in_order(batch_size)]
    return [clip for batch in found for clip in batch]


def test_of_each_video_the_middle_frame_is_left_in_its_place():
    assert frames_of(clips(5, 2, 1), "single_frame_video", 2) == [
        [0, 0, 3, 0, 0],
        [11, 0, 0, 0, 0],
        [21, 0, 0, 0, 0],
        [0] * 5,
    ]


def test_frames_of_a_video_are_shuffled_by_the_seed_in_any_batch_and_padding_stays():
    split = clips(5, 4, 5, 5, 1)
    found, whole = frames_of(split, "shuffled_frames_video", 2), frames_of(split, "", 6)
    assert found == frames_of(split, "shuffled_frames_video", 6)
    assert [sorted(clip, key=lambda v: (v == 0, v)) for clip in found] == whole
    assert found != whole and found[1][4] == 0
    assert len({tuple(np.argsort(clip)) for clip in (found[0], found[2], found[3])}) > 1
