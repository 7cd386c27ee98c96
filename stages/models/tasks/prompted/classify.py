"""Classification by a language model that is asked: the label whose words it finds likeliest.

Shapes: B samples, C classes, T word pieces.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stages.models.heads.language_model import LanguageModel
from stages.models.tasks.base import Answers, Batch
from stages.models.tasks.classify import ClassifyTask
from stages.models.tasks.fused import next_word_loss
from stages.models.tasks.prompted.base import make_language_model, prefix_of

LONGEST = 500  # pieces of a label


class PromptedClassifyTask(ClassifyTask):
    """Encoders, and a language model that reads the prompt and compares the labels' words."""

    words_CT: Tensor
    decoder: LanguageModel

    def make_head(self) -> None:
        """Build the language model, and cut the labels into its pieces."""
        self.decoder = make_language_model(self.config)
        words = [torch.tensor(self.decoder.encode(label, LONGEST)) for label in self.classes]
        self.register_buffer("words_CT", pad_sequence(words, batch_first=True), persistent=False)

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy per piece of the right labels' words."""
        known_B = batch["label"] >= 0
        words_B1T = self.words_CT[batch["label"].clamp_min(0)].masked_fill(~known_B.unsqueeze(1), 0).unsqueeze(1)
        prefix = prefix_of(self.decoder, self.config, self.encode(batch, train), batch)
        return next_word_loss(self.decoder, prefix, words_B1T, train)

    def explained(self, batch: Batch, answers: Answers) -> Answers:
        """Return answers as they are: to ask a language model once more for each frame takes too long."""
        return answers

    def probabilities(self, batch: Batch) -> Tensor:
        """Return the labels' shares of how likely their words are, (B, C)."""
        prefix = prefix_of(self.decoder, self.config, self.encode(batch), batch)
        return self.decoder.log_likelihoods(prefix, self.words_CT).softmax(-1)
