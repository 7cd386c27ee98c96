"""Evaluation says what it measured, beside rows that are what they claim."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages import evaluate
from stages.baselines import most_frequent_caption, nearest_captions, shuffled
from stages.metrics.captions import caption_metrics
from stages.params import load_params
from stages.store import METRICS, PREDICTIONS, artifact_path, sha256_file
from stages.tables import load_split
from tests.test_train import CPU


def metrics() -> dict:
    return json.loads((artifact_path("evaluate", "caption") / METRICS).read_text())


def test_metrics_have_the_promised_keys(project):
    found = metrics()
    keys = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"}
    assert keys <= set(found) and found["num_samples"] == 16
    assert set(found["baselines"]) == {"most_frequent_caption", "nearest_training_image", "shuffled_images"}
    assert all(keys <= set(row) for row in [*found["baselines"].values(), found["ceiling"]])
    assert found["settings"]["split"] == "test" and found["settings"]["tokenizer"] == "words-1"
    assert found["ceiling"]["bleu_4"] > 0.5


def test_metrics_are_those_of_the_predictions_file(project):
    table = pq.read_table(artifact_path("evaluate", "caption") / PREDICTIONS).to_pydict()
    references = [[caption.split() for caption in captions] for captions in table["references"]]
    again = caption_metrics(table["words"], references)
    found = metrics()
    assert {key: found[key] for key in again} == again
    assert [" ".join(words) for words in table["words"]] == table["caption"]
    assert all(0 < p <= 1 for row in table["word_probabilities"] for p in row)


def test_a_second_evaluation_gives_the_same_bytes(project):
    folder = artifact_path("evaluate", "caption")
    before = {path.name: sha256_file(path) for path in folder.iterdir()}
    evaluate.run(load_params(), "caption")
    assert {path.name: sha256_file(path) for path in folder.iterdir()} == before


def test_the_page_needs_no_network_and_escapes_what_people_wrote(project):
    page = (artifact_path("evaluate", "caption") / evaluate.SAMPLES_PAGE).read_text()
    assert page.count("<figure>") == 4 and page.count("data:image/png;base64,") == 4
    assert "http:" not in page and "https:" not in page and "url(" not in page
    from stages.samples_page import write_samples_page

    answer = {"caption": "<b>", "words": ["<b>"], "word_probabilities": [0.5], "attention": [[1.0] * 16], "score": -1.0}
    row = {"sample_id": "scene-00000009", "texts": ["<script>alert(1)</script>"]}
    out = project / "page.html"
    write_samples_page(out, "x", metrics(), [(answer, row)], artifact_path("prepare", "scenes"))
    assert "<script>alert" not in out.read_text() and "&lt;b&gt;" in out.read_text()


def test_the_most_frequent_caption_is_counted_in_training():
    rows = [{"tokens": ["a b", "c d"]}, {"tokens": ["c d", "a b"]}, {"tokens": ["e"]}]
    assert most_frequent_caption(rows) == ["a", "b"]


def test_shuffling_leaves_nobody_his_own_and_loses_none():
    predictions = [[str(i)] for i in range(50)]
    swapped = shuffled(predictions, seed=3)
    assert sorted(swapped) == sorted(predictions)
    assert all(a != b for a, b in zip(swapped, predictions, strict=True))


def test_the_nearest_training_image_of_a_training_image_is_itself(project):
    split = load_split("scenes", {"image": "scenes-image"}, "train", CPU, 0)
    found = nearest_captions(split, split)
    assert found == [row["tokens"][0].split() for row in split.rows]


@pytest.mark.parametrize("name", ["curves.csv", "comparison.csv"])
def test_plot_data_is_there(project, name):
    lines = (artifact_path("evaluate", "caption") / name).read_text().splitlines()
    assert len(lines) >= 4 and len({line.count(",") for line in lines}) == 1
    assert np.isfinite([float(x) for x in lines[1].split(",")[1:]]).all()
