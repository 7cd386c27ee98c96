"""Answers are one class where a person sees the same, and several where not; what was merged is said."""

import doctest
import itertools
import unicodedata
from collections import Counter

import pytest

import stages.samples.answers
from stages.media.text import tokenize
from stages.samples.answers import merged, normalise_answer
from tests.media.test_scripts import FORMS, SENTENCES

DIFFERENT = [
    ("+1", "-1", "1", "1.5", "15"),
    ("C++", "C#", "C", "C+", "C-"),
    ("0.5", "0 5", ".5", "5"),
    ("+", "-", "?", "!", "...", "=", "*", "/", "%", "&", "@", "#"),
    ("50%", "50", "50°", "$50", "€50", "£50"),
    ("1,000", "1 000", "1000"),
    ("1/2", "1 2", "12"),
    ("3-4", "3 4", "34"),
    ("7:30", "7 30", "730"),
    ("A+", "A", "A-"),
    ("<", ">", "≤", "≠", "→", "←"),
    ("👍", "👎", "👍🏽"),
    ("दिन", "दीन", "दन"),
    ("猫", "狗", "猫狗"),
    ("是", "不是"),
    ("ก่า", "ก้า", "กา"),
    ("é", "e", "è"),
]
SAME = [
    ("yes", "Yes", "YES.", " yes ", "yes!", "'yes'", "\u201cyes\u201d", "(yes)", "y\u00ades", "- yes", "yes -"),
    ("2", "two", "Two.", "２", "2.", "02"),
    ("-1", "\u22121", "\u20131", " -1 ", "-1."),
    ("tri-colored", "tri colored", "Tri\u2010colored", "tri\ncolored"),
    ("can't", "can\u2019t", "CAN'T"),
    ("1/2", "½"),
    ("C++", "c++", "Ｃ＋＋", "c++."),
    ("café", "cafe\u0301", "Café,"),
    ("是", "是。", "「是」", " 是 "),
    ("नहीं", "नहीं।"),
    ("نعم", "«نعم»", "نعم؟"),
    ("??", "？？"),
]


def test_examples_in_docstrings_hold():
    result = doctest.testmod(stages.samples.answers)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["{}", "a {} b", "{}.", '"{}"'])
@pytest.mark.parametrize("answers", DIFFERENT, ids=lambda answers: answers[0])
def test_answers_that_differ_to_a_person_are_several_classes(answers, place, form):
    written = [answer for answer in answers if place == "{}" or any(map(str.isalnum, answer))]
    classes = [normalise_answer(unicodedata.normalize(form, place.format(answer))) for answer in written]
    assert all(classes) and len(set(classes)) == len(written), classes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answers", SAME, ids=lambda answers: answers[0])
def test_answers_that_are_the_same_to_a_person_are_one_class(answers, form):
    assert len({normalise_answer(unicodedata.normalize(form, answer)) for answer in answers}) == 1


@pytest.mark.parametrize("script", SENTENCES)
def test_a_class_in_any_script_is_a_class_again(script):
    name = normalise_answer(SENTENCES[script])
    assert name and normalise_answer(name) == name


def test_answers_of_english_words_are_the_classes_that_they_were():
    marks = ["", " ", "-", ". ", ", ", " - ", "/", "_", "! ", "'", " & ", ": ", " (", ") "]
    words = ["yes", "Dog's", "2", "tri", "\u00e9t\u00e9"]
    for first, mark, second, end in itertools.product(["a", *words], marks, words, marks):
        text = f"{first}{mark}{second}{end}"
        if not (mark.strip() and text[len(first) - 1].isdecimal()) and not (second == "2" and (mark + end).strip()):
            assert normalise_answer(text) == " ".join(tokenize(text)), text


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\u00ad\u200f", "\n"])
def test_an_answer_that_nobody_sees_is_empty(text):
    assert normalise_answer(text) == ""


def test_merged_answers_are_named_by_their_number_of_spellings():
    written = ["Yes.", "yes", "yes", "NO", "no", "+1", "1"]
    assert merged(Counter((normalise_answer(answer), answer) for answer in written)) == (
        "4 spellings became 2 classes: no is 'NO' 1, 'no' 1; yes is 'yes' 2, 'Yes.' 1"
    )
    assert merged(Counter({("one", "1"): 5, ("two", "2"): 3})) == ""
    many = Counter({(str(number), spelling): 1 for number in range(5) for spelling in ("a", "b")})
    assert merged(many).endswith("; ...")
