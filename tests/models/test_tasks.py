"""Every task learns with every fusion and any modalities, does without missing ones, and is scored as it says."""

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from stages.extractors import Extractor
from stages.extractors.frames import Frames
from stages.extractors.log_mel import LogMel
from stages.extractors.pixels import Pixels
from stages.extractors.tokens import Tokens
from stages.media.video import VideoBounds, clean_video
from stages.models.fusions import FUSIONS, Fusion
from stages.models.heads import HEADS
from stages.models.heads.pictures import PICTURES
from stages.models.model import MODEL, build, load_config, load_model, save_model
from stages.models.tables import PRESENT, FeatureTable, Split
from stages.models.tasks import TASKS, Task
from stages.models.tasks.base import Line
from stages.models.tasks.caption import CaptionTask
from stages.models.tasks.fused import augment, cross_entropy, leave_out, shift
from stages.models.tasks.generate import GenerateTask
from stages.models.tasks.pairs.match import MatchTask, negatives
from stages.models.tasks.pairs.retrieve import RetrieveTask
from stages.models.tasks.transcribe import TranscribeTask
from stages.packaging.predictor import Predictor, PredictSettings
from stages.training.batches import TrainBatches
from tests.support.small_data import encode, make_image, sound
from tests.support.small_splits import (
    ANSWERS,
    CPU,
    LABELS,
    NUM_SAMPLES,
    WORDS,
    make_config,
    make_rows,
    make_split,
    make_task,
    project_params,
    studied,
)
from tests.support.videos import shades, video

MEDIA = ("image", "audio", "text")
SUBSETS = [subset for n in (1, 2, 3) for subset in itertools.combinations(MEDIA, n)]
SEVERAL = [subset for subset in SUBSETS if len(subset) > 1]
OF_VIDEO = [("video",), ("video", "text"), ("audio", "video"), ("image", "audio", "text", "video")]
OF_FIELDS = [("fields",), ("image", "fields"), ("image", "audio", "text", "fields")]
CASES: dict[str, list[tuple[tuple[str, ...], dict[str, Any]]]] = {
    "caption": [(subset, {}) for subset in [*SUBSETS, *OF_VIDEO, *OF_FIELDS]],
    "classify": [
        *((subset, {}) for subset in [*SUBSETS, ("image", "question"), *OF_VIDEO, *OF_FIELDS]),
        (SUBSETS[0], {"class_weights": "balanced", "focal_gamma": 2.0}),
    ],
    "generate": [
        *((("image", "text"), {"head": head}) for head in PICTURES),
        (("image", "audio", "text"), {"head": "flow"}),
        (("image", "audio", "text", "video"), {"head": "flow"}),
    ],
    "recommend": [
        *((subset, {"feedback": "implicit"}) for subset in [*SUBSETS, *OF_VIDEO, *OF_FIELDS]),
        (SUBSETS[0], {"feedback": "implicit", "loss": "bpr"}),
        *((subset, {"feedback": "explicit"}) for subset in (SUBSETS[0], SUBSETS[-1])),
    ],
    "match": [(subset, {"target": subset[-1]}) for subset in [*SEVERAL, *OF_VIDEO[1:], *OF_FIELDS[1:]]],
    "retrieve": [
        *((subset, {"target": subset[-1]}) for subset in [*SEVERAL, *OF_VIDEO[1:3], *OF_FIELDS[1:]]),
        *(
            (subset, {"target": target})
            for subset, target in ((OF_VIDEO[3], "text"), (SUBSETS[-1], "audio"), (OF_VIDEO[3], "video"))
        ),
    ],
    "regress": [
        *((subset, {}) for subset in [*SUBSETS, *OF_VIDEO]),
        (SUBSETS[-1], {"loss": "squared", "numbers": ["weight"]}),
    ],
    "tag": [
        *((subset, {}) for subset in [*SUBSETS, *OF_VIDEO]),
        (SUBSETS[-1], {"class_weights": "balanced", "focal_gamma": 2.0}),
    ],
    "transcribe": [
        *((subset, {"units": "words"}) for subset in (("audio",), ("video",), ("audio", "video"))),
        *((subset, {"units": "characters"}) for subset in (("audio",), ("audio", "video"))),
        *((("audio", "video"), {"units": units, "times_loss": 1.0}) for units in ("characters", "words")),
    ],
    "translate": [
        (subset, {"way": way}) for subset in [*SEVERAL[:3], OF_VIDEO[1], OF_FIELDS[1]] for way in ("direct", "shared")
    ],
    "vqa": [
        *(((*subset, "question"), {}) for subset in [(), *SUBSETS, *OF_VIDEO, *OF_FIELDS]),
        *(((*subset, "question"), {"head": head}) for subset in [SUBSETS[0], SUBSETS[-1]] for head in HEADS),
    ],
}
NO_FUSION = [("translate", 2), ("caption", 1), ("generate", 2)]  # tasks, of so many modalities


def name_of(name: str, modalities: tuple[str, ...], changes: dict[str, Any]) -> str:
    return "-".join([name, *modalities, *map(str, changes.values())])


EVERY_CASE = pytest.mark.parametrize(
    ("name", "modalities", "changes"),
    [
        pytest.param(name, modalities, changes, id=name_of(name, modalities, changes))
        for name, cases in CASES.items()
        for modalities, changes in cases
    ],
)
EVERY_CASE_AND_FUSION = pytest.mark.parametrize(
    ("fusion", "name", "modalities", "changes"),
    [
        pytest.param(fusion, name, modalities, changes, id=f"{fusion}-{name_of(name, modalities, changes)}")
        for name, cases in CASES.items()
        for modalities, changes in cases
        for fusion in FUSIONS
        if fusion == "concat" or (name, len(modalities)) not in NO_FUSION
    ],
)
IDLE_OF_ONE_MODALITY = (  # it has no other to be weighed against, and is always there
    *("absent_MD", "weight_M", "gates.weight", "gates.bias", "similar.weight", "similar.bias"),
    *("block.attention.query.weight", "block.attention.query.bias"),
)
TRAIN = project_params().train.model_copy(update={"batch_size": NUM_SAMPLES})
EVALUATE = project_params().evaluate.model_copy(
    update={"batch_size": 3, "beam_size": 2, "steps": 3, "num_samples_shown": 2}
)


def with_gaps(task: Task) -> Split:
    """Make a split in which sample i lacks modality i, where the task has several and does without."""
    modalities = tuple(task.config.features)
    needs = task.config.experiment.needs
    lacking = [(m, i) for i, m in enumerate(modalities) if m not in needs] if len(modalities) > 1 else []
    return make_split(modalities, task.several, lacking)


def first_batch(task: Task, split: Split) -> dict[str, torch.Tensor]:
    return next(iter(TrainBatches(split, task, TRAIN)))


def plain(value: Any) -> Any:
    """Return answers with arrays as lists, so that they can be compared."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def numbers(value: Any) -> list[float]:
    """Return all numbers in answers."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def idle(task: Task) -> set[str]:
    """Return the parameters that may have no gradient: one that shifts all scores alike, those without a choice."""
    found = {name for name, _ in task.named_parameters() if name.endswith("score.bias")}
    for prefix, module in task.named_modules():
        if isinstance(module, Fusion) and len(module.modalities) == 1:
            found |= {f"{prefix}.{n}" for n, _ in module.named_parameters() if n.endswith(IDLE_OF_ONE_MODALITY)}
    if isinstance(task, CaptionTask) and len(task.config.features) == 1:  # a sample without it is of no use
        found.add("memory.absent_D")
    if isinstance(task, GenerateTask):  # what is given is there, and where it is not is drawn by chance
        found.add("memory.absent_D")
    if isinstance(task, TranscribeTask):  # a moment is one place: there is no other to attend to
        found |= {
            name for name, _ in task.fusion.named_parameters(prefix="fusion") if ".score." in name or "query" in name
        }
        found |= {name for name, _ in task.named_parameters() if name.startswith("fusion.layers") and "norm" in name}
    if isinstance(task, MatchTask) and len(task.config.features) == 2:  # half a pair is not learnt from
        found |= {name for name, _ in task.named_parameters() if "absent" in name}
    return found


# What all tasks promise


@EVERY_CASE_AND_FUSION
def test_a_task_learns_answers_without_a_modality_and_is_read_again_as_it_was(
    tmp_path, fusion, name, modalities, changes
):
    task = make_task(name, modalities, fusion=fusion, **changes).train()
    split = with_gaps(task)
    loss = task.loss(first_batch(task, split), TRAIN)
    loss.backward()
    assert loss.isfinite() and loss > 0
    assert [key for key, p in task.named_parameters() if p.grad is None] == []  # else training on several GPUs fails
    still = {key for key, p in task.named_parameters() if not p.grad.abs().sum()}
    assert still - idle(task) == set()
    torch.optim.SGD(task.parameters(), lr=0.01).step()

    answers = plain(task.eval().answer(split, EVALUATE))
    assert len(answers) == NUM_SAMPLES and np.isfinite(numbers(answers)).all()
    for missing in set(modalities) - set(task.config.experiment.needs) if len(modalities) > 1 else ():
        without = plain(task.answer(split.only(set(modalities) - {missing}), EVALUATE))
        assert np.isfinite(numbers(without)).all() and without != answers

    save_model(tmp_path, task.config, task.state_dict(), {}, {})
    again = studied(load_model(tmp_path, CPU), modalities)
    assert plain(again.answer(split, EVALUATE)) == answers


@EVERY_CASE
def test_scores_predictions_and_the_gate_tell_one_story(name, modalities, changes):
    task = make_task(name, modalities, **changes).eval()
    split = make_split(modalities, task.several)
    answers = task.answer(split, EVALUATE)
    metrics = task.metrics(answers, split.rows)
    assert task.score(answers, split.rows) == pytest.approx(metrics[task.headline])
    records = pa.table(task.records(answers, split.rows)).to_pydict()
    assert set(task.compared) <= set(records)
    for metric in task.gate_metrics():
        summed = task.summed(np.ones(len(records["sample_id"])), task.statistics(records, metric), metric)
        assert task.metric_of(summed, metric) == pytest.approx(metrics[metric])
    json.dumps([metrics, task.settings(split.rows, EVALUATE), task.ceiling(split)])
    for answer, row in zip(answers, split.rows, strict=True):
        lines = task.lines(answer, row)
        assert all(isinstance(line, Line) and line.predicted for line in lines) and (lines or name == "caption")


@EVERY_CASE
def test_what_is_served_has_the_types_that_the_task_names(name, modalities, changes):
    task = make_task(name, modalities, **changes).eval()
    _, _, batch = next(make_split(modalities, task.several).in_order(3))
    for answer in task.predict(batch, EVALUATE):
        for key, kind in task.answer_types.items():
            values = answer[key] if kind.endswith("s") else [answer[key]]
            assert all(isinstance(value, str if kind.startswith("string") else float) for value in values)


@EVERY_CASE
def test_baselines_are_scored_like_the_model(name, modalities, changes):
    task = make_task(name, modalities, **changes)
    split = make_split(modalities, task.several)
    for found in task.baselines(split, split).values():
        assert len(found) == NUM_SAMPLES
        least = -math.inf if task.headline == "r2" else 0  # R2 of who does worse than the mean
        assert least <= task.metrics(found, split.rows)[task.headline] <= 1
    assert all(set(found) < set(modalities) for found in task.ablations().values())


def test_every_task_has_cases():
    assert set(CASES) == set(TASKS)


def test_modalities_stay_in_order_through_a_file_that_sorts_its_keys(tmp_path):
    task = make_task("classify", ("image", "audio", "text"))
    save_model(tmp_path, task.config, task.state_dict(), {}, {})
    assert list(json.loads((tmp_path / MODEL).read_text())["features"]) == ["audio", "image", "text"]
    config = load_config(tmp_path)
    assert list(config.features) == ["image", "audio", "text"]
    assert config.features == task.config.features and config.vocabularies == task.config.vocabularies
    assert load_model(tmp_path, CPU).fusion.modalities == ("image", "audio", "text")


# Missing modalities


def test_training_leaves_out_modalities_but_never_all_nor_those_that_are_kept():
    task = make_task("classify", ("image", "audio", "text"), modality_dropout=0.5)
    batch = first_batch(task, with_gaps(task))
    encoded = task.encode(batch)
    torch.manual_seed(0)
    draws = [leave_out(encoded, 0.5, ()) for _ in range(400)]
    there = torch.stack([torch.stack([found[m].present_B for m in encoded], 1) for found in draws]).float()
    given = torch.stack([e.present_B for e in encoded.values()], 1)
    assert not there[:, ~given].any() and there.any(2).all()
    # of three, each is left out by one half, and where all are (one eighth) all stay
    whole = given.all(1)
    assert there[:, whole].mean() == pytest.approx(0.5 + 0.125, abs=0.03)
    draws = [leave_out(encoded, 0.9, ("text",)) for _ in range(20)]
    assert all(found["text"].real_BL.equal(encoded["text"].real_BL) for found in draws)
    assert any(not found[m].real_BL.any() for found in draws for m in ("image", "audio"))


def test_modalities_are_left_out_in_training_alone():
    task = make_task("classify", ("image", "audio"), modality_dropout=0.9).eval()
    batch = first_batch(task, make_split(("image", "audio")))
    assert all(encoded.present_B.all() for encoded in task.encode(batch).values())
    assert not all(encoded.present_B.all() for encoded in task.encode(batch, TRAIN).values())


def test_what_stands_where_a_modality_is_missing_has_no_influence():
    task = make_task("caption", ("image", "text")).eval()
    _, _, batch = next(make_split(("image", "text"), lacking=[("image", 0)]).in_order(NUM_SAMPLES))
    answers = plain(task.predict(batch, EVALUATE))
    batch["image"][0] = 255
    assert plain(task.predict(batch, EVALUATE)) == answers


# Augmentation


def test_a_shifted_image_repeats_its_edge():
    images = torch.arange(4 * 5 * 6).view(4, 5, 6, 1).to(torch.uint8)
    torch.manual_seed(0)
    moved = shift(images, 0.4)
    for image, found in zip(images, moved, strict=True):
        rows, columns = np.arange(5), np.arange(6)
        options = [
            image[np.clip(rows + down, 0, 4)][:, np.clip(columns + right, 0, 5)]
            for down in range(-2, 3)
            for right in range(-2, 3)
        ]
        assert any(found.equal(option) for option in options)
    assert not moved.equal(images)


def test_images_are_mirrored_by_the_given_chance():
    encoder = make_task("classify", ("image",)).encoders["image"]
    images = make_split(("image",)).features["image"]._resident
    flipped = TRAIN.model_copy(update={"flip_fraction": 1.0})
    assert augment(encoder, images, flipped).equal(images.flip(2))
    assert augment(encoder, images, TRAIN).equal(images)


# Labels and answers


def test_an_unknown_label_is_an_error_and_does_not_break_the_loss():
    task = make_task("classify", ("image", "text"))
    split = make_split(("image", "text"))
    split.rows[2]["label"] = split.rows[5]["label"] = "zebra"
    targets = task.targets(split.rows)["label"]
    assert targets.tolist() == [0, 1, -1, 0, 1, -1, 0, 1]
    batch = first_batch(task, split)
    logits = task.fusion(task.encode(batch))
    known = batch["label"] >= 0
    assert task.loss(batch).item() == pytest.approx(F.cross_entropy(logits[known], batch["label"][known]).item())
    answers = [{"label": label, "probability": 0.5} for label in ["bird", "cat", "dog", "bird"] * 2]
    right = [True, True, False, True, False, False, False, False]
    metrics = task.metrics(answers, split.rows)
    assert metrics["accuracy"] == task.score(answers, split.rows) == sum(right) / 8
    assert task.records(answers, split.rows)["accuracy"] == [float(hit) for hit in right]


@pytest.mark.parametrize(("name", "key"), [("classify", "label"), ("vqa", "answer"), ("translate", "label")])
def test_a_batch_of_unknown_labels_alone_has_a_finite_loss(name, key):
    task = make_task(name, ("image", "question") if name == "vqa" else ("image", "text"))
    batch = first_batch(task, make_split(tuple(task.config.features), task.several))
    batch[key] = torch.full_like(batch[key], -1)
    loss = task.loss(batch, TRAIN)
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in task.parameters() if p.grad is not None)


def test_smoothing_belongs_to_training():
    logits, targets = torch.randn(5, 3), torch.tensor([0, 2, -1, 1, 1])
    chosen = targets >= 0
    smoothed = F.cross_entropy(logits[chosen], targets[chosen], label_smoothing=TRAIN.label_smoothing)
    assert cross_entropy(logits, targets, TRAIN).item() == pytest.approx(smoothed.item())
    assert cross_entropy(logits, targets).item() == pytest.approx(
        F.cross_entropy(logits[chosen], targets[chosen]).item()
    )


def test_accuracy_by_group_stands_where_every_sample_has_a_group():
    task, rows = make_task("classify", ("image",)), make_rows()
    answers = [{"label": row["label"] if row["group"] == "anna" else "zebra", "probability": 1.0} for row in rows]
    answers = [answer | {"label": "bird"} if answer["label"] == "zebra" else answer for answer in answers]
    found = task.metrics(answers, rows)["accuracy_by_group"]
    assert found == {"anna": 1.0, "ben": 0.25}  # ben has a cat, a bird, a dog and a cat
    rows[0]["group"] = None
    assert "accuracy_by_group" not in task.metrics(answers, rows)


# Questions


def numbered_questions(num_answers: int = 4) -> tuple[Task, Split]:
    """Make questions whose first word is their own number, and whose answer follows from it."""
    rows = make_rows()
    counts = [len(row["questions"]) for row in rows]
    rows[3]["questions"], rows[3]["answers"], rows[3]["question_kinds"], counts[3] = [], [], [], 0
    starts = np.cumsum(counts) - counts
    words = np.zeros((sum(counts), 6), np.int32)
    words[:, 0] = np.arange(sum(counts)) % 9 + 4
    for row, start in zip(rows, starts, strict=True):
        row["answers"] = [ANSWERS[words[start + j, 0] % num_answers] for j in range(len(row["questions"]))]
    places = [list(range(start, start + count)) for start, count in zip(starts, counts, strict=True)]
    split = Split(rows, {"question": FeatureTable(words, places, CPU, 1e9)}, ("question",))
    return make_task("vqa", ("question",)), split


def test_answers_stay_with_their_questions_however_they_are_drawn():
    task, split = numbered_questions()
    seen = set()
    batches = TrainBatches(split, task, TRAIN.model_copy(update={"texts_per_step": 2, "batch_size": 3}))
    for epoch in range(6):
        batches.epoch = epoch
        for batch in batches:
            there, words = batch["question" + PRESENT], batch["question"][..., 0]
            assert batch["answer"].shape == there.shape == (len(there), 2)
            assert batch["answer"][there].tolist() == (words[there] % 4).tolist()
            assert (batch["answer"][~there] == -1).all() and (words[~there] == 0).all()
            seen |= set(words[there].tolist())
    assert seen == set(range(4, 13))  # every question is drawn at some time


def test_all_questions_of_a_sample_are_answered_in_their_order():
    task, split = numbered_questions()
    targets = task.targets(split.rows)
    for samples, picks, batch in split.in_order(3):
        found = task.take(targets, samples, picks)["answer"]
        there = batch["question" + PRESENT].numpy()
        assert found[there].tolist() == (batch["question"][..., 0].numpy()[there] % 4).tolist()


def test_a_question_sees_its_own_sample():
    task = make_task("vqa", ("image", "question")).eval()
    split = make_split(("image", "question"), ("question",))
    answers = task.answer(split, EVALUATE)
    assert [len(answer["answers"]) for answer in answers] == [len(row["questions"]) for row in split.rows]
    alone = Split(split.rows[4:5], {m: table.reordered(np.array([4])) for m, table in split.features.items()})
    alone = dataclasses.replace(alone, several=("question",))
    assert task.answer(alone, EVALUATE)[0]["probabilities"] == pytest.approx(answers[4]["probabilities"], abs=1e-6)


def test_question_accuracy_is_over_all_questions_and_by_kind():
    task, rows = make_task("vqa", ("question",)), make_rows()[:2]  # two questions, then three
    answers = [
        {"answers": ["red", "no"], "probabilities": [0.5, 0.5]},
        {"answers": ["blue", "yes", "yes"], "probabilities": [0.5] * 3},
    ]
    metrics = task.metrics(answers, rows)
    assert metrics == {
        "accuracy": 3 / 5,
        "accuracy_by_kind": {"colour": 1.0, "is": pytest.approx(1 / 3)},
        "num_questions": 5,
    }
    table = task.records(answers, rows)
    assert table["sample_id"] == ["sample-0"] * 2 + ["sample-1"] * 3
    assert table["accuracy"] == [1.0, 0.0, 1.0, 1.0, 0.0]
    lines = task.lines(answers[0], rows[0])
    assert [(line.asked, line.predicted, line.expected, line.right) for line in lines] == [
        ("What colour is it?", "red", "red", True),
        ("Is it a bird?", "no", "yes", False),
    ]


def test_the_usual_answer_to_a_question_is_counted_in_training():
    task = make_task("vqa", ("question",))

    def split_of(*asked: list[tuple[str, str]]) -> Split:
        rows = [{"questions": [q for q, _ in found], "answers": [a for _, a in found]} for found in asked]
        return Split(rows, {})

    train = split_of(
        [("who", "ben"), ("when", "now")], [("who", "ben"), ("who", "anna")], [("when", "now")], [("when", "now")]
    )
    found = task.baselines(train, split_of([("who", ""), ("where", "")], [("when", "")]))
    assert [answer["answers"] for answer in found["majority"]] == [["now", "now"], ["now"]]
    assert [answer["answers"] for answer in found["majority_of_question"]] == [["ben", "now"], ["now"]]


# Retrieval


def vectors(*rows: tuple[float, float]) -> np.ndarray:
    found = np.array(rows, np.float32).reshape(-1, 2)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class ByHand(RetrieveTask):
    """Answers that were made up instead of predicted."""

    def predict(self, batch: Any, evaluate: Any) -> Any:
        return [
            {"queries": vectors((1, 0)), "targets": vectors((1, 0), (0, 1))},
            {"queries": vectors((0, 1)), "targets": vectors((0.9, 0.1))},
            {"queries": vectors(), "targets": vectors((0.6, 0.8))},
        ]


def test_retrieval_ranks_as_by_hand():
    task = ByHand(make_task("retrieve", ("image", "text")).config)
    split = make_split(("image", "text"), ("text",))
    rows = split.rows[:3]
    answers = task.answer(Split(rows, split.features, split.several), EVALUATE)
    # query 0 finds its own first; query 1 after (0, 1) and (0.6, 0.8); sample 2 does not ask
    assert [answer["query_rank"] for answer in answers] == [1, 3, 0]
    # (1, 0) finds its query first, (0, 1) and (0.9, 0.1) second; of sample 2 there is none
    assert [answer["target_ranks"] for answer in answers] == [[1, 2], [2], []]
    assert [answer["nearest"] for answer in answers] == [[(0, 0), (1, 0), (2, 0)], [(0, 1), (2, 0), (1, 0)], []]
    metrics = task.metrics(answers, rows)
    assert metrics["image_to_text_recall_at_1"] == 0.5 and metrics["text_to_image_recall_at_1"] == pytest.approx(1 / 3)
    assert metrics["image_to_text_median_rank"] == 2 and metrics["text_to_image_median_rank"] == 2
    assert metrics["mean_recall"] == pytest.approx((0.5 + 1 + 1 + 1 / 3 + 1 + 1) / 6)
    records = task.records(answers, rows)
    assert records["nearest"][1] == ["sample-0", "sample-2", "sample-1"]
    summed = task.statistics(records, "mean_recall").sum(0)
    assert task.metric_of(summed, "mean_recall") == pytest.approx(metrics["mean_recall"])
    lines = task.lines(answers[1] | {"nearest_texts": ["of another", rows[1]["texts"][0]]}, rows[1])
    assert [(line.predicted, line.right) for line in lines] == [
        ("own text at rank 3", False),
        ("of another", False),
        (rows[1]["texts"][0], True),
    ]
    assert task.lines(answers[2], rows[2]) == []


def test_the_contrastive_loss_shares_among_all_right_texts():
    task = make_task("retrieve", ("image", "text")).eval()
    split = make_split(("image", "text"), ("text",), [("image", 1), ("text", 2)])
    batch = first_batch(task, split)
    query, target = (found.detach() for found in task.towers(batch))
    scale = task.log_scale.exp().item()
    pairs_q = [i for i in range(8) if batch["image" + PRESENT][i]]
    pairs_t = [(i, j) for i in range(8) for j in range(2) if batch["text" + PRESENT][i, j]]

    def naive(asking: list, sought: list, score: Any) -> float:
        losses = []
        for one in asking:
            odds = [math.exp(score(one, other)) for other in sought]
            right = [k for k, other in enumerate(sought) if owner(other) == owner(one)]
            losses += [-sum(math.log(odds[k] / sum(odds)) for k in right) / len(right)] if right else []
        return sum(losses) / len(losses)

    def owner(item: Any) -> int:
        return item[0] if isinstance(item, tuple) else item

    def score(one: Any, other: Any) -> float:
        i, (j, k) = (one, other) if isinstance(one, int) else (other, one)
        return scale * float(query[i] @ target[2 * j + k])

    expected = 0.5 * (naive(pairs_q, pairs_t, score) + naive(pairs_t, pairs_q, score))
    assert task.loss(batch, TRAIN).item() == pytest.approx(expected, rel=1e-4)


def test_a_sample_without_a_target_still_asks():
    task = make_task("retrieve", ("image", "text")).eval()
    answers = task.answer(make_split(("image", "text"), ("text",), [("text", 4), ("image", 6)]), EVALUATE)
    assert answers[4]["target"] is None and len(answers[4]["query"]) == 16 and answers[4]["query_rank"] == 0
    assert answers[6]["query"] is None and answers[6]["target_ranks"] == []
    assert sum(len(answer["targets"]) for answer in answers) == sum(len(row["texts"]) for row in make_rows()) - 2


# Matching


def test_a_negative_is_never_the_right_one():
    rows = [{"sample_id": str(i), "label": "common" if i % 40 else "rare"} for i in range(200)]
    for found in (rows, rows[:41], rows[38:42], make_rows()):
        others = negatives(found)
        assert all(i != j for i, j in enumerate(others))
        words = [(row.get("tokens") or [row["label"]])[0] for row in found]
        assert all(words[i] != words[j] for i, j in enumerate(others))


def test_negatives_are_like_the_right_one_and_the_same_in_every_run():
    rows = [{"sample_id": str(i), "tokens": [f"a {'red' if i % 2 else 'blue'} dog number {i}"]} for i in range(60)]
    others = negatives(rows)
    assert others.tolist() == negatives(rows).tolist()
    assert np.mean(np.arange(60) % 2 == others % 2) > 0.95  # a colour in common, with 16 candidates each


def test_samples_that_are_all_alike_still_get_another():
    assert negatives([{"sample_id": str(i), "label": "cat"} for i in range(3)]).tolist() == [1, 2, 0]
    assert negatives([{"sample_id": "a", "label": "cat"}]).tolist() == [0]


def test_captions_that_are_cut_in_training_are_counted():
    rows = [{"tokens": ["a b c d e f", "a b c d e f g"]}, {"tokens": [" ".join("我看到一只猫在睡觉")]}]
    assert make_task("caption", ("image",)).cut(rows) == (
        "2 of 3 captions are longer than max_words 6, cut there; the longest has 9"
    )
    assert make_task("caption", ("image",), max_words=9).cut(rows) == make_task("vqa", ("question",)).cut(rows) == ""


def test_messages_without_spaces_are_compared_by_what_the_tokenizer_cuts():
    texts = ["我看到一只猫", "我看到一只狗", "他在公园里跑步", "她在公园里睡觉", "猫在沙发上", "狗在沙发上"]
    ids = [f"sample-{i}" for i in range(len(texts))]
    found = negatives([{"sample_id": name, "message": text} for name, text in zip(ids, texts, strict=True)])
    cut = negatives([{"sample_id": name, "tokens": [" ".join(text)]} for name, text in zip(ids, texts, strict=True)])
    assert found.tolist() == cut.tolist()
    assert [texts[i] for i in found[:2]] == ["我看到一只狗", "我看到一只猫"]


def test_a_match_is_scored_on_right_and_wrong_pairs():
    task, rows = make_task("match", ("image", "text")), make_rows()[:4]
    pairs = [(0.9, 0.1), (0.8, 0.6), (0.4, 0.3), (0.7, 0.5)]  # of the right pair, of the negative
    answers = [{"match": "yes", "probability": a, "negative": "x", "negative_probability": b} for a, b in pairs]
    metrics = task.metrics(answers, rows)
    assert metrics["accuracy"] == 6 / 8  # wrong: the second's negative, the third's own
    assert metrics["auc"] == 14 / 16  # 0.4 outscored by 0.6 and 0.5
    assert task.records(answers, rows)["accuracy"] == [1.0, 0.5, 0.5, 1.0]


def test_the_wrong_pair_is_the_sample_with_its_negatives_target():
    task = make_task("match", ("image", "text")).eval()
    split = make_split(("image", "text"))
    answers = task.answer(split, EVALUATE)
    others = [int(answer["negative"].removeprefix("sample-")) for answer in answers]
    assert others == negatives(split.rows).tolist()
    swapped = task.predict(next(split.reordered("text", np.array(others)).in_order(8))[2], EVALUATE)
    assert [answer["negative_probability"] for answer in answers] == pytest.approx([a["probability"] for a in swapped])


# Translation


@pytest.mark.parametrize("way", ["direct", "shared"])
def test_translations_leave_classifiers_and_encoders_alone(way):
    task = make_task("translate", ("image", "text"), way=way).train()
    batch = first_batch(task, make_split(("image", "text")))
    batch["label"] = torch.full_like(batch["label"], -1)  # nothing is left but the translations
    task.loss(batch, TRAIN).backward()
    moved = {name.split(".")[0] for name, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum()}
    assert moved == ({"into", "out_of"} if way == "shared" else {"into"})


@pytest.mark.parametrize("way", ["direct", "shared"])
def test_classifiers_learn_from_their_own_encodings_alone(way):
    task = make_task("translate", ("image", "text"), way=way).train()
    batch = first_batch(task, make_split(("image", "text")))
    task.loss(batch, TRAIN).backward()
    found = {name: p.grad.clone() for name, p in task.classifiers.named_parameters()}
    task.zero_grad()
    own, _ = task.encodings(batch)
    sum(cross_entropy(task.classifiers[m](vector), batch["label"], TRAIN) for m, vector in own.items()).backward()
    assert all(torch.allclose(found[name], p.grad, atol=1e-6) for name, p in task.classifiers.named_parameters())


def test_translation_is_scored_by_what_the_other_classifier_reads():
    task, rows = make_task("translate", ("image", "text")), make_rows()[:3]  # bird, cat, dog

    def said(own: str, translated: str, encoding: list[float], translation: list[float]) -> dict[str, Any]:
        return {
            "own": {"label": own, "probability": 1.0},
            "translated": {"label": translated, "probability": 1.0},
            "encoding": np.array(encoding),
            "translation": np.array(translation),
        }

    answers = [
        {"image": said("bird", "bird", [1, 0], [1, 0]), "text": said("bird", "cat", [1, 0], [0, 1])},
        {"image": said("cat", "dog", [0, 1], [0, 1]), "text": said("dog", "cat", [0, 1], [0, 1])},
        {"image": said("bird", "dog", [-1, 0], [0, -1])},  # its text is missing
    ]
    metrics = task.metrics(answers, rows)
    assert metrics["image_accuracy"] == pytest.approx(2 / 3) and metrics["text_accuracy"] == 1 / 2
    assert metrics["image_to_text_accuracy"] == pytest.approx(2 / 3) and metrics["text_to_image_accuracy"] == 1 / 2
    assert metrics["translated_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics["image_to_text_recall_at_1"] == 1.0 and metrics["text_to_image_recall_at_1"] == 0.5
    assert task.records(answers, rows)["text_to_image"] == ["cat", "cat", None]
    assert [line.asked for line in task.lines(answers[2], rows[2])] == ["image read as text"]


# Serving


EXTRACTORS: dict[str, Extractor] = {
    "image": Pixels(32),
    "audio": LogMel({"rate_hz": 8000, "seconds": 0.24, "mel_bands": 16, "window_ms": 25, "hop_ms": 12.5}),
    "text": Tokens(WORDS, 6),
    "question": Tokens(WORDS, 6),
    "video": Frames({"fps": 10.0, "seconds": 0.5, "size_px": 16, "difference": False, "crop": [0.0, 0.0, 1.0, 1.0]}),
}
GIVEN = [
    {
        "image": encode(make_image(i), "PNG"),
        "audio": sound(0.2, pitch_hz=300 + 50 * i),
        "text": f"a {('red', 'blue')[i % 2]} {LABELS[i % 3]}".encode(),
        "question": b"what colour is it",
        "video": video(shades(2 + 2 * i), title="kept by nobody"),
    }
    for i in range(5)
]


def served(task: Task) -> tuple[Predictor, Split]:
    """Return a predictor, and the split that the stages would make of what it is given."""
    modalities = tuple(task.config.features)
    tables = {}
    for m in modalities:
        decoded = np.stack([EXTRACTORS[m].decode(sample[m]) for sample in GIVEN])
        features = EXTRACTORS[m].extract(decoded)
        tables[m] = FeatureTable(features, [[i] for i in range(len(GIVEN))], CPU, 1e9)
    extractors = {m: EXTRACTORS[m] for m in modalities}
    predictor = Predictor(task.eval(), extractors, PredictSettings(EVALUATE, 1.0, 10.0), CPU)
    return predictor, Split(make_rows(len(GIVEN)), tables, task.several)


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("classify", ("image", "audio", "text")),
        ("caption", ("image", "audio", "text")),
        ("vqa", ("image", "audio", "question")),
        ("retrieve", ("image", "audio", "text")),
        ("translate", ("image", "text")),
        ("classify", ("video",)),
        ("caption", ("audio", "video")),
        ("retrieve", ("text", "video")),
    ],
)
def test_a_modality_that_is_not_given_is_one_that_the_split_lacks(name, modalities):
    task = make_task(name, modalities)
    predictor, split = served(task)
    for size in range(1, len(modalities) + 1):
        for subset in itertools.combinations(modalities, size):
            if set(task.config.experiment.needs) <= set(subset):
                given = [{m: sample[m] if m in subset else None for m in modalities} for sample in GIVEN]
                chosen = split.only(subset)
                batches = [batch for _, _, batch in chosen.in_order(EVALUATE.batch_size)]
                expected = [
                    answer for batch in batches for answer in task.explained(batch, task.predict(batch, EVALUATE))
                ]
                assert plain(predictor.predict(given)) == plain(expected)


def test_the_sound_of_a_video_is_heard_where_no_other_is_given():
    predictor, _ = served(make_task("classify", ("audio", "video")))
    silent, loud = GIVEN[1]["video"], video(shades(4), sound_s=0.4)
    _, own = clean_video(loud, VideoBounds(1.0, 1.0))
    answers = predictor.predict(
        [{"video": loud}, {"video": loud, "audio": own}, {"video": loud, "audio": GIVEN[0]["audio"]}, {"video": silent}]
    )
    alone, same, other, _ = (answer["probabilities"] for answer in answers)
    assert alone == same != other


def test_samples_given_together_may_lack_different_things():
    task = make_task("classify", ("image", "text"))
    predictor, split = served(task)
    given = [{"image": GIVEN[0]["image"]}, {"text": GIVEN[1]["text"]}, {"image": GIVEN[2]["image"], "text": None}]
    answers = predictor.predict(given)
    only = {m: task.answer(split.only((m,)), EVALUATE) for m in ("image", "text")}
    expected = [only["image"][0], only["text"][1], only["image"][2]]
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "sample", "message"),
    [
        ("classify", {}, "sample 4: nothing is given; give one or more of image, text"),
        ("classify", {"image": b"damaged"}, "sample 4: image: image does not decode: "),
        ("classify", {"text": b"..."}, "sample 4: text: no word in it"),
        ("match", {"video": GIVEN[0]["image"]}, r"sample 4: video: is an image \(PNG\), not a video"),
        ("match", {"video": GIVEN[0]["video"]}, "sample 4: text is missing, and the task needs it"),
        ("vqa", {"image": GIVEN[0]["image"]}, "sample 4: question is missing, and the task needs it"),
    ],
)
def test_a_sample_that_cannot_be_used_is_named(name, sample, message):
    modalities = {"vqa": ("image", "question"), "match": ("text", "video")}.get(name, ("image", "text"))
    predictor, _ = served(make_task(name, modalities))
    with pytest.raises(ValueError, match=message):
        predictor.predict([*GIVEN[:4], sample])


def test_features_of_one_contrastive_model_are_compared_untrained_too():
    config = make_config("retrieve", ("image", "text"))
    size, rng = 12, np.random.default_rng(0)
    spaces = {
        m: dataclasses.replace(config.features[m], shape=(size,), num_words=0, space="clip") for m in config.features
    }
    experiment = config.experiment.model_copy(
        update={"encoders": config.experiment.encoders.model_copy(update={"image": "projection", "text": "projection"})}
    )
    task = build(dataclasses.replace(config, features=spaces, experiment=experiment)).eval()
    rows = make_split(("image", "text"), ("text",)).rows
    images = rng.normal(size=(len(rows), size)).astype(np.float16)
    owners = [i for i, row in enumerate(rows) for _ in row["texts"]]
    texts = (3 * images[owners] + rng.normal(size=(len(owners), size))).astype(np.float16)  # longer, and near their own
    places = [[j for j, owner in enumerate(owners) if owner == i] for i in range(len(rows))]
    tables = {
        "image": FeatureTable(images, [[i] for i in range(len(rows))], CPU, 1e9),
        "text": FeatureTable(texts, places, CPU, 1e9),
    }
    split = Split(rows, tables, ("text",))
    row = task.metrics(task.baselines(split, split)["zero_shot"], rows)
    assert row["mean_recall"] > 0.9
    other = dataclasses.replace(spaces["text"], space="another")
    apart = build(dataclasses.replace(config, features=spaces | {"text": other}, experiment=experiment))
    assert apart.baselines(split, split) == {}
