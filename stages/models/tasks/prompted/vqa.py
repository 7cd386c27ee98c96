"""Visual question answering by a language model that writes its answers, whatever answers training has.

Shapes: B samples, K questions of each, X of all, A answers of the training split, T word pieces.
"""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.base.store import SPLITS
from stages.media.text import PAD, tokenize
from stages.models.heads.prefix import Prefix
from stages.models.heads.search import Search, search
from stages.models.tables import PRESENT, Picks, Split
from stages.models.targets import Fault, Splits
from stages.models.tasks.base import Answers, Arrays, Batch, ModelConfig
from stages.models.tasks.fused import next_word_loss
from stages.models.tasks.prompted.base import make_language_model, prefix_of
from stages.models.tasks.vqa import QUESTION, VqaTask
from stages.params import VqaParams

ARTICLES = frozenset({"a", "an", "the"})
BATCH = 4  # samples whose answers are compared with those of the training split at once


class OpenVqaTask(VqaTask):
    """Encoders, and a language model that reads each question in its prompt and writes the answer."""

    def make_head(self, experiment: VqaParams) -> None:
        """Build the language model."""
        self.max_words = experiment.max_words
        self.decoder = make_language_model(self.config)

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield that all training answers are equal."""
        answers = Counter(answer for row in splits[SPLITS[0]].rows for answer in row["answers"])
        if len(answers) == 1:
            yield Fault(
                f"every answer in training is {next(iter(answers))!r}: there is nothing to learn; add samples with "
                f"other answers to data set {config.experiment.dataset}",
                fatal=True,
            )

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `answer` (N, K, T): the numbers of the answers' pieces, padded."""
        answers = np.full((len(rows), max(len(row["answers"]) for row in rows), self.max_words + 2), PAD, np.int64)
        for i, row in enumerate(rows):
            for k, answer in enumerate(row["answers"]):
                ids = self.decoder.encode(answer, self.max_words)
                answers[i, k, : len(ids)] = ids
        return {"answer": answers}

    def cut(self, rows: list[dict[str, Any]]) -> str:
        """Say how many answers have more pieces than `max_words`."""
        lengths = [len(self.decoder.pieces.ids(answer)) for row in rows for answer in row["answers"]]
        num_cut = sum(length > self.max_words for length in lengths)
        told = f"{num_cut} of {len(lengths)} answers are longer than max_words {self.max_words}, cut there"
        return f"{told}; the longest has {max(lengths)}" if num_cut else ""

    def take(self, targets: Arrays, samples: np.ndarray, picks: Picks, train: Any = None, rng: Any = None) -> Arrays:
        """Return the answers to the questions picked, (B, K, T) with as many pieces as the longest."""
        chosen = picks[QUESTION]
        answers = np.where(chosen[..., None] >= 0, targets["answer"][samples[:, None], chosen], PAD)
        return {"answer": answers[..., : max(2, int((answers != PAD).sum(-1).max()))]}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy per piece of the answers."""
        prefix = self._prefix(batch, train)
        answers_XT = batch["answer"][batch[QUESTION + PRESENT]]
        return next_word_loss(self.decoder, prefix, answers_XT.unsqueeze(1), train)

    def _prefix(self, batch: Batch, train: Any = None) -> Prefix:
        return prefix_of(self.decoder, self.config, self.encode(batch, train), batch)

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a question."""
        return int(batch[QUESTION + PRESENT].any(1).sum())

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return the answer written to a sample's first question with its probability, and all of them in lists."""
        found = search(self.decoder, self._prefix(batch), Search.of(evaluate, self.max_words))
        texts = [self.decoder.pieces.read(answer.ids)[0] for answer in found]
        return _by_sample(batch, texts, [math.exp(sum(answer.log_probs)) for answer in found])

    @torch.inference_mode()
    def _closed(self, batch: Batch) -> Answers:
        """Return the likeliest of the training split's answers to each question, with its probability."""
        known = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(self.decoder.encode(answer, self.max_words)) for answer in self.classes], batch_first=True
        )
        chosen_X, log_probability_X = self.decoder.likeliest(self._prefix(batch), known)
        return _by_sample(batch, [self.classes[i] for i in chosen_X.tolist()], log_probability_X.exp().tolist())

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return, beside the usual answers, the likeliest of those that the training split has: `closed_set`."""
        closed = [answer for _, _, batch in test.in_order(BATCH) for answer in self._closed(batch)]
        return {**super().baselines(train, test), "closed_set": closed}

    def compared_as(self, answer: str) -> str:
        """Return an answer's words, without articles, as the metrics cut them."""
        return " ".join(word for word in tokenize(answer) if word not in ARTICLES) or answer

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say how answers are written and compared."""
        return {
            "answers": "written; right if the same words, articles aside",
            "beam_size": evaluate.beam_size,
            "length_penalty": evaluate.length_penalty,
        }

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return nothing: there are no other answers."""
        return {}


def _by_sample(batch: Batch, texts: list[str], sure: list[float]) -> Answers:
    """Return the answers to the questions that are there, by sample."""
    found, results = iter(zip(texts, sure, strict=True)), []
    for count in batch[QUESTION + PRESENT].sum(1).tolist():
        answers, probabilities = map(list, zip(*islice(found, count), strict=True))
        result = {"answer": answers[0], "probability": probabilities[0]}
        results.append(result | {"answers": answers, "probabilities": probabilities})
    return results
