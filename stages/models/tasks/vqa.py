"""Visual question answering: a question and what it is about in, one of the training split's answers out.

All questions of a sample share its encoding. Shapes: B samples, K questions of each, T words, A answers.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.models.encoders.base import Encoded, FeatureSpec
from stages.models.heads import HEADS
from stages.models.heads.reader import BilinearScores, Reading
from stages.models.metrics.classification import accuracy_by
from stages.models.tables import PRESENT, Picks, Split
from stages.models.targets import Fault, Splits, class_faults
from stages.models.tasks.base import Answers, Arrays, Batch, Line, ModelConfig
from stages.models.tasks.classify import class_answer, majority
from stages.models.tasks.fused import FusedTask, cross_entropy
from stages.params import NONE, VqaParams

QUESTION = "question"


class VqaTask(FusedTask):
    """Encoders, and a score for each answer from the fusion of each question with the sample.

    With a `head` its decoder reads the question in place of encoder and fusion: each word looks into the sample's
    places, layer by layer, as an image-grounded text encoder does (Li et al. 2022, "BLIP", section 3.1). That is what
    relations and comparisons need, and what a captioner's decoder can do already: see `init`.
    """

    columns: ClassVar[tuple[str, ...]] = ("questions", "answers", "question_kinds", "truth")
    needed: ClassVar[tuple[str, ...]] = ("questions",)
    several: ClassVar[tuple[str, ...]] = (QUESTION,)
    vocabularies: ClassVar[tuple[str, ...]] = ("answers",)
    headline: ClassVar[str] = "accuracy"
    answer_types: ClassVar[dict[str, str]] = {"answer": "string", "probability": "double"}
    compared: ClassVar[tuple[str, ...]] = ("sample_id", "question", "expected")
    sliced: ClassVar[str] = "kind"
    spoken: ClassVar[str] = QUESTION
    kept = (QUESTION,)
    decoder: Any  # of a kind that the head decides

    def __init__(self, config: ModelConfig) -> None:
        """Build encoders, and fusion or decoder."""
        super().__init__(config)
        experiment = config.experiment
        assert isinstance(experiment, VqaParams)
        self.classes, self.reads = config.vocabularies["answers"], experiment.head != NONE
        self.others = [modality for modality in config.features if modality != QUESTION]
        self.make_head(experiment)

    def make_head(self, experiment: VqaParams) -> None:
        """Build fusion or decoder, and what tells answers from the rest alone."""
        if self.reads:
            self._make_decoder(experiment, self.config.features[QUESTION])
        else:
            self.fusion = self.make_fusion(self.config.features, len(self.classes))
        self.words = nn.ModuleDict({m: nn.Linear(experiment.dim, len(self.classes)) for m in self.others})

    def _make_decoder(self, experiment: VqaParams, question: FeatureSpec) -> None:
        """Build what reads questions.

        Raises:
            InputError: when their features are no numbered words.
        """
        if not question.num_words:
            raise InputError(
                f"a vqa experiment with head {experiment.head} reads questions word by word: its features of the "
                f"question must be of the extractor tokens; set its head to {NONE} for others"
            )
        dim, dropout = experiment.dim, experiment.dropout
        assert isinstance(experiment.head, str)
        self.decoder = HEADS[experiment.head](
            question.num_words, dim, experiment.layers, experiment.attention_heads, dropout, question.shape[0]
        )
        self.memory, self.reading = self.make_memory(), Reading(dim)
        self.scores = BilinearScores(self.reading.width, dropout, len(self.classes))

    @classmethod
    def faults(cls, config: ModelConfig, splits: Splits) -> Iterator[Fault]:
        """Yield what is wrong with the answers."""
        answers = {split: [a for row in found.rows for a in row["answers"]] for split, found in splits.items()}
        yield from class_faults(config.experiment.dataset, "answer", answers)

    def targets(self, rows: list[dict[str, Any]]) -> Arrays:
        """Return `answer` (N, K): the numbers of the answers, -1 for unknown ones and where there is no question."""
        numbers = {answer: i for i, answer in enumerate(self.classes)}
        answers = np.full((len(rows), max(len(row["questions"]) for row in rows)), -1, np.int64)
        for i, row in enumerate(rows):
            answers[i, : len(row["answers"])] = [numbers.get(answer, -1) for answer in row["answers"]]
        return {"answer": answers}

    def take(self, targets: Arrays, samples: np.ndarray, picks: Picks, train: Any = None, rng: Any = None) -> Arrays:
        """Return the answers to the questions picked, (B, K)."""
        chosen = picks[QUESTION]
        return {"answer": np.where(chosen >= 0, targets["answer"][samples[:, None], chosen], -1)}

    def loss(self, batch: Batch, train: Any = None) -> Tensor:
        """Return the cross entropy, a mean over questions; in training the word loss comes on top."""
        encoded = self.encode(batch, train)
        loss = cross_entropy(self._logits(batch, encoded), batch["answer"].flatten(), train)
        if train is not None and train.word_loss:
            loss = loss + train.word_loss * self._word_loss(encoded, batch["answer"])
        return loss

    def _logits(self, batch: Batch, encoded: dict[str, Encoded]) -> Tensor:
        """Return the scores of all answers to each question, (B * K, A)."""
        if not self.reads:
            return self.fusion(encoded)
        return self.scores(self.reading(self.decoder, self.memory(encoded), batch[QUESTION])).flatten(0, 1)

    def _word_loss(self, encoded: dict[str, Encoded], answers_BK: Tensor) -> Tensor:
        """Return the loss of telling, from what is asked about alone, which answers its questions have.

        It reaches the encoders without passing the fusion, as the word loss of captions does (Wu et al. 2016).
        """
        size = len(self.classes)
        has_BA = torch.zeros(len(answers_BK), size + 1, device=answers_BK.device)
        has_BA = has_BA.scatter_(1, answers_BK % (size + 1), 1.0)[:, :size]  # -1 falls into the last place
        losses = []
        for modality in self.others:
            highest_BD = encoded[modality].x_BLD.amax(1)
            logits_BA = self.words[modality](highest_BD).float()
            each_BA = F.binary_cross_entropy_with_logits(logits_BA, has_BA, reduction="none")
            losses.append((each_BA.sum(1) * encoded[modality].present_B).mean())
        return torch.stack(losses).sum() if losses else has_BA.sum() * 0.0

    def num_known(self, batch: Batch) -> int:
        """Return how many samples have a question whose answer the training split has."""
        return int((batch["answer"] >= 0).any(1).sum())

    @torch.inference_mode()
    def predict(self, batch: Batch, evaluate: Any) -> Answers:
        """Return the answer to a sample's first question with its probability, and all of them in lists."""
        there = batch[QUESTION + PRESENT]
        logits = self._logits(batch, self.encode(batch))
        probabilities = logits.float().softmax(-1).unflatten(0, there.shape).cpu().numpy()
        results = []
        for row, known in zip(probabilities, there.cpu().numpy(), strict=True):
            found = [class_answer(p, self.classes) for p in row[known]]
            answers, sure = [a["label"] for a in found], [a["probability"] for a in found]
            result = {"answer": answers[0], "probability": sure[0], "answers": answers, "probabilities": sure}
            results.append(result | {"class_probabilities": found[0]["probabilities"]})
        return results

    def metrics(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return accuracy over all questions, and by kind of question."""
        expected = [self.compared_as(answer) for row in rows for answer in row["answers"]]
        predicted = [self.compared_as(text) for answer in answers for text in answer["answers"]]
        kinds = [kind or "other" for row in rows for kind in row["question_kinds"]]
        scores: dict[str, Any] = {
            "accuracy": float(np.mean([a == b for a, b in zip(expected, predicted, strict=True)]))
        }
        if len(set(kinds)) > 1:
            scores["accuracy_by_kind"] = accuracy_by(expected, predicted, kinds)
        return scores | {"num_questions": len(expected)}

    def compared_as(self, answer: str) -> str:
        """Return what of an answer must be the same for it to be right: all of it."""
        return answer

    def baselines(self, train: Split, test: Split) -> dict[str, Answers]:
        """Return the most frequent answer of all, and that to the same question's text, without a look."""
        by_question = defaultdict(list)
        for row in train.rows:
            for question, answer in zip(row["questions"], row["answers"], strict=True):
                by_question[question].append(answer)
        overall = majority([a for found in by_question.values() for a in found], "answer")["answer"]
        usual = {question: majority(found, "answer")["answer"] for question, found in by_question.items()}
        return {
            "majority": [{"answers": [overall] * len(row["questions"])} for row in test.rows],
            "majority_of_question": [
                {"answers": [usual.get(q, overall) for q in row["questions"]]} for row in test.rows
            ],
        }

    def ceiling(self, test: Split) -> dict[str, Any]:
        """Return the metrics of right answers, where they come from a known truth: all that training has are given."""
        if not all(row.get("truth") for row in test.rows):
            return {}
        known = set(self.classes)
        return self.metrics(
            [{"answers": [a if a in known else "" for a in row["answers"]]} for row in test.rows], test.rows
        )

    def ablations(self) -> dict[str, tuple[str, ...]]:
        """Name the question alone and, of several other modalities, each with the question."""
        others = [modality for modality in self.config.features if modality != QUESTION]
        rows: dict[str, tuple[str, ...]] = {"only_question": (QUESTION,)} if others else {}
        return rows | ({f"question_and_{m}": (QUESTION, m) for m in others} if len(others) > 1 else {})

    def records(self, answers: Answers, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return one row a question."""
        expected = [answer for row in rows for answer in row["answers"]]
        predicted = [text for answer in answers for text in answer["answers"]]
        return {
            "sample_id": [row["sample_id"] for row in rows for _ in row["questions"]],
            "question": [question for row in rows for question in row["questions"]],
            "kind": [kind for row in rows for kind in row["question_kinds"]],
            "expected": expected,
            "answer": predicted,
            "probability": [p for answer in answers for p in answer["probabilities"]],
            "accuracy": [float(self._is_right(a, b)) for a, b in zip(predicted, expected, strict=True)],
        }

    def details(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the probabilities of all answers to the first question."""
        return {"classes": self.classes, "probabilities": answer["class_probabilities"]}

    def lines(self, answer: dict[str, Any], row: dict[str, Any]) -> list[Line]:
        """Return each question with both answers."""
        found = zip(row["questions"], answer["answers"], row["answers"], answer["probabilities"], strict=True)
        return [Line(said, right, self._is_right(said, right), sure, question) for question, said, right, sure in found]

    def _is_right(self, answer: str, expected: str) -> bool:
        return self.compared_as(answer) == self.compared_as(expected)
