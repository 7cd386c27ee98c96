"""Raw samples to rows: cleaned and checked; what is bad is put aside with its reason, and counted."""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.base.store import SPLITS
from stages.media.audio import clean_audio
from stages.media.images import clean_and_tell
from stages.media.text import tokenize
from stages.media.video import VideoBounds, clean_video
from stages.params import PrepareParams
from stages.samples.answers import normalise_answer
from stages.samples.fields import Habits
from stages.samples.media import OF_VIDEOS
from stages.samples.ratings import rating_columns
from stages.samples.vocabularies import COUNTED, count
from stages.sources.base import Fault, RawSample

MISSING = {
    "image": "no image",
    "audio": "no sound",
    "video": "no video",
    "texts": "no caption",
    "questions": "no question",
    "transcript": "no transcript",
    "fields": "no field with a value",
}
EXAMPLES = 5  # of bad samples, in messages


@dataclass
class Outcome:
    """What one pass over a source found."""

    words: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COUNTED})
    quarantine: list[dict[str, str]] = field(default_factory=list)
    first_bad: list[str] = field(default_factory=list)
    bad_samples: int = 0
    good_samples: int = 0
    not_on_a_split: int = 0
    altered: Counter[str] = field(default_factory=Counter)  # good samples by what was altered in their media
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # by (class, as written)
    habits: Habits = field(default_factory=Habits)  # of the columns of `fields`


def check_sample(
    raw: RawSample,
    seen: set[str],
    required: Sequence[str],
    params: PrepareParams,
    altered: list[str] | None = None,
    sounds: bool = False,
) -> dict[str, Any]:
    """Return the row of a good sample, all columns of the schema in it; add what was altered to `altered`.

    With `sounds` a video's own sound is the sample's, where that has no other.

    Raises:
        ValueError: with the reason when the sample cannot be used.
    """
    if raw.sample_id in seen:
        raise ValueError("sample id again")
    if raw.split not in SPLITS:
        raise ValueError(f"split {raw.split!r}; expected one of {', '.join(SPLITS)}")
    if raw.fault:
        raise ValueError(raw.fault)
    row = {
        "sample_id": raw.sample_id,
        **_media_columns(raw, params, [] if altered is None else altered, sounds),
        **_text_columns(raw),
    }
    if raw.word_times and len(raw.word_times) != len((row["transcript_tokens"] or "").split()):
        raise ValueError(f"times of {len(raw.word_times)} words beside the transcript {raw.transcript!r}")
    for name in required:
        if not row[name]:
            raise ValueError(MISSING.get(name, f"no {name}") + (" with a word in it" if getattr(raw, name) else ""))
    if not any(row[name] for name in ("image", "audio", "video", "texts", "message", "questions", "fields")):
        raise ValueError("nothing in it: no image, sound, video, text, question or field")
    return row


def _media_columns(raw: RawSample, params: PrepareParams, altered: list[str], sounds: bool) -> dict[str, Any]:
    image, sound, video = None, raw.audio, None
    if raw.image is not None:
        max_pixels = int(params.max_image_megapixels * 1e6)
        image, changes = clean_and_tell(raw.image, max_pixels, params.transparent_on)
        altered += changes
    if raw.video is not None:
        video, own = clean_video(raw.video, VideoBounds(params.max_video_seconds, params.max_video_megapixels))
        if sounds and sound is None and own is not None:
            sound = own
            altered.append(OF_VIDEOS)
    audio, rate_hz = clean_audio(sound, params.max_audio_seconds) if sound is not None else (None, None)
    return {"image": image, "audio": audio, "audio_rate_hz": rate_hz, "video": video}


def _text_columns(raw: RawSample) -> dict[str, Any]:
    texts = [_folded(text) for text in raw.texts if tokenize(text)]
    questions = [question for question in raw.questions if tokenize(question.text)]
    return {
        "texts": texts,
        "tokens": [_normalised(text) for text in texts],
        "message": _folded(raw.message) if raw.message and tokenize(raw.message) else None,
        "transcript": _folded(raw.transcript) if raw.transcript and tokenize(raw.transcript) else None,
        "transcript_tokens": _normalised(raw.transcript) if raw.transcript and tokenize(raw.transcript) else None,
        "word_times": [list(times) for times in raw.word_times],
        "questions": [_folded(question.text) for question in questions],
        "answers": [normalise_answer(question.answer) for question in questions],
        "question_kinds": [question.kind for question in questions],
        "fields": list(raw.fields.values()) if raw.fields and any(raw.fields.values()) else None,
        **rating_columns(raw.ratings),
        "label": _name(raw.label),
        "tags": None if raw.tags is None else sorted({name for tag in raw.tags if (name := _name(tag))}),
        "numbers": _numbers(raw.numbers),
        "group": _name(raw.group),
        "oracle": _normalised(raw.oracle) if raw.oracle else None,
        "truth": None if raw.truth is None else json.dumps(raw.truth, sort_keys=True),
    }


def _numbers(numbers: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """Return the known numbers by their names.

    Raises:
        ValueError: one is not finite.
    """
    known = [(name, float(value)) for name, value in sorted(numbers.items()) if value is not None]
    for name, value in known:
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: expected a finite number, or nothing")
    return known


def _folded(text: str) -> str:
    return " ".join(text.split())


def _name(text: str | None) -> str | None:
    """Return a class or group in one Unicode form (of folders' names, each system writes its own), None for nothing."""
    return unicodedata.normalize("NFC", _folded(text)) or None if text else None


def _normalised(text: str) -> str:
    return " ".join(tokenize(text))


def prepare_rows(
    source: Iterator[RawSample | Fault],
    required: Sequence[str],
    params: PrepareParams,
    outcome: Outcome,
    sounds: bool = False,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, row) for good samples; note the rest in `outcome`. `sounds`: see `check_sample`."""
    seen: set[str] = set()
    for item in source:
        if isinstance(item, Fault):
            outcome.quarantine.append({"where": item.where, "reason": item.reason})
            continue
        if (split := item.split) is None:
            outcome.not_on_a_split += 1
            continue
        altered: list[str] = []
        item, odd_cells = outcome.habits.read(item)
        outcome.quarantine += odd_cells
        try:
            row = check_sample(item, seen, required, params, altered, sounds)
        except ValueError as error:
            _reject(outcome, item.sample_id, str(error))
        else:
            seen.add(item.sample_id)
            outcome.good_samples += 1
            outcome.altered.update(altered)
            _note_texts(outcome, item, row)
            if split == "train":
                count(outcome.words, row)
            yield split, row


def _note_texts(outcome: Outcome, raw: RawSample, row: dict[str, Any]) -> None:
    """Note the texts of a good sample that have no word, and how its answers were written."""
    empty = {
        "captions": len(raw.texts) - len(row["texts"]),
        "questions": len(raw.questions) - len(row["questions"]),
        "messages": int(bool(raw.message and not row["message"])),
        "transcripts": int(bool(raw.transcript and not row["transcript"])),
        "answers": row["answers"].count(""),
    }
    for what, number in empty.items():
        if number:
            outcome.quarantine.append({"where": raw.sample_id, "reason": f"{number} {what} without a word"})
    asked = raw.questions if not empty["questions"] else [q for q in raw.questions if tokenize(q.text)]
    outcome.answers.update(zip(row["answers"], (_folded(question.answer) for question in asked), strict=True))


def _reject(outcome: Outcome, sample_id: str, reason: str) -> None:
    outcome.bad_samples += 1
    outcome.quarantine.append({"where": sample_id, "reason": reason})
    if len(outcome.first_bad) < EXAMPLES:
        outcome.first_bad.append(f"  {sample_id}: {reason}")
