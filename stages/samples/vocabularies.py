"""The vocabularies of a data set: words, answers, labels, tags and names of numbers, of the training split alone."""

from collections import Counter
from typing import Any

from stages.media.text import build_vocabulary, tokenize

NAMES = ("answers", "labels", "tags", "numbers")
OF_SOME = ("tags", "numbers")  # which stand in a vocabulary only where there are any
COUNTED = ("texts", "message", "questions", *NAMES, "transcript", "transcript_characters")


def count(words: dict[str, Counter[str]], row: dict[str, Any]) -> None:
    """Count what a training row adds to the vocabularies."""
    for tokens in row["tokens"]:
        words["texts"].update(tokens.split())
    words["message"].update(tokenize(row["message"] or ""))
    words["transcript"].update((row["transcript_tokens"] or "").split())
    words["transcript_characters"].update(row["transcript_tokens"] or "")
    for question in row["questions"]:
        words["questions"].update(tokenize(question))
    words["answers"].update(filter(None, row["answers"]))
    words["labels"].update(filter(None, [row["label"]]))
    words["tags"].update(row["tags"] or ())
    words["numbers"].update(name for name, _ in row["numbers"])


def vocabularies(words: dict[str, Counter[str]], min_count: int) -> dict[str, list[str]]:
    """Return the words of each text column, commonest first, all letters of transcripts, and sorted names."""
    return {
        column: sorted(counts)
        if column in NAMES
        else build_vocabulary(counts, 1 if column == "transcript_characters" else min_count)
        for column, counts in words.items()
        if counts or column not in OF_SOME
    }
