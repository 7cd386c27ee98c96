"""Metrics: pure functions; those of written texts over tokens.

A prediction is a list of tokens; every sample has one prediction and one or more references.
"""

from collections.abc import Sequence

Tokens = Sequence[str]
Predictions = Sequence[Tokens]  # one for each sample
References = Sequence[Sequence[Tokens]]  # one or more for each sample


def check_corpus(predictions: Predictions, references: References) -> None:
    """Refuse a corpus that no metric can score.

    Raises:
        ValueError: There are no samples, the two lists differ in length, a sample has no reference,
            or a text is a plain string instead of a list of tokens.

    Example:
        >>> check_corpus([["a", "dog"]], [[["a", "cat"], ["two", "cats"]]])
        >>> check_corpus([["a", "dog"]], [[]])
        Traceback (most recent call last):
        ValueError: sample 0 has no reference: every sample needs at least one
    """
    if not len(predictions):
        raise ValueError("no predictions to score: the list of samples is empty")
    if len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions but {len(references)} lists of references: every sample needs both"
        )
    for index, (prediction, sample_references) in enumerate(zip(predictions, references, strict=True)):
        if not len(sample_references):
            raise ValueError(f"sample {index} has no reference: every sample needs at least one")
        for text in (prediction, sample_references, *sample_references):
            if isinstance(text, str):
                raise ValueError(
                    f"sample {index} holds the plain string {text!r}: give a list of tokens, "
                    "and for the references a list of such lists"
                )
