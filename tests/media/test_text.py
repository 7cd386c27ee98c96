"""Words are split the same way every time, and numbered by how common they are in training."""

import doctest
from collections import Counter

import pytest

import stages.media.text
from stages.media.text import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary, build_vocabulary, tokenize

TEXTS = {
    "A dog runs .": ["a", "dog", "runs"],
    "tri-colored, well-lit!": ["tri", "colored", "well", "lit"],
    "it's the dogs' ball": ["it's", "the", "dogs", "ball"],
    "it\u2019s rock'n'roll": ["it's", "rock'n'roll"],
    "'quoted' ''": ["quoted"],
    "snake_case": ["snake", "case"],
    "0 2 12 13 02 007 100": ["zero", "two", "twelve", "13", "two", "007", "100"],
    "3.5 1,000 B2B": ["three", "five", "one", "000", "b", "two", "b"],
    "Caf\u00e9 cafe\u0301": ["caf\u00e9", "caf\u00e9"],  # one letter, or a letter and its accent
    "STRASSE Stra\u00dfe": ["strasse", "strasse"],
    "\uff24\uff4f\uff47 \ufb01sh": ["dog", "fish"],  # wide letters and a ligature
    "tab\tline\nno-break\u00a0space": ["tab", "line", "no", "break", "space"],
    "\u0663": ["three"],  # an Arabic digit
    "<pad> <unk>": ["pad", "unk"],
    "... !? \u2014 \U0001f600": ["\U0001f600"],
    "": [],
}


def test_examples_in_docstrings_hold():
    result = doctest.testmod(stages.media.text)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(("text", "words"), TEXTS.items(), ids=repr)
def test_a_text_is_split_into_folded_words(text, words):
    assert tokenize(text) == words


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_splitting_what_was_split_changes_nothing(text):
    words = tokenize(text)
    assert tokenize(" ".join(words)) == words


@pytest.mark.parametrize(
    ("min_count", "words"), [(1, ["a", "cat", "dog", "rare"]), (2, ["a", "cat", "dog"]), (3, ["a"]), (9, [])]
)
def test_the_vocabulary_has_special_tokens_then_common_words_ties_by_name(min_count, words):
    counts = Counter(["rare", "dog", "cat", "dog", "a", "cat", "a", "a"])
    assert build_vocabulary(counts, min_count) == [*SPECIALS, *words]


def test_the_vocabulary_does_not_depend_on_the_order_of_texts():
    words = ["b", "a", "c", "b", "a", "d"]
    assert build_vocabulary(Counter(words), 1) == build_vocabulary(Counter(reversed(words)), 1)


def test_special_tokens_have_the_numbers_that_models_know():
    assert [SPECIALS[number] for number in (PAD, START, END, UNKNOWN)] == ["<pad>", "<start>", "<end>", "<unk>"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary([*SPECIALS, "a", "dog", "runs"])


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], [START, END]),
        (["a", "dog"], [START, 4, 5, END]),
        (["a", "bird", "runs"], [START, 4, UNKNOWN, 6, END]),
        (["a", "dog", "runs", "a"], [START, 4, 5, 6]),  # cut: no end
    ],
)
def test_encoding_starts_ends_and_cuts(vocabulary, words, ids):
    assert vocabulary.encode(words, max_words=3) == ids


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([START, 4, 5, END, 6], ["a", "dog"]),
        ([4, UNKNOWN], ["a", "<unk>"]),
        ([PAD, START, 6, PAD], ["runs"]),
        ([END], []),
    ],
)
def test_decoding_stops_at_the_first_end(vocabulary, ids, words):
    assert vocabulary.decode(ids) == words


def test_known_words_come_back(vocabulary):
    assert vocabulary.decode(vocabulary.encode(["dog", "a", "runs"], max_words=9)) == ["dog", "a", "runs"]
    assert len(vocabulary) == 7
