"""Evaluation says what it measured, beside rows that are what they claim."""

import html
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages import evaluate
from stages.base.lexicon import LEXICON, read_lexicon
from stages.base.store import MANIFEST, METRICS, PREDICTIONS, artifact_path, read_manifest, sha256_file, write_json
from stages.media.text import TOKENIZER
from stages.models.baselines import most_frequent_caption, nearest_captions, swapped, without_time
from stages.models.metrics.captions.scores import caption_metrics
from stages.models.metrics.classification import classification_metrics
from stages.models.model import load_model, reading_of
from stages.models.tables import load_split
from stages.params import load_params
from tests.support.small_splits import make_split, make_task, project_params
from tests.test_train import CPU

BESIDE = {
    "retrieve": {"shuffled_image"},
    "vqa": {"majority", "majority_of_question", "only_question", "shuffled_image"},
    "generate": {"nearest_training_text", "shuffled_text"},
    "match": {"majority", "only_image", "only_text", "shuffled_image", "shuffled_text"},
    "translate": {"majority", "shuffled_image", "shuffled_text"},
}
EVERY_NAME = pytest.mark.parametrize("name", ["caption", "classify"])


def metrics(name: str = "caption") -> dict:
    return json.loads((artifact_path("evaluate", name) / METRICS).read_text())


def predictions(name: str) -> dict:
    return pq.read_table(artifact_path("evaluate", name) / PREDICTIONS).to_pydict()


def test_metrics_have_the_promised_keys(project):
    found = metrics()
    keys = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"}
    assert keys <= set(found) and found["num_samples"] == 16
    assert set(found["baselines"]) == {"most_frequent_caption", "nearest_training_image", "shuffled_image"}
    assert all(keys <= set(row) for row in [*found["baselines"].values(), found["ceiling"]])
    assert found["settings"]["split"] == "test" and found["settings"]["tokenizer"] == TOKENIZER
    assert found["settings"]["headline"] == "bleu_4"
    assert found["ceiling"]["bleu_4"] > 0.5


def test_captions_are_held_against_the_truth_beside_the_honest_rows_and_the_ceiling(project):
    found = metrics()
    told = {"statements_true", "captions_true", "objects_named", "words_unread", "statements_true_by_kind"}
    assert all(told <= set(row) for row in [found, *found["baselines"].values()])
    ceiling = found["ceiling"]
    assert ceiling["statements_true"] == ceiling["captions_true"] == ceiling["objects_named"] == 1.0
    assert set(ceiling["statements_true_by_kind"].values()) == {1.0} and ceiling["words_unread"] == 0.0
    assert all(row["statements_true"] < 1 for row in found["baselines"].values())
    assert {"statements", "statements_true"} <= set(predictions("caption"))


def test_the_gate_sums_the_truth_that_the_metrics_have(project):
    split = load_split(reading_of(load_params().experiments["caption"]), "test", CPU, 0)
    task = load_model(artifact_path("train", "caption"), CPU)
    task.lexicon = read_lexicon(artifact_path("prepare", "scenes"))
    said = [split.rows[i]["oracle"].split() for i in [0, 1, 2, *range(len(split) - 1, 2, -1)]]  # of other scenes
    answers = [{"words": words, "caption": "", "score": 0.0, "word_probabilities": []} for words in said]
    summed = task.statistics(task.records(answers, split.rows), "statements_true").sum(0)
    share = task.metrics(answers, split.rows)["statements_true"]
    assert task.metric_of(summed, "statements_true") == pytest.approx(share) and 0.1 < share < 0.9


def test_a_data_set_without_a_lexicon_is_evaluated_as_ever(project):
    prepared = artifact_path("prepare", "scenes")
    before, manifest = metrics(), read_manifest(prepared)
    (prepared / LEXICON).unlink()
    del manifest["files"][LEXICON]
    write_json(prepared / MANIFEST, manifest)
    evaluate.run(load_params(), "caption")
    after = metrics()
    assert not [key for key in after if "true" in key or "statements" in key]
    assert {key: before[key] for key in after if isinstance(after[key], float)} == {
        key: value for key, value in after.items() if isinstance(value, float)
    }
    assert "statements" not in predictions("caption")


def test_a_model_of_three_modalities_stands_beside_each_alone_and_each_shuffled(project):
    found = metrics("classify")
    keys = {"accuracy", "macro_f1", "calibration_error"}
    beside = {f"{way}_{modality}" for way in ("only", "shuffled") for modality in ("image", "audio", "text")}
    assert set(found["baselines"]) == {"majority", *beside}
    assert all(keys <= set(row) for row in [found, *found["baselines"].values(), found["ceiling"]])
    assert found["num_samples"] == 16 and found["settings"]["headline"] == "accuracy"
    assert found["ceiling"]["accuracy"] > 0.8


def test_metrics_are_those_of_the_predictions_file(project):
    table = predictions("caption")
    references = [[caption.split() for caption in captions] for captions in table["references"]]
    again = caption_metrics(table["words"], references)
    found = metrics()
    assert {key: found[key] for key in again} == again
    assert [" ".join(words) for words in table["words"]] == table["caption"]
    assert all(0 < p <= 1 for row in table["word_probabilities"] for p in row)


def test_classification_metrics_are_those_of_the_predictions_file(project):
    table, found = predictions("classify"), metrics("classify")
    classes = sorted({*table["expected"], *table["label"]})
    again = classification_metrics(table["expected"], table["label"], np.array(table["probability"]), classes)
    assert {key: found[key] for key in again} == pytest.approx(again)
    assert np.mean(table["accuracy"]) == pytest.approx(found["accuracy"])


def test_a_row_of_one_modality_is_what_the_model_says_without_the_others(project):
    params = load_params()
    split = load_split(reading_of(params.experiments["classify"]), "test", CPU, 0)
    task = load_model(artifact_path("train", "classify"), CPU)
    answers = task.answer(split.only(("audio",)), params.evaluate)
    assert metrics("classify")["baselines"]["only_audio"] == pytest.approx(task.metrics(answers, split.rows))


def files(name: str) -> dict[str, str]:
    folder = artifact_path("evaluate", name)
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@EVERY_NAME
def test_a_second_evaluation_gives_the_same_bytes(project, name):
    before = files(name)
    assert {"manifest.json", "figures/comparison.png", "samples.html"} <= set(before)
    assert ("figures/confusion.png" in before) == (name == "classify")
    evaluate.run(load_params(), name)
    assert files(name) == before


@pytest.mark.parametrize("name", BESIDE)
def test_every_other_task_is_evaluated_the_same_way(every_task, name):
    found, table = metrics(name), predictions(name)
    assert 0 <= found[found["settings"]["headline"]] <= 1 and found["num_samples"] == 16
    assert set(found["baselines"]) == BESIDE[name]
    assert bool(found["ceiling"]) == (name in ("retrieve", "vqa", "generate"))
    assert len(set(table["sample_id"])) == 16
    assert {"figures/comparison.png", "predictions.parquet"} <= set(files(name))
    page = (artifact_path("evaluate", name) / evaluate.SAMPLES_PAGE).read_text()
    made = 12 if name == "generate" else 0  # three of each sample
    assert page.count("<figure>") == page.count("data:image/png;base64,") - made == 4


def test_questions_and_retrieval_have_a_ceiling_by_the_truth(every_task):
    assert set(metrics("vqa")["ceiling"]) == {"accuracy", "accuracy_by_kind", "num_questions"}
    assert metrics("vqa")["ceiling"]["accuracy"] > 0.9
    ceiling, found = metrics("retrieve")["ceiling"], metrics("retrieve")
    assert {key for key in found if "recall" in key} == set(ceiling)
    assert 0.8 < ceiling["text_to_image_recall_at_1"] <= ceiling["text_to_image_recall_at_5"] <= 1


def test_the_page_needs_no_network_and_escapes_what_people_wrote(project):
    page = (artifact_path("evaluate", "caption") / evaluate.SAMPLES_PAGE).read_text()
    assert page.count("<figure>") == 4 and page.count("data:image/png;base64,") == 4
    assert "http:" not in page and "https:" not in page and "url(" not in page
    from stages.reports.samples_page import Prepared, write_samples_page

    answer = {"caption": "<b>", "words": ["<b>"], "word_probabilities": [0.5], "attention": [[1.0] * 16], "score": -1.0}
    row = {"sample_id": "scene-00000009", "texts": ["<script>alert(1)</script>"]}
    out = project / "page.html"
    task = load_model(artifact_path("train", "caption"), CPU)
    prepared = Prepared(artifact_path("prepare", "scenes"), {"image": "image"})
    write_samples_page(out, "x", metrics(), task, [(answer, row)], prepared)
    assert "<script>alert" not in out.read_text() and "&lt;b&gt;" in out.read_text()


def test_the_page_shows_and_plays_what_a_model_of_several_modalities_was_given(project):
    page = (artifact_path("evaluate", "classify") / evaluate.SAMPLES_PAGE).read_text()
    assert page.count("<figure>") == page.count("data:image/png;base64,") == page.count("data:audio/wav;base64,") == 4
    assert "http:" not in page and "https:" not in page
    first = pq.read_table(artifact_path("prepare", "scenes") / "test-00000.parquet").to_pylist()[0]
    assert first["message"] in html.unescape(page)


def test_the_most_frequent_caption_is_counted_in_training():
    rows = [{"tokens": ["a b", "c d"]}, {"tokens": ["c d", "a b"]}, {"tokens": ["e"]}]
    assert most_frequent_caption(rows) == ["a", "b"]


def test_shuffling_leaves_nobody_his_own_and_loses_none():
    others = swapped(50, seed=3)
    assert sorted(others) == list(range(50)) and (others != np.arange(50)).all()
    assert others.tolist() == swapped(50, seed=3).tolist() != swapped(50, seed=4).tolist()


def test_the_nearest_training_image_of_a_training_image_is_itself(project):
    split = load_split(reading_of(load_params().experiments["caption"]), "train", CPU, 0)
    found = nearest_captions(split, split)
    assert found == [row["tokens"][0].split() for row in split.rows]


@EVERY_NAME
@pytest.mark.parametrize("file", ["curves.csv", "comparison.csv"])
def test_plot_data_is_there(project, name, file):
    lines = (artifact_path("evaluate", name) / file).read_text().splitlines()
    assert len(lines) >= 3 and len({line.count(",") for line in lines}) == 1
    assert lines[0].startswith({"curves.csv": "epoch,", "comparison.csv": "row,score,"}[file])
    assert np.isfinite([float(x) for x in lines[1].split(",")[1:]]).all()


@pytest.mark.parametrize("encoder", ["mean", "gru"])
def test_beside_a_model_of_videos_stand_rows_that_see_no_time(encoder):
    modalities = ("audio", "video")
    task = make_task("classify", modalities, encoders={"audio": "cnn", "video": encoder}).eval()
    split, params = make_split(modalities), project_params()
    seen = task.answer(split, params.evaluate)
    found = evaluate.score(task, seen, split, split, params)["baselines"]
    assert {"only_video", "shuffled_video", "single_frame_video", "shuffled_frames_video"} <= set(found)
    change = without_time(params.base.seed)["shuffled_frames_video"]
    shuffled = task.answer(split.changed("video", change), params.evaluate)
    told, other = (np.array([answer["probabilities"] for answer in answers]) for answers in (seen, shuffled))
    assert np.allclose(told, other, atol=1e-5) == (encoder == "mean")


def test_of_a_video_each_frame_is_told_by_how_much_it_counted():
    task = make_task("classify", ("video",), encoders={"video": "gru"}).eval()
    split = make_split(("video",))
    seen = task.answer(split, project_params().evaluate)
    some = np.array([len(split) - 1, 0])
    last, first = evaluate._explained(task, split, seen, some)
    assert last["label"] == seen[-1]["label"] and first["label"] == seen[0]["label"]
    _, _, batch = next(split.in_order(1, some))
    batch["video"][:, 1] = 0
    left = task.probabilities(batch)[0].detach().numpy()
    assert last["frames"][1] == pytest.approx(last["probability"] - left[task.classes.index(last["label"])], abs=1e-4)
    assert any(last["frames"])
