"""Image captioning: image features in, a sentence out.

Shapes: B images, C captions of an image, T words, L grid cells, D dim, V vocabulary.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.encoders import ENCODERS
from stages.heads import HEADS
from stages.heads.beam import beam_search
from stages.tasks.base import Batch, ModelConfig, Task
from stages.text import PAD, SPECIALS, Vocabulary

USUAL_WORDS = 16  # that the captions of an image have together, roughly


class CaptionTask(Task):
    """An encoder whose grid all captions of an image share, and a decoder."""

    def __init__(self, config: ModelConfig) -> None:
        """Build encoder and decoder by their names."""
        super().__init__(config)
        experiment = config.experiment
        self.vocabulary = Vocabulary(config.vocabulary)
        self.encoder = ENCODERS[experiment.encoder](config.feature_shapes["image"], experiment.dim, experiment.dropout)
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

    def targets(self, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Return `captions` (N, C, T) of word numbers, padded, and `num_captions` (N,)."""
        max_words = self.config.experiment.max_words
        counts = np.array([len(row["tokens"]) for row in rows])
        captions = np.full((len(rows), counts.max(), max_words + 2), PAD, np.int64)
        for i, row in enumerate(rows):
            for j, caption in enumerate(row["tokens"]):
                ids = self.vocabulary.encode(caption.split(), max_words)
                captions[i, j, : len(ids)] = ids
        return {"captions": captions, "num_captions": counts}

    def draw(
        self, targets: dict[str, np.ndarray], rows: np.ndarray, train: Any, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Draw `captions_per_step` captions of each image, none twice while there are others."""
        counts = targets["num_captions"][rows]
        order = rng.random((len(rows), targets["captions"].shape[1]))
        order[np.arange(order.shape[1]) >= counts[:, None]] = np.inf
        ranked = order.argsort(1)
        places = np.arange(train.captions_per_step)[None, :] % counts[:, None]
        captions = targets["captions"][rows[:, None], np.take_along_axis(ranked, places, 1)]
        longest = (captions != PAD).sum(-1).max()
        return {"captions": captions[..., :longest]}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy per word, ends counted; padding is left out of the computation.

        In training the word loss of the image alone comes on top.
        """
        features = batch["image"]
        if train and train.flip_fraction:
            chosen = torch.rand(len(features), device=features.device) < train.flip_fraction
            chosen = chosen.view(-1, *[1] * (features.ndim - 1))
            features = torch.where(chosen, self.encoder.mirror(features), features)
        grid_BLD = self.encoder(features)
        inputs_BCT, next_BCT = batch["captions"][..., :-1], batch["captions"][..., 1:]
        real_BCT = next_BCT != PAD
        logits_NV = self.decoder.logits(self.decoder(grid_BLD, inputs_BCT, real_BCT))
        if train is None:
            return F.cross_entropy(logits_NV.float(), next_BCT[real_BCT])
        loss = F.cross_entropy(logits_NV.float(), next_BCT[real_BCT], label_smoothing=train.label_smoothing)
        return loss + train.word_loss * self._word_loss(grid_BLD, next_BCT) if train.word_loss else loss

    def _word_loss(self, grid_BLD: Tensor, tokens_BCT: Tensor) -> Tensor:
        """Return the loss of telling, from the image alone, which words its captions have (Wu et al. 2016).

        It reaches the encoder without passing attention, which is still blind when training starts.
        """
        logits_BV = self.words(grid_BLD.amax(1)).float()
        has_BV = torch.zeros_like(logits_BV).scatter_(1, tokens_BCT.flatten(1), 1.0)
        has_BV[:, : len(SPECIALS)] = 0.0
        return F.binary_cross_entropy_with_logits(logits_BV, has_BV, reduction="sum") / len(logits_BV)

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> list[dict[str, Any]]:
        """Return caption, score, words and, per word, its probability and attention over the grid."""
        grid_BLD = self.encoder(batch["image"])
        captions = beam_search(
            self.decoder,
            grid_BLD.float(),
            evaluate.beam_size,
            self.config.experiment.max_words,
            evaluate.length_penalty,
        )
        answers = []
        for caption in captions:
            words = self.vocabulary.decode(caption.ids)
            answers.append(
                {
                    "caption": " ".join(words),
                    "score": caption.score,
                    "words": words,
                    "word_probabilities": [float(p) for p in np.exp(caption.log_probs)],
                    "attention": caption.attention,
                }
            )
        return answers
