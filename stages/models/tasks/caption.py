"""Captioning: an image, or any modalities together, in; a sentence out.

Shapes: B samples, C captions of a sample, T words, L places of all modalities, D dim, V vocabulary.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.media.text import PAD, SPECIALS, Vocabulary, join
from stages.models.baselines import most_frequent_caption, nearest_captions
from stages.models.heads import HEADS
from stages.models.heads.base import CaptionDecoder
from stages.models.heads.language_model import LanguageModel
from stages.models.heads.pieces import Pieces
from stages.models.heads.prefix import Prefix
from stages.models.heads.search import Caption, Search, search
from stages.models.metrics.captions.bleu import bleu, bleu_from_statistics, bleu_statistics
from stages.models.metrics.captions.scores import caption_metrics
from stages.models.metrics.truth import Judgement, judge_all, truth_metrics
from stages.models.tables import Picks, Split
from stages.models.targets import Fault, Splits, text_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.fused import FusedTask, next_word_loss
from stages.models.tasks.prompted.base import make_language_model, prefix_of
from stages.params import CaptionParams, LanguageModelParams

USUAL_WORDS = 16  # that the captions of an image have together, roughly
IMAGE = "image"
STATEMENTS, STATEMENTS_TRUE = "statements", "statements_true"  # of the predictions; the second is the metric's name too


class CaptionTask(FusedTask):
    """Encoders whose sequence all captions of a sample share, and a decoder.

    With several modalities the decoder attends to all their sequences and to their fusion.
    """

    columns: ClassVar[tuple[str, ...]] = ("texts", "tokens", "oracle", "truth")
    needed: ClassVar[tuple[str, ...]] = ("texts",)
    vocabularies: ClassVar[tuple[str, ...]] = ("texts",)
    headline: ClassVar[str] = "bleu_4"
    answer_types: ClassVar[dict[str, str]] = {
        "caption": "string",
        "score": "double",
        "words": "strings",
        "word_probabilities": "doubles",
    }
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "references")
    spoken: ClassVar[str] = "texts"

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders and decoder by their names."""
        super().__init__(config)
        experiment = config.experiment
        assert isinstance(experiment, CaptionParams)
        self.max_words = experiment.max_words
        self.vocabulary = Vocabulary(config.vocabularies["texts"])
        self.pieces: Pieces | None = None  # of a language model, which has its own instead of the vocabulary's words
        if isinstance(experiment.head, LanguageModelParams):
            self.decoder: CaptionDecoder | LanguageModel = make_language_model(config)
            self.pieces = self.decoder.pieces
        else:
            self.decoder = HEADS[experiment.head](
                len(self.vocabulary),
                experiment.dim,
                experiment.layers,
                experiment.attention_heads,
                experiment.dropout,
                experiment.max_words,
            )
            self.words = nn.Linear(experiment.dim, len(self.vocabulary))
            nn.init.constant_(self.words.bias, math.log(USUAL_WORDS / len(self.vocabulary)))
            self.memory = self.make_memory()

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the training texts."""
        words = config.vocabularies["texts"][len(SPECIALS) :]
        yield from text_faults(config.experiment.dataset, splits, words)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `captions` (N, C, T), numbers of words or of a language model's pieces, and `num_captions` (N,)."""
        counts = np.array([len(row["tokens"]) for row in rows])
        captions = np.full((len(rows), counts.max(), self.max_words + 2), PAD, np.int64)
        for i, row in enumerate(rows):
            for j, ids in enumerate(self._numbers(row)):
                captions[i, j, : len(ids)] = ids
        return {"captions": captions, "num_captions": counts}

    def _numbers(self, row: dict[str, Any]) -> list[list[int]]:
        if isinstance(self.decoder, LanguageModel):
            return [self.decoder.encode(text, self.max_words) for text in row["texts"]]
        return [self.vocabulary.encode(caption.split(), self.max_words) for caption in row["tokens"]]

    def cut(self, rows: list[dict[str, Any]]) -> str:
        """Say how many captions are longer than `max_words`, words or pieces: no end is learnt from them."""
        if self.pieces:
            lengths = [len(self.pieces.ids(text)) for row in rows for text in row["texts"]]
        else:
            lengths = [len(caption.split()) for row in rows for caption in row["tokens"]]
        num_cut = sum(length > self.max_words for length in lengths)
        told = f"{num_cut} of {len(lengths)} captions are longer than max_words {self.max_words}, cut there"
        return f"{told}; the longest has {max(lengths)}" if num_cut else ""

    def take(self, targets: Arrays, samples: np.ndarray, picks: Picks, train: Any = None, rng: Any = None) -> Arrays:
        """Draw `texts_per_step` captions of each sample, none twice while there are others; all without `rng`."""
        if rng is None:
            return {"captions": targets["captions"][samples]}
        counts = targets["num_captions"][samples]
        order = rng.random((len(samples), targets["captions"].shape[1]))
        order[np.arange(order.shape[1]) >= counts[:, None]] = np.inf
        ranked = order.argsort(1)
        places = np.arange(train.texts_per_step)[None, :] % counts[:, None]
        captions = targets["captions"][samples[:, None], np.take_along_axis(ranked, places, 1)]
        longest = (captions != PAD).sum(-1).max()
        return {"captions": captions[..., :longest]}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy per word, ends counted; padding is left out of the computation.

        In training the word loss of the image alone comes on top.
        """
        seen = self._seen(batch, train)
        loss = next_word_loss(self.decoder, seen, batch["captions"], train)
        if train is None or not train.word_loss:
            return loss
        return loss + train.word_loss * self._word_loss(seen, batch["captions"][..., 1:])

    def _seen(self, batch: Batch, train: Any = None) -> Any:
        """Return what the decoder attends to: places (B, L, D), or what stands before a language model's text."""
        encoded = self.encode(batch, train)
        if isinstance(self.decoder, LanguageModel):
            return prefix_of(self.decoder, self.config, encoded, batch)
        return self.memory(encoded)

    def _word_loss(self, grid_BLD: Tensor, tokens_BCT: Tensor) -> Tensor:
        """Return the loss of telling, from the image alone, which words its captions have (Wu et al. 2016).

        It reaches the encoder without passing attention, which is still blind when training starts.
        """
        logits_BV = self.words(grid_BLD.amax(1)).float()
        has_BV = torch.zeros_like(logits_BV).scatter_(1, tokens_BCT.flatten(1), 1.0)
        has_BV[:, : len(SPECIALS)] = 0.0
        return F.binary_cross_entropy_with_logits(logits_BV, has_BV, reduction="sum") / len(logits_BV)

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return caption, score, words and, per word, its probability and attention over the image's grid."""
        seen = self._seen(batch)
        captions = search(self.decoder, seen, Search.of(evaluate, self.max_words))
        cells = self._image_cells(seen)
        return [self._answer(caption, cells) for caption in captions]

    def _answer(self, caption: Caption, cells: int) -> dict[str, Any]:
        """Return the text and its words; of a word of several pieces the joint probability and the mean attention."""
        if self.pieces:
            text, read = self.pieces.read(caption.ids)
            words, places = [word for word, _ in read], [at for _, at in read]
        else:
            words = self.vocabulary.decode(caption.ids)
            text, places = join(words), [[place] for place in range(len(words))]
        log_probs, attention = np.array(caption.log_probs), np.array(caption.attention)
        return {
            "caption": text,
            "score": caption.score,
            "words": words,
            "word_probabilities": [float(np.exp(log_probs[at].sum())) for at in places],
            "attention": [attention[at].mean(0)[:cells].tolist() for at in places],
        }

    def _image_cells(self, seen: Any) -> int:
        """Return how many places of what is attended to are the image's, which come first; 0 without a grid."""
        if IMAGE not in self.config.features:
            return 0
        if isinstance(seen, Prefix):
            return seen.looked.stop - seen.looked.start
        return (
            seen.shape[1]
            if len(self.encoders) == 1
            else getattr(self.encoders[IMAGE], "place_LD", torch.empty(0)).shape[0]
        )

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return BLEU, ROUGE-L, CIDEr-D, what tells a model that says the same of all and, where known, truth."""
        scores: dict[str, Any] = dict(caption_metrics([answer["words"] for answer in answers], _references(rows)))
        judgements = self._judgements(answers, rows)
        return scores | (truth_metrics(self.lexicon, judgements) if self.lexicon and judgements else {})

    def score(self, answers: Answers, rows: list[dict[str, Any]]) -> float:
        """Return BLEU-4."""
        return bleu([answer["words"] for answer in answers], _references(rows))[3]

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the commonest caption for everything, and that of the training image that looks most alike."""
        usual = {"words": most_frequent_caption(train.rows)}
        rows: dict[str, Answers] = {"most_frequent_caption": [usual] * len(test)}
        if IMAGE in self.config.features:
            rows["nearest_training_image"] = [{"words": words} for words in nearest_captions(test, train)]
        return rows

    def _judgements(self, answers: Answers, rows: list[dict[str, Any]]) -> list[Judgement]:
        """Hold captions against the truth; nothing where a sample's is not known."""
        if self.lexicon is None or not all(row.get("truth") for row in rows):
            return []
        truths = [json.loads(row["truth"]) for row in rows]
        return judge_all(self.lexicon, [answer["words"] for answer in answers], truths)

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of captions written from the true attributes; kinds that they do not state have none."""
        written = [row.get("oracle") for row in test.rows]
        if not all(written):
            return {}
        scores = self.metrics([{"words": oracle.split()} for oracle in written if oracle], test.rows)
        counts = scores.get("statements_by_kind", {})
        stated = {kind: share for kind, share in scores.get("statements_true_by_kind", {}).items() if counts[kind]}
        return scores | ({"statements_true_by_kind": stated} if counts else {})

    def settings(self, rows: list[dict[str, Any]], evaluate: Any) -> dict[str, Any]:
        """Say which BLEU and CIDEr-D these are, and how captions were searched."""
        return {
            "level": "corpus",
            "words": "as the tokenizer cuts them; characters in scripts without spaces",
            "references_per_sample": sum(len(row["tokens"]) for row in rows) / len(rows),
            "bleu": "nltk corpus_bleu, no smoothing, closest reference length",
            "cider_d": "scale 0 to 10, document frequencies of the test references",
            "beam_size": evaluate.beam_size,
            "length_penalty": evaluate.length_penalty,
        }

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a sample."""
        keys = ("caption", "score", "words", "word_probabilities")
        judgements = self._judgements(answers, rows)
        counts = {
            STATEMENTS: [found.num_checked for found in judgements],
            STATEMENTS_TRUE: [found.num_true for found in judgements],
        }
        return {
            "sample_id": [row["sample_id"] for row in rows],
            **{key: [answer[key] for answer in answers] for key in keys},
            "references": [row["tokens"] for row in rows],
            **(counts if judgements else {}),
        }

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return where each word looks: weights over the image's grid, row by row, and the grid's shape."""
        weights = [[round(float(weight), 5) for weight in row] for row in answer["attention"]]
        side = math.isqrt(len(weights[0])) if weights else 0
        return {"attention": weights, "grid": [side, side]} if side and side * side == len(weights[0]) else {}

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return nothing: the page shows captions word by word."""
        return []

    def judged(self, answer: dict[str, Any], row: dict[str, Any]) -> Judgement | None:
        """Return which statements of a caption are true."""
        return next(iter(self._judgements([answer], [row])), None)

    @classmethod
    def statistics(cls, records: dict[str, list[Any]], metric: str) -> np.ndarray:
        """Return the n-gram counts of each caption or, for their truth, how many statements it makes and are true."""
        if metric == STATEMENTS_TRUE:
            return np.array([records[STATEMENTS_TRUE], records[STATEMENTS]], np.float64).T
        return bleu_statistics(records["words"], [[c.split() for c in found] for found in records["references"]])

    @classmethod
    def metric_of(cls, summed: np.ndarray, metric: str) -> np.ndarray:
        """Return the share of statements that are true, or corpus BLEU of the order that the metric names."""
        if metric == STATEMENTS_TRUE:
            return summed[..., 0] / np.maximum(summed[..., 1], 1)
        return bleu_from_statistics(summed, int(metric.removeprefix("bleu_")))

    @classmethod
    def gate_metrics(cls) -> tuple[str, ...]:
        """Name the BLEU of each order, and the share of true statements."""
        return ("bleu_4", "bleu_3", "bleu_2", "bleu_1", STATEMENTS_TRUE)


def _references(rows: list[dict[str, Any]]) -> list[list[list[str]]]:
    return [[caption.split() for caption in row["tokens"]] for row in rows]
