"""Prepare: raw files to Parquet, validated, cleaned, split and tokenised.

Rows stream, so memory stays flat as the data grows. What is bad goes to `quarantine.parquet` with its reason.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.base.progress import progress
from stages.base.store import (
    MEDIA,
    QUARANTINE,
    QUARANTINE_FILE,
    SCRATCH,
    SPLITS,
    VOCABULARY,
    artifact_path,
    read_manifest,
    samples_schema,
    say,
    write_json,
    writing,
)
from stages.media.audio import clean_audio
from stages.media.images import clean_image
from stages.media.text import TOKENIZER, build_vocabulary, tokenize
from stages.params import Params, PrepareParams
from stages.params.cli import main, run_named, stage_parser
from stages.sources import SOURCES
from stages.sources.base import Fault, RawSample, Source

MISSING = {"image": "no image", "audio": "no sound", "texts": "no caption", "questions": "no question"}
ROW_GROUP_BYTES = 8 * 2**20  # what is in memory at a time
ROW_GROUP_ROWS = 512
COUNTED = ("texts", "message", "questions", "answers", "labels")  # the vocabularies
EXAMPLES = 5  # of bad samples, in the message of a failure


class SplitWriter:
    """Writes one split's rows to `<split>-00000.parquet` and on, a row group at a time."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, shard_bytes: int) -> None:
        """Open nothing yet: a split without rows has no file."""
        self._folder, self._split, self._schema, self._shard_bytes = folder, split, schema, shard_bytes
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._pending_bytes = self._written_bytes = 0
        self.num_rows = self.num_shards = 0

    def add(self, row: dict[str, Any]) -> None:
        """Take one row; write a row group when enough has gathered."""
        self._rows.append(row)
        self._pending_bytes += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        self._pending_bytes += sum(len(text) for value in row.values() if isinstance(value, list) for text in value)
        self.num_rows += 1
        if self._pending_bytes >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()
        if self._writer:
            self._writer.close()

    def _flush(self) -> None:
        if self._writer is None or self._written_bytes >= self._shard_bytes:
            if self._writer:
                self._writer.close()
            path = self._folder / f"{self._split}-{self.num_shards:05d}.parquet"
            names = self._schema.names  # media are compressed already
            compression = {name: "none" if name in MEDIA else "zstd" for name in names}
            self._writer = pq.ParquetWriter(path, self._schema, compression=compression, write_statistics=False)
            self.num_shards += 1
            self._written_bytes = 0
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written_bytes += self._pending_bytes
        self._rows, self._pending_bytes = [], 0


@dataclass
class Outcome:
    """What one pass over a source found."""

    words: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COUNTED})
    quarantine: list[dict[str, str]] = field(default_factory=list)
    first_bad: list[str] = field(default_factory=list)
    bad_samples: int = 0
    good_samples: int = 0
    not_on_a_split: int = 0


def check_sample(raw: RawSample, seen: set[str], required: Sequence[str], params: PrepareParams) -> dict[str, Any]:
    """Return the row of a good sample, all columns of the schema in it.

    Raises:
        ValueError: with the reason when the sample cannot be used.
    """
    if raw.sample_id in seen:
        raise ValueError("sample id again")
    if raw.split not in SPLITS:
        raise ValueError(f"split {raw.split!r}; expected one of {', '.join(SPLITS)}")
    if raw.fault:
        raise ValueError(raw.fault)
    row = {"sample_id": raw.sample_id, **_media_columns(raw, params), **_text_columns(raw)}
    for name in required:
        if not row[name]:
            raise ValueError(MISSING.get(name, f"no {name}") + (" with a word in it" if getattr(raw, name) else ""))
    if not any(row[name] for name in ("image", "audio", "texts", "message", "questions")):
        raise ValueError("nothing in it: no image, sound, text or question")
    return row


def _media_columns(raw: RawSample, params: PrepareParams) -> dict[str, Any]:
    image = clean_image(raw.image, int(params.max_image_megapixels * 1e6)) if raw.image is not None else None
    audio, rate_hz = clean_audio(raw.audio, params.max_audio_seconds) if raw.audio is not None else (None, None)
    return {"image": image, "audio": audio, "audio_rate_hz": rate_hz}


def _text_columns(raw: RawSample) -> dict[str, Any]:
    texts = [_folded(text) for text in raw.texts if tokenize(text)]
    questions = [question for question in raw.questions if tokenize(question.text)]
    return {
        "texts": texts,
        "tokens": [_normalised(text) for text in texts],
        "message": _folded(raw.message) if raw.message and tokenize(raw.message) else None,
        "questions": [_folded(question.text) for question in questions],
        "answers": [_normalised(question.answer) for question in questions],
        "question_kinds": [question.kind for question in questions],
        "label": raw.label,
        "group": raw.group,
        "oracle": _normalised(raw.oracle) if raw.oracle else None,
        "truth": None if raw.truth is None else json.dumps(raw.truth, sort_keys=True),
    }


def _folded(text: str) -> str:
    return " ".join(text.split())


def _normalised(text: str) -> str:
    return " ".join(tokenize(text))


def prepare_rows(
    source: Iterator[RawSample | Fault], required: Sequence[str], params: PrepareParams, outcome: Outcome
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, row) for good samples; note the rest in `outcome`."""
    seen: set[str] = set()
    for item in source:
        if isinstance(item, Fault):
            outcome.quarantine.append({"where": item.where, "reason": item.reason})
            continue
        if item.split is None:
            outcome.not_on_a_split += 1
            continue
        try:
            row = check_sample(item, seen, required, params)
        except ValueError as error:
            _reject(outcome, item.sample_id, str(error))
        else:
            seen.add(item.sample_id)
            outcome.good_samples += 1
            empty = len(item.texts) - len(row["texts"])
            if empty:
                outcome.quarantine.append({"where": item.sample_id, "reason": f"{empty} captions without a word"})
            if item.split == "train":
                _count(outcome.words, row)
            yield item.split, row


def _count(words: dict[str, Counter[str]], row: dict[str, Any]) -> None:
    """Count what a training row adds to the vocabularies."""
    for tokens in row["tokens"]:
        words["texts"].update(tokens.split())
    words["message"].update(tokenize(row["message"] or ""))
    for question in row["questions"]:
        words["questions"].update(tokenize(question))
    words["answers"].update(filter(None, row["answers"]))
    words["labels"].update(filter(None, [row["label"]]))


def _vocabularies(words: dict[str, Counter[str]], min_count: int) -> dict[str, list[str]]:
    """Return the words of each text column, commonest first, and the sorted answers and labels."""
    return {
        column: sorted(counts) if column in ("answers", "labels") else build_vocabulary(counts, min_count)
        for column, counts in words.items()
    }


def run(params: Params, name: str) -> None:
    """Prepare one data set."""
    section = params.datasets[name]
    raw_folder = artifact_path("download", name)
    read_manifest(raw_folder)
    source = SOURCES[section.source](section)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what was freed: a third more at the peak
    with writing("prepare", name, {"prepare": params.prepare.model_dump(), "dataset": section.model_dump()}) as draft:
        outcome, writers = _write_splits(source, raw_folder, draft.folder, params.prepare)
        pq.write_table(pa.Table.from_pylist(outcome.quarantine, schema=QUARANTINE), draft.folder / QUARANTINE_FILE)
        _check_bad_fraction(name, outcome, params.prepare.max_bad_fraction, draft.folder / QUARANTINE_FILE)
        vocabularies = _vocabularies(outcome.words, params.prepare.min_word_count)
        write_json(draft.folder / VOCABULARY, vocabularies)
        draft.settings["tokenizer"] = TOKENIZER
        draft.counts |= {
            **{split: writer.num_rows for split, writer in writers.items()},
            "bad_samples": outcome.bad_samples,
            "quarantine_rows": len(outcome.quarantine),
            "not_on_a_split": outcome.not_on_a_split,
            **{f"vocabulary_{column}": len(words) for column, words in vocabularies.items() if outcome.words[column]},
        }
    say(f"prepare {name}: " + ", ".join(f"{key} {value}" for key, value in draft.counts.items()))
    if outcome.first_bad:
        say("\n".join([f"put aside, all in {artifact_path('prepare', name) / QUARANTINE_FILE}:", *outcome.first_bad]))


def _write_splits(
    source: Source, raw_folder: Path, folder: Path, params: PrepareParams
) -> tuple[Outcome, dict[str, SplitWriter]]:
    outcome = Outcome()
    schema = samples_schema(source.fields)
    writers = {split: SplitWriter(folder, split, schema, params.shard_mb * 2**20) for split in SPLITS}
    rows = prepare_rows(source.read(raw_folder), source.required, params, outcome)
    with progress("prepare") as report:
        for done, (split, row) in enumerate(rows, start=1):
            writers[split].add(row)
            report(done, None)
    for writer in writers.values():
        writer.close()
    return outcome, writers


def _reject(outcome: Outcome, sample_id: str, reason: str) -> None:
    outcome.bad_samples += 1
    outcome.quarantine.append({"where": sample_id, "reason": reason})
    if len(outcome.first_bad) < EXAMPLES:
        outcome.first_bad.append(f"  {sample_id}: {reason}")


def _check_bad_fraction(name: str, outcome: Outcome, allowed: float, quarantine: Path) -> None:
    """Fail on too many bad samples, with the list of all of them kept outside the artifact."""
    bad, total = outcome.bad_samples, outcome.bad_samples + outcome.good_samples
    if not total:
        wrong = "no sample is on a split"
    elif bad == total:
        wrong = f"all {total} samples are bad"
    elif bad / total > allowed:
        wrong = f"{bad} of {total} samples are bad, more than prepare.max_bad_fraction {allowed} allows"
    else:
        return
    kept = SCRATCH / "quarantine" / f"{name}.parquet"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(quarantine, kept)
    raise InputError("\n".join([f"data set {name}: {wrong}; all faults are in {kept}", *outcome.first_bad]))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run_named(stage_parser("prepare", __doc__).parse_args(argv), "datasets", run)


if __name__ == "__main__":
    main(command)
