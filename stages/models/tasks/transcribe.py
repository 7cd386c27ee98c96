"""Speech to words: at each moment the modalities are fused to a letter, a word or nothing (CTC, Graves et al. 2006).

What is heard and what is seen stay in step: each moment of the finest modality meets the moments of the others that
are at the same time. Shapes: B samples, L places of a modality, T moments, D dim, U units of a text, V vocabulary.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from stages.base.store import SPLITS
from stages.media.text import END, PAD, START, UNKNOWN, Vocabulary
from stages.models.baselines import most_frequent
from stages.models.encoders.base import Encoded, Encoder
from stages.models.heads.ctc.alignment import ctc_loss, needed, spread
from stages.models.heads.ctc.ngrams import NGrams, count_ngrams
from stages.models.heads.ctc.reader import Reader
from stages.models.metrics.transcripts import accuracy_by_slot, compare, count_errors, transcript_metrics, wer_by
from stages.models.tables import PRESENT, Split
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask, cross_entropy
from stages.params import ExperimentBase, TranscribeParams

NGRAMS = "transcript_ngrams"
COLUMNS = {"characters": "transcript_characters", "words": "transcript"}  # the vocabulary of each kind of unit
NEVER_READ = [START, END, UNKNOWN]


class TranscribeTask(FusedTask):
    """Encoders, a fusion at each moment whose output is the units, and a model of what is likely to be said."""

    columns: ClassVar[tuple[str, ...]] = ("transcript_tokens", "word_times", "group", "truth")
    needed: ClassVar[tuple[str, ...]] = ("transcript_tokens",)
    vocabularies: ClassVar[tuple[str, ...]] = tuple(COLUMNS.values())
    headline: ClassVar[str] = "word_accuracy"
    answer_types: ClassVar[dict[str, str]] = {
        "transcript": "string",
        "spoken": "strings",
        "starts_s": "doubles",
        "ends_s": "doubles",
        "probabilities": "doubles",
    }
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "expected")
    sliced: ClassVar[str] = "group"

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and fusion."""
        super().__init__(config)
        assert isinstance(config.experiment, TranscribeParams)
        self.by_letter, order = config.experiment.units == "characters", config.experiment.ngram_order
        self.vocabulary = Vocabulary(config.vocabularies[COLUMNS[config.experiment.units]])
        likely = NGrams(config.vocabularies[NGRAMS], order) if order else None
        self.reader = Reader(self.vocabulary.words, self.by_letter, likely)
        self.fusion = self.make_fusion(config.features, len(self.vocabulary))
        for encoder in self.encoders.values():
            assert isinstance(encoder, Encoder)
            encoder.keep_time()

    @classmethod
    def learn(cls, experiment: ExperimentBase, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        """Count which words follow which in the training split."""
        assert isinstance(experiment, TranscribeParams)
        texts = [row["transcript_tokens"].split() for row in rows]
        return {NGRAMS: count_ngrams(texts, experiment.ngram_order)} if experiment.ngram_order else {}

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield that all training transcripts are equal, and the words that other splits alone have."""
        known = Counter(row["transcript_tokens"] for row in splits[SPLITS[0]].rows)
        assert isinstance(config.experiment, TranscribeParams)
        if config.experiment.times_loss and not any(row.get("word_times") for row in splits[SPLITS[0]].rows):
            yield Fault(
                f"times_loss is {config.experiment.times_loss:g}, but no training sample of data set "
                f"{config.experiment.dataset} has word_times: set times_loss to 0",
                fatal=True,
            )
        if len(known) == 1:
            yield Fault(
                f"every transcript in training is {next(iter(known))!r}: there is nothing to learn; add samples with "
                f"other words to data set {config.experiment.dataset}",
                fatal=True,
            )
        words = {word for text in known for word in text.split()}
        for split in SPLITS[1:]:
            new = Counter(w for row in splits[split].rows for w in row["transcript_tokens"].split() if w not in words)
            if new:
                shown = ", ".join(word for word, _ in new.most_common(5))
                yield Fault(f"{split}: {new.total()} words are of {len(new)} that training never says: {shown}")

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `text` (N, U): the numbers of the units, padded; where their times are learnt, `said` (N, T)."""
        texts = [self._units(row["transcript_tokens"]) for row in rows]
        found = np.full((len(rows), max(map(len, texts))), PAD, np.int64)
        for i, text in enumerate(texts):
            found[i, : len(text)] = text
        assert isinstance(self.config.experiment, TranscribeParams)
        return {"text": found, **({"said": self._said_at(rows)} if self.config.experiment.times_loss else {})}

    def _said_at(self, rows: list[dict[str, Any]]) -> np.ndarray:
        """Return the unit of each moment, (N, T), -1 in samples without times; letters share the time of their word."""
        moments, seconds = self._num_moments(), max(spec.seconds for spec in self.config.features.values())
        found = np.full((len(rows), moments), -1, np.int64)
        for i, row in enumerate(rows):
            if row.get("word_times"):
                words = row["transcript_tokens"].split()
                ends = [" "] * (len(words) - 1) + [""]
                pieces = [list(word + end) if self.by_letter else [word] for word, end in zip(words, ends, strict=True)]
                places = [
                    (start + (end - start) * k / len(parts), start + (end - start) * (k + 1) / len(parts))
                    for parts, (start, end) in zip(pieces, row["word_times"], strict=True)
                    for k in range(len(parts))
                ]
                found[i] = spread(self._units(row["transcript_tokens"]), places, seconds, moments)
        return found

    def _units(self, tokens: str) -> list[int]:
        return self.vocabulary.encode(tokens if self.by_letter else tokens.split(), len(tokens))[1:-1]

    def cut(self, rows: list[dict[str, Any]]) -> str:
        """Say how many transcripts are longer than the moments in which they are to be read."""
        fewest_N = needed(torch.from_numpy(self.targets(rows)["text"]))
        moments = self._num_moments()
        many = int((fewest_N > moments).sum())
        kind = "letters" if self.by_letter else "words"
        return f"{many} of {len(rows)} transcripts have more {kind} than moments, {moments}: not learnt" if many else ""

    @torch.inference_mode()
    def _num_moments(self) -> int:
        nothing = {m: torch.zeros(1, *spec.shape) for m, spec in self.config.features.items()}
        there = {m + PRESENT: torch.ones(1, dtype=torch.bool) for m in self.config.features}
        was_training = self.training
        moments = self.eval()._logits(nothing | there).shape[1]
        self.train(was_training)
        return moments

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the CTC loss for each unit; where times are learnt, that of each moment's unit with it."""
        assert isinstance(self.config.experiment, TranscribeParams)
        logits_BTV, weight = self._logits(batch, train), self.config.experiment.times_loss
        loss = ctc_loss(logits_BTV, batch["text"])
        return loss + weight * cross_entropy(logits_BTV.flatten(0, 1), batch["said"].flatten()) if weight else loss

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a transcript."""
        return int((batch["text"] != PAD).any(1).sum())

    def _logits(self, batch: Batch, train: Any = None) -> Tensor:
        """Return scores of the units at each moment, (B, T, V)."""
        encoded = self.encode(batch, train)
        spans = {m: spec.seconds or 1.0 for m, spec in self.config.features.items()}
        finest = max(encoded, key=lambda modality: encoded[modality].x_BLD.shape[1] / spans[modality])
        rate = encoded[finest].x_BLD.shape[1] / spans[finest]
        at_T = (torch.arange(round(rate * max(spans.values()))) + 0.5) / rate
        moments = {m: _at(found, at_T / spans[m]) for m, found in encoded.items()}
        return self.fusion(moments).unflatten(0, (-1, len(at_T)))

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return the words, when each was said, and how sure that is."""
        logits_BTV = self._logits(batch).float()
        logits_BTV[..., NEVER_READ] = -torch.inf
        seconds = max(spec.seconds for spec in self.config.features.values()) / logits_BTV.shape[1]
        return [
            self.reader.read(log_probs_TV, seconds, evaluate)
            for log_probs_TV in logits_BTV.log_softmax(-1).cpu().numpy()
        ]

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return error rates, by group and slot of the sentence where there are any, and how far off the times are."""
        said, expected = _said(answers), [row["transcript_tokens"] for row in rows]
        scores: dict[str, Any] = dict(transcript_metrics(said, expected))
        groups = [row.get("group") or "" for row in rows]
        if all(groups) and len(set(groups)) > 1:
            scores["wer_by_group"] = wer_by(said, expected, groups)
        slots = [json.loads(row.get("truth") or "{}").get("slots") for row in rows]
        if all(slots):
            scores["accuracy_by_slot"] = accuracy_by_slot(said, expected, slots)
        return scores | _time_errors(answers, rows)

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return the word accuracy."""
        errors, words = count_errors(_said(answers), [row["transcript_tokens"] for row in rows])
        return 1 - sum(errors) / sum(words)

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the most frequent transcript for everything; with slots, the most frequent word of each."""
        usual = most_frequent(row["transcript_tokens"] for row in train.rows)
        rows: dict[str, Answers] = {"most_frequent_transcript": [{"spoken": usual.split()}] * len(test)}
        texts = [row["transcript_tokens"].split() for row in train.rows]
        if len({len(text) for text in texts}) == 1:
            guess = [most_frequent(words) for words in zip(*texts, strict=True)]
            rows["most_frequent_words"] = [{"spoken": guess}] * len(test)
        return rows

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say how errors were counted and texts searched."""
        experiment = self.config.experiment
        assert isinstance(experiment, TranscribeParams)
        searched = {"ngram_order": experiment.ngram_order, "ngram_weight": evaluate.ngram_weight}
        return {
            "level": "corpus",
            "words": "as the tokenizer cuts them: lower case, no punctuation, small numbers as words",
            "errors": "jiwer",
            "units": experiment.units,
            "beam_size": evaluate.beam_size,
            **(searched | {"word_bonus": evaluate.word_bonus} if evaluate.beam_size > 1 else {}),
        }

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample."""
        expected = [row["transcript_tokens"] for row in rows]
        errors, words = count_errors(_said(answers), expected)
        return {
            "sample_id": [row["sample_id"] for row in rows],
            "expected": expected,
            **{key: [answer[key] for answer in answers] for key in self.answer_types},
            "word_errors": errors,
            "words_spoken": words,
            **({"group": [row["group"] for row in rows]} if rows[0].get("group") else {}),
        }

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return what was written and what was spoken; what is wrong stands in brackets, what is missing as [...]."""
        said, expected = " ".join(answer["spoken"]), row["transcript_tokens"]
        marked = [ours if ours == theirs else f"[{ours or '...'}]" for ours, theirs in compare(said, expected)]
        return [Line(" ".join(marked), expected, said == expected)]

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return how many words are right, errors taken off, and how many were spoken."""
        errors, words = (np.asarray(records[key], np.float64) for key in ("word_errors", "words_spoken"))
        return np.stack([words - errors, words], axis=1)


def _said(answers: Answers) -> list[str]:
    return [" ".join(answer["spoken"]) for answer in answers]


def _at(found: Encoded, share_T: Tensor) -> Encoded:
    """Return what a modality is at each moment, given as a share of its span, a row each, (B * T, 1, D)."""
    places = found.x_BLD.shape[1]
    within_T = (share_T < 1).to(found.real_BL.device)
    at_T = (share_T * places).long().clamp_max(places - 1).to(found.real_BL.device)
    real_BT = found.real_BL[:, at_T] & within_T
    return Encoded(found.x_BLD[:, at_T].flatten(0, 1).unsqueeze(1), real_BT.flatten().unsqueeze(1))


def _time_errors(answers: Answers, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean distance of starts and ends from the true ones, of transcripts without an error."""
    starts: list[float] = []
    ends: list[float] = []
    for answer, row in zip(answers, rows, strict=True):
        true = row.get("word_times")
        if true and "starts_s" in answer and " ".join(answer["spoken"]) == row["transcript_tokens"]:
            starts += [abs(ours - start) for ours, (start, _) in zip(answer["starts_s"], true, strict=True)]
            ends += [abs(ours - end) for ours, (_, end) in zip(answer["ends_s"], true, strict=True)]
    return {"start_error_s": float(np.mean(starts)), "end_error_s": float(np.mean(ends))} if starts else {}
