"""Small splits and models in memory, for the tests of tables and tasks.

Eight samples: each has an image, a sound, one to three texts and one to three questions, and one of three labels.
"""

import json
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch

from stages.base.device import Device
from stages.base.lexicon import Lexicon
from stages.media.text import SPECIALS
from stages.models.encoders.base import FeatureSpec
from stages.models.model import build
from stages.models.pool import ASKS
from stages.models.tables import FeatureTable, Split
from stages.models.tasks import TASKS, Task
from stages.models.tasks.base import ModelConfig
from stages.params import Params, experiment_params, load_params
from tests.support.small_data import PROJECT

CPU = Device(torch.device("cpu"), torch.float32)
NUM_SAMPLES = 8
WORDS = [*SPECIALS, "a", "red", "blue", "dog", "cat", "bird", "what", "is", "it", "colour"]
LABELS, ANSWERS = ["bird", "cat", "dog"], ["blue", "no", "red", "yes"]
LEXICON = Lexicon(
    noun="kind",
    naming=["kind"],
    looks={"kind": {label: [label] for label in LABELS}, "colour": {"red": ["red"], "blue": ["blue"]}},
    beside={},
    scene={},
    relations={},
    inverse={},
    patterns=[],
    articles=["a"],
    glue=["is", "it"],
)
SPECS = {
    "image": FeatureSpec((32, 32, 3)),
    "audio": FeatureSpec((20, 16), seconds=2.0),
    "text": FeatureSpec((6,), len(WORDS)),
    "question": FeatureSpec((6,), len(WORDS)),
    "video": FeatureSpec((5, 16, 16, 3), seconds=1.0),
    "fields": FeatureSpec((3, 3), cardinalities=(0, 4, 3)),
}
ENCODERS = {"image": "cnn", "audio": "cnn", "text": "gru", "question": "gru", "video": "gru", "fields": "transformer"}
OWN: dict[str, dict[str, Any]] = {
    "caption": {"head": "transformer", "max_words": 6},
    "classify": {},
    "generate": {"target": "image", "head": "flow", "channels": 8},
    "recommend": {"feedback": "implicit", "item_number": True, "user_number": True, "history": 2, "liked": 4},
    "match": {"target": "text"},
    "retrieve": {"target": "text"},
    "transcribe": {"units": "words", "ngram_order": 2, "encoders": {"audio": "cnn_gru", "video": "gru"}},
    "regress": {"coverage": 0.8},
    "tag": {},
    "translate": {"way": "shared"},
    "vqa": {},
}


@cache
def project_params() -> Params:
    return load_params(PROJECT / "params.yaml")


def make_rows(num_samples: int = NUM_SAMPLES) -> list[dict[str, Any]]:
    """Make prepared rows; sample i has 1 + i % 3 texts and 1 + (i + 1) % 3 questions."""
    rows = []
    for i in range(num_samples):
        label, colour = LABELS[i % 3], ("red", "blue")[i % 2]
        tokens = [f"a {colour} {label}", f"{label} it is", f"{colour} {colour} {label}"][: 1 + i % 3]
        asked = [("what colour is it", colour, "colour"), (f"is it a {label}", "yes", "is"), ("is it red", "no", "is")]
        asked = asked[: 1 + (i + 1) % 3]
        rows.append(
            {
                "sample_id": f"sample-{i}",
                "texts": [f"{text.capitalize()}." for text in tokens],
                "tokens": tokens,
                "message": f"{label} number {i}",
                "transcript_tokens": f"{colour} {label}",
                "word_times": [[0.1, 0.5], [0.6, 1.0]],
                "questions": [f"{question.capitalize()}?" for question, _, _ in asked],
                "answers": [answer for _, answer, _ in asked],
                "question_kinds": [kind for _, _, kind in asked],
                "rating_users": ["anna", "ben", "cid", "dora"],
                "rating_values": [5.0, 1.0 + i % 5, 5.0 - i % 5, 3.0 + i % 2],
                "rating_times": [i, 10 + i, 20 + i, 30 + i],
                "rating_splits": ["train"] * 4,
                ASKS: "train",
                "label": label,
                "tags": sorted({label, colour}) if i else [],
                "numbers": [("age", 1.5 * i), ("weight", 20.0 - i * i)][: 1 + (i != 3)],
                "group": ("anna", "ben")[i % 2],
                "oracle": tokens[0],
                "truth": json.dumps(
                    {
                        "best_label": label,
                        "best_tags": sorted({label, colour}),
                        "objects": [{"kind": label, "colour": colour}],
                    }
                ),
            }
        )
    return rows


def make_features(modality: str, num_media: int) -> np.ndarray:
    """Draw features of a modality; words end in padding, the first two media excepted."""
    spec = SPECS[modality]
    rng = np.random.default_rng([num_media, *modality.encode()])
    if spec.num_words:
        words = rng.integers(len(SPECIALS), spec.num_words, (num_media, *spec.shape)).astype(np.int32)
        words[2:, 4:] = 0
        return words
    if modality == "image":
        return rng.integers(0, 256, (num_media, *spec.shape)).astype(np.uint8)
    if modality == "video":
        clips = rng.integers(1, 256, (num_media, *spec.shape)).astype(np.uint8)
        clips[2:, 3:] = 0  # shorter ones
        return clips
    if spec.cardinalities:
        rows = rng.normal(size=(num_media, *spec.shape)).astype(np.float32)
        rows[..., 0] = rng.random((num_media, spec.shape[0])) < 0.2
        rows[..., 1] = rng.integers(0, np.maximum(spec.cardinalities, 1), (num_media, spec.shape[0]))
        return rows
    return rng.normal(size=(num_media, *spec.shape)).astype(np.float16)


def num_media(modality: str, row: dict[str, Any]) -> int:
    """Return how many media of a modality a sample has."""
    return len(row[{"text": "texts", "question": "questions"}[modality]]) if SPECS[modality].num_words else 1


def make_split(
    modalities: Iterable[str],
    several: tuple[str, ...] = (),
    lacking: Collection[tuple[str, int]] = (),
    limit_bytes: float = 1e9,
) -> Split:
    """Make a split of these modalities; `lacking` are pairs (modality, number of a sample) that are not there."""
    rows = make_rows()
    tables = {}
    for modality in modalities:
        counts = [0 if (modality, i) in lacking else num_media(modality, row) for i, row in enumerate(rows)]
        ends = np.cumsum(counts)
        places = [list(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
        tables[modality] = FeatureTable(make_features(modality, int(ends[-1])), places, CPU, limit_bytes)
    return Split(rows, tables, several)


def make_config(task: str, modalities: Collection[str], **changes: Any) -> ModelConfig:
    """Return what builds a small model."""
    values = {
        "task": task,
        "dataset": "small",
        "inputs": {m: f"small-{m}" if m in modalities else "none" for m in SPECS},
        "encoders": {m: ENCODERS[m] if m in modalities else "none" for m in SPECS},
        "fusion": "concat",
        "dim": 16,
        "layers": 1,
        "attention_heads": 4,
        "dropout": 0.0,
        "modality_dropout": 0.0,
        "train": {},
        **OWN[task],
        **changes,
    }
    known = {"texts": WORDS, "labels": LABELS, "answers": ANSWERS, "transcript": WORDS}
    known |= {"tags": sorted([*LABELS, "blue", "red"]), "numbers": ["age", "weight"]}
    known["transcript_characters"] = [*SPECIALS, *sorted({letter for word in WORDS for letter in word} | {" "})]
    experiment = experiment_params(values)
    vocabularies = {column: known[column] for column in TASKS[task].vocabularies}
    vocabularies |= TASKS[task].learn(experiment, make_rows())
    return ModelConfig(experiment, {m: SPECS[m] for m in SPECS if m in modalities}, vocabularies)


def make_task(task: str, modalities: Collection[str], **changes: Any) -> Task:
    """Build a small model, untrained, as it is evaluated."""
    torch.manual_seed(0)
    built = build(make_config(task, modalities, **changes))
    return studied(built, modalities)


def studied(task: Task, modalities: Collection[str]) -> Task:
    """Give a model what its measures need."""
    task.lexicon = LEXICON
    if task.studies:
        task.study(make_split(modalities, task.several))
    return task
