"""What captions say, read by a lexicon of another source than scenes, and how much of it is true: by hand."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from stages.base.lexicon import Lexicon
from stages.models.metrics.fitting import misfits
from stages.models.metrics.statements import Reader
from stages.models.metrics.truth import Judge, Judgement, judge_all, truth_metrics

LEXICON = Lexicon(
    noun="kind",
    naming=["kind", "colour"],
    looks={
        "kind": {"dog": ["dog", "hound"], "cat": ["cat"]},
        "colour": {"black": ["black", "coal black"], "white": ["white"]},
        "size": {"big": ["big"]},
    },
    beside={"place": {"left": ["on the left"], "right": ["on the right"]}},
    scene={"weather": {"rain": ["in the rain"], "sun": ["in the sun"]}},
    relations={"chases": ["chases", "runs after"], "flees": ["flees from"], "near": ["near"]},
    inverse={"chases": "flees", "flees": "chases", "near": "near"},
    patterns=["{one} {relation} {other}", "and {relation} {other}", "{one} is {place}", "{place} stands {one}"],
    articles=["a", "the"],
    glue=["and", "is", "stands"],
)
BLACK_DOG = {"kind": "dog", "colour": "black", "size": "big", "place": "left"}
WHITE_CAT = {"kind": "cat", "colour": "white", "place": "right"}
WHITE_DOG = {"kind": "dog", "colour": "white", "place": "right"}
TRUTH = {
    "objects": [BLACK_DOG, WHITE_CAT, WHITE_DOG],
    "relations": [[0, "chases", 1], [2, "near", 1]],
    "weather": "sun",
}


def judged(caption: str, of: dict = TRUTH) -> Judgement:
    words = caption.split()
    return Judge(LEXICON, of).judge(Reader(LEXICON).read(words), len(words))


def said(caption: str, of: dict = TRUTH) -> list[tuple[str, str, bool | None]]:
    words = caption.split()
    return [(v.kind, " ".join(words[slice(*v.words)]), v.holds) for v in judged(caption, of).statements]


@pytest.mark.parametrize(
    ("caption", "statements"),
    [
        ("a big coal black hound", [("object", "a big coal black hound", True)]),
        ("a big white dog", [("object", "a big white dog", False)]),
        ("dog", [("object", "dog", True)]),
        ("the dog black", [("object", "the dog black", True)]),
        ("a black white dog", [("object", "a black white dog", False)]),
        ("a black dog cat", [("object", "a black dog", True), ("object", "cat", True)]),
        ("in the rain a cat", [("object", "a cat", True), ("weather", "in the rain", False)]),
        ("a black dog is on the left", [("object", "a black dog", True), ("place", "on the left", True)]),
        ("on the right stands a black dog", [("object", "a black dog", True), ("place", "on the right", False)]),
    ],
)
def test_objects_places_and_the_whole_are_judged(caption, statements):
    assert said(caption) == statements


@pytest.mark.parametrize(
    ("caption", "holds"),
    [
        ("a black dog runs after a cat", [True]),
        ("a cat flees from a black dog", [True]),
        ("a black dog flees from a cat", [False]),
        ("a cat near a white dog", [True]),
        ("a white dog chases a cat and near a black dog", [False, None]),  # of these two the truth says nothing
        ("a black dog chases a cat and flees from a white dog", [True, None]),
        ("a dog chases a cat", [None]),  # which of the two dogs
        ("a black cat chases a white dog", [None]),  # there is none: the object is wrong, once
    ],
)
def test_a_relation_is_checked_where_its_objects_are_known_and_the_truth_has_one(caption, holds):
    assert [verdict for kind, _, verdict in said(caption) if kind == "relation"] == holds


def test_a_place_is_not_checked_where_several_objects_fit_or_the_truth_names_none():
    assert said("a dog is on the left")[1] == ("place", "on the left", None)
    without = {"objects": [{"kind": "cat", "colour": "white"}]}
    assert said("a cat is on the left in the sun", without)[1:] == [
        ("place", "on the left", None),
        ("weather", "in the sun", None),
    ]


def test_two_mentions_are_two_objects_and_the_second_of_equals_is_wrong():
    assert [holds for _, _, holds in said("a cat and a cat")] == [True, False]
    assert [holds for _, _, holds in said("a dog and a dog and a dog")] == [True, True, False]
    assert [holds for _, _, holds in said("a dog and a black dog and a cat")] == [
        True,
        True,
        True,
    ]  # the white one first
    assert judged("a cat and a cat").named == 0  # by kind alone an object is not named
    assert judged("a white cat and a white cat").named == 1


def test_a_wrong_object_has_the_looks_of_the_one_that_is_most_like_it():
    found = judged("a big white cat and a black dog")
    assert found.looks == Counter({("kind", True): 2, ("colour", True): 2, ("size", False): 1})
    assert found.named == 2 and found.num_true == 1


def test_words_that_say_nothing_are_counted():
    for caption, unread in {
        "a black dog": 0,
        "a big purple dog": 2,
        "near a cat": 1,
        "on the left": 3,
        "moo moo": 2,
    }.items():
        assert judged(caption).unread == unread, caption


def test_a_relation_that_goes_on_needs_one_before_it():
    assert [kind for kind, _, _ in said("and chases a cat")] == ["object"]


def test_metrics_are_shares_of_what_can_be_checked():
    captions = ["a black dog chases a white cat in the rain", "a big black cat chases a dog", "moo"]
    scores = truth_metrics(LEXICON, judge_all(LEXICON, [caption.split() for caption in captions], [TRUTH] * 3))
    assert scores["statements_by_kind"] == {
        "colour": 3,
        "kind": 4,
        "object": 4,
        "place": 0,
        "relation": 1,
        "size": 1,
        "weather": 1,
    }
    assert scores["statements_true"] == pytest.approx(4 / 6)  # objects 3 of 4, the relation, not the weather
    assert scores["statements_true_by_kind"] == pytest.approx(
        {"colour": 1.0, "kind": 3 / 4, "object": 3 / 4, "place": 0.0, "relation": 1.0, "size": 1.0, "weather": 0.0}
    )
    assert scores["captions_true"] == 0.0 and scores["objects_named"] == pytest.approx(2 / 9)
    assert scores["relations_checkable"] == 0.5 and scores["words_unread"] == pytest.approx(1 / 18)


def test_captions_that_say_nothing_are_not_true():
    scores = truth_metrics(LEXICON, judge_all(LEXICON, [["moo"], []], [TRUTH, {}]))
    assert scores["captions_true"] == scores["statements_true"] == scores["objects_named"] == 0.0
    assert set(scores["statements_true_by_kind"].values()) == {0.0} and scores["relations_checkable"] == 0.0


def test_a_phrase_that_says_two_things_is_refused():
    twice = dataclasses.replace(LEXICON, scene={"weather": {"rain": ["black"]}})
    with pytest.raises(ValueError, match="lexicon: the phrase 'black' is of both colour black and weather rain"):
        Reader(twice)


def test_captions_fit_what_they_say_nothing_false_of_best_where_they_leave_nothing_out():
    truths = [TRUTH, {"objects": [BLACK_DOG]}, {"objects": [WHITE_CAT]}, {"objects": []}]
    captions = ["a black dog", "a dog", "a black dog chases a white cat and a white dog", "moo"]
    found = misfits(LEXICON, [caption.split() for caption in captions], truths)
    inf, (twice, once, always) = np.inf, (share / 5 for share in (2, 1, 4))
    assert found == pytest.approx(
        np.array(
            [
                [2 + twice, 2 + twice, once, 3 + always],
                [twice, twice, inf, 1 + always],
                [inf, inf, inf, 1 + always],
                [inf, inf, inf, always],
            ]
        )
    )
