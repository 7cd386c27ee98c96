"""Texts become the numbers of their words, the same in training and when served."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError, MediaError
from stages.extractors import extractor as extractor_of
from stages.extractors.tokens import Tokens
from stages.media.text import SPECIALS

CPU = Device(torch.device("cpu"), torch.float32)
WORDS = [*SPECIALS, "a", "dog", "two", "runs"]
A, DOG, TWO, RUNS = range(4, 8)
UNKNOWN = 3


@pytest.fixture
def prepared(tmp_path):
    vocabularies = {"texts": WORDS, "message": [*SPECIALS, "well"], "labels": ["cat", "dog"], "answers": []}
    (tmp_path / "vocabulary.json").write_text(json.dumps(vocabularies), encoding="utf8")
    return tmp_path


def make(prepared, column="texts", max_words=5):
    params = SimpleNamespace(column=column, max_words=max_words)
    return extractor_of("tokens").from_params(params, CPU, "features.x", prepared)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A dog runs.", [A, DOG, RUNS, 0, 0]),
        ("2 DOGS run: \u201ca dog\u201d", [TWO, UNKNOWN, UNKNOWN, A, DOG]),
        ("a a a a a dog", [A, A, A, A, A]),
        ("<start> a <pad>", [UNKNOWN, A, UNKNOWN, 0, 0]),
        ("na\u00efve dog \U0001f415", [UNKNOWN, DOG, UNKNOWN, 0, 0]),
        ("", [0] * 5),
        ("...", [0] * 5),
    ],
)
def test_words_become_their_numbers_and_padding_stands_behind(text, ids, prepared):
    assert make(prepared).decode(text.encode()).tolist() == ids


def test_features_are_the_stacked_numbers(prepared):
    extractor = make(prepared)
    decoded = np.stack([extractor.decode(text) for text in (b"a dog", b"two")])
    got = extractor.extract(decoded)
    assert got.tolist() == [[A, DOG, 0, 0, 0], [TWO, 0, 0, 0, 0]]
    assert (got.shape[1:], str(got.dtype), extractor.num_words) == (extractor.shape, extractor.dtype, len(WORDS))


def test_each_column_has_its_own_words(prepared):
    assert make(prepared, "message").decode(b"well a dog").tolist() == [4, UNKNOWN, UNKNOWN, 0, 0]


@pytest.mark.parametrize("column", ["questions", "labels", "answers"])
def test_a_column_without_words_is_named_with_those_that_have_some(column, prepared):
    with pytest.raises(InputError, match=rf"features.x.column: '{column}' .*expected one of texts, message$"):
        make(prepared, column)


def test_bytes_that_are_no_text_are_refused(prepared):
    with pytest.raises(MediaError, match="text is not UTF-8: invalid start byte at byte 2"):
        make(prepared).decode(b"a \xff")


def test_save_and_load_needs_no_prepared_data(prepared, tmp_path_factory):
    extractor, folder = make(prepared), tmp_path_factory.mktemp("saved")
    extractor.save(folder)
    again = Tokens.load(folder, CPU)
    assert again.identity() == extractor.identity()
    assert (again.shape, again.num_words) == (extractor.shape, extractor.num_words)
    assert again.decode(b"two dogs").tolist() == extractor.decode(b"two dogs").tolist()
    assert json.loads((folder / "extractor.json").read_text())["extractor"] == "tokens"


def test_what_decides_the_numbers_changes_the_identity(prepared):
    identities = [
        make(prepared).identity(),
        make(prepared, "message").identity(),
        make(prepared, max_words=6).identity(),
    ]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == 3
    assert make(prepared).identity() == identities[0]


def test_a_text_that_will_be_cut_is_told_from_one_that_is_not():
    extractor = Tokens([*SPECIALS, "a", "dog"], 2)
    assert extractor.longest == "2 words"
    assert [extractor.exceeds(text) for text in (b"a dog", b"a dog runs")] == [False, True]
