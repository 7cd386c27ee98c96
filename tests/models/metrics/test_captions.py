# ruff: noqa: D103 - the names of the tests are sentences
"""Caption metrics: hand-computed cases, naive oracles and golden values of the COCO caption evaluation."""

import doctest
import importlib
import json
import math
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu

from stages.models.metrics import check_corpus
from stages.models.metrics.captions.bleu import bleu, bleu_from_statistics, bleu_statistics
from stages.models.metrics.captions.cider import cider_d, cider_d_scores
from stages.models.metrics.captions.meteor import meteor_available
from stages.models.metrics.captions.rouge import lcs_length, rouge_l, rouge_l_scores
from stages.models.metrics.captions.scores import caption_metrics

REPO = Path(__file__).parents[3]

PREDICTIONS = [
    text.split()
    for text in (
        "a brown dog runs across the wet sand",
        "two children play with a red ball in the garden",
        "a man is riding a bike",
        "a a a woman in a blue coat waits",
        "the cat sleeps on the sofa near the window",
    )
]
REFERENCES = [
    [text.split() for text in texts]
    for texts in (
        (
            "a brown dog is running on wet sand",
            "the dog runs across the beach",
            "a dog runs along the wet sand by the sea",
        ),
        ("two children are playing in the garden", "kids play with a red ball"),
        (
            "a cyclist rides down a steep hill in the rain",
            "a man is riding a mountain bike downhill",
            "the man on the bike wears a helmet",
        ),
        ("a woman in a blue coat waits for the bus",),
        ("a grey cat sleeps on a sofa", "the cat is asleep on the sofa near the window"),
    )
]
# Of the corpus above, computed once by pycocoevalcap 1.2 (Bleu(4), Rouge, Cider).
COCO_BLEU = [0.9299730348626141, 0.8862150738150817, 0.7954308165016432, 0.6836299697157593]
COCO_ROUGE_L = [
    0.6984732824427481,
    0.6545064377682404,
    0.8356164383561644,
    0.7299145299145299,
    0.8341880341880341,
]
COCO_CIDER_D = [3.39882265914411, 3.3880659569485245, 2.4795555366786286, 6.74980442299114, 4.409901209969285]


def words(text):
    """Split at spaces."""
    return text.split()


def random_corpus(num_samples=40, seed=0):
    """Sentences over four words, so that n-grams of every order match somewhere and repeat."""
    rng = random.Random(seed)

    def text():
        return rng.choices("abcd", k=rng.randint(1, 12))

    return [text() for _ in range(num_samples)], [
        [text() for _ in range(rng.randint(1, 5))] for _ in range(num_samples)
    ]


@pytest.mark.parametrize(
    "name", ["", ".captions.bleu", ".captions.rouge", ".captions.cider", ".captions.meteor", ".captions.scores"]
)
def test_docstring_examples_hold(name):
    results = doctest.testmod(importlib.import_module(f"stages.models.metrics{name}"))
    assert results.attempted > 0
    assert results.failed == 0


# The corpus


@pytest.mark.parametrize("metric", [check_corpus, bleu, bleu_statistics, rouge_l, cider_d, caption_metrics])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "no predictions"),
        ([["a"]], [[["a"]], [["b"]]], "1 predictions but 2 lists of references"),
        ([["a"], ["b"]], [[["a"]], []], "sample 1 has no reference"),
        (["a dog"], [[["a"]]], "plain string 'a dog'"),
        ([["a"]], [["a dog"]], "plain string 'a dog'"),
        ([["a"]], ["a dog"], "plain string 'a dog'"),
    ],
)
def test_a_corpus_that_cannot_be_scored_is_refused(metric, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        metric(predictions, references)


# BLEU


def test_bleu_equals_the_coco_evaluation():
    assert bleu(PREDICTIONS, REFERENCES) == pytest.approx(COCO_BLEU, abs=1e-8)


def test_bleu_clips_repeated_words():
    """The example of Papineni et al. 2002: 2 of 7 words."""
    scores = bleu([["the"] * 7], [[words("the cat is on the mat"), words("there is a cat on the mat")]])
    assert scores == [pytest.approx(2 / 7), 0.0, 0.0, 0.0]


def test_bleu_penalty_takes_the_closest_reference_and_the_shorter_of_two():
    prediction = words("a cat sat")
    references = [[words("a cat sat on the mat today")], [words("a cat sat down"), words("a cat")]]
    # Closest lengths 7 and 2 (4 is as far from 3 as 2): 9 against 6 tokens.
    assert bleu([prediction] * 2, references)[0] == pytest.approx(math.exp(1 - 9 / 6))


def test_bleu_without_a_match_is_zero_and_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bleu([["a", "dog"], []], [[["two", "cats"]], [["x"]]]) == [0.0] * 4
        assert bleu([["a", "dog"]], [[["dog", "a"]]]) == [1.0, 0.0, 0.0, 0.0]
        assert bleu([[]], [[["x"]]]) == [0.0] * 4


def test_bleu_smoothing_is_nltks():
    method = SmoothingFunction().method1
    prediction, reference = words("a dog runs"), words("a dog sits")
    expected = corpus_bleu([[reference]], [prediction], smoothing_function=method)
    assert bleu([prediction], [[reference]], method)[3] == pytest.approx(expected, abs=1e-12)
    assert expected > 0


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_summed_statistics_give_nltks_bleu_of_any_resample(order):
    predictions, references = random_corpus()
    statistics = bleu_statistics(predictions, references)
    drawn = np.random.default_rng(order).integers(len(predictions), size=(20, len(predictions)))
    counts = np.stack([np.bincount(row, minlength=len(predictions)) for row in drawn])
    scores = bleu_from_statistics(counts @ statistics, order)
    for row, score in zip(drawn, scores, strict=True):
        resample = [references[i] for i in row], [predictions[i] for i in row]
        assert score == pytest.approx(corpus_bleu(*resample, weights=(1 / order,) * order), abs=1e-12)
    assert scores.min() > 0


def test_statistics_keep_leading_axes_and_score_zero_without_a_match():
    statistics = bleu_statistics([["a", "dog"], [], ["cat"]], [[["a", "dog"]], [["x"]], [["dog"]]])
    scores = bleu_from_statistics(statistics.reshape(3, 1, 10), order=2)
    assert scores.tolist() == [[1.0], [0.0], [0.0]]
    assert bleu_from_statistics(np.zeros(10)) == 0.0


@pytest.mark.parametrize(("width", "order", "message"), [(10, 5, "order 5"), (10, 0, "order 0"), (9, 4, "must be 10")])
def test_wrong_statistics_are_refused(width, order, message):
    with pytest.raises(ValueError, match=message):
        bleu_from_statistics(np.ones((2, width)), order)


# ROUGE-L


def test_rouge_l_equals_the_coco_evaluation():
    assert rouge_l_scores(PREDICTIONS, REFERENCES) == pytest.approx(COCO_ROUGE_L, abs=1e-12)
    assert rouge_l(PREDICTIONS, REFERENCES) == pytest.approx(np.mean(COCO_ROUGE_L), abs=1e-12)


def test_rouge_l_takes_precision_and_recall_from_different_references():
    references = [words("x a b c y z w v"), words("a b")]
    # Precision 3/4 from the first, recall 2/2 from the second.
    expected = (1 + 1.44) * 0.75 / (1 + 1.44 * 0.75)
    assert rouge_l([words("a b c d")], [references]) == pytest.approx(expected)


def test_rouge_l_of_empty_texts_is_zero():
    assert rouge_l_scores([[], ["a"], ["a"]], [[["a"]], [[]], [[], ["a"]]]).tolist() == [0.0, 0.0, 1.0]


def naive_lcs_length(first, second):
    """Fill the textbook table."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_lcs_length_equals_the_table():
    rng = random.Random(0)
    for _ in range(300):
        first, second = ("".join(rng.choices("abcd", k=rng.randint(0, 90))) for _ in range(2))
        assert lcs_length(list(first), list(second)) == naive_lcs_length(first, second)


# CIDEr-D


def test_cider_d_equals_the_coco_evaluation():
    assert cider_d_scores(PREDICTIONS, REFERENCES) == pytest.approx(COCO_CIDER_D, abs=1e-12)
    assert cider_d(PREDICTIONS, REFERENCES) == pytest.approx(np.mean(COCO_CIDER_D), abs=1e-12)


def test_cider_d_by_hand_with_one_word_too_many():
    """All weights are log 2, so the cosines are those of counts; one token too long costs exp(-1 / 72)."""
    predictions = [words("a b c d e"), words("v w x y")]
    references = [[words("a b c d")], [words("v w x y")]]
    cosines = [4 / math.sqrt(5 * 4), 3 / math.sqrt(4 * 3), 2 / math.sqrt(3 * 2), 1 / math.sqrt(2 * 1)]
    expected = 10 * np.mean(cosines) * math.exp(-1 / 72)
    assert cider_d_scores(predictions, references).tolist() == pytest.approx([expected, 10.0])


def test_cider_d_clips_repeated_words():
    """Of "a a a a" one "a" counts: 1 * 1 over norms 4 and 2, in the first of four orders."""
    scores = cider_d_scores([words("a a a a"), ["z"]], [[words("a b c d")], [["z"]]])
    assert scores[0] == pytest.approx(10 * (1 / 8) / 4)


def test_cider_d_weighs_a_word_of_every_sample_with_nothing():
    scores = cider_d_scores([["a"], ["b"]], [[["a", "c"]], [["a"], ["b"]]])
    assert scores[0] == 0.0
    assert scores[1] > 0.0


def test_cider_d_of_one_sample_and_of_empty_texts_is_zero():
    assert cider_d([["a", "dog"]], [[["a", "dog"]]]) == 0.0
    assert cider_d_scores([[], ["b"]], [[["a"]], [[]]]).tolist() == [0.0, 0.0]


# METEOR


def run_meteor(data_folder, *corpora):
    """Score corpora of one sample in a fresh interpreter that sees only this NLTK data folder."""
    code = (
        "import json, sys, nltk; nltk.data.path[:] = [sys.argv[1]]\n"
        "from stages.models.metrics.captions.scores import caption_metrics\n"
        "from stages.models.metrics.captions.meteor import meteor\n"
        "corpora = json.loads(sys.argv[2])\n"
        "print(json.dumps([[meteor(*c), caption_metrics(*c).get('meteor')] for c in corpora]))"
    )
    samples = [([words(prediction)], [[words(text) for text in texts]]) for prediction, *texts in corpora]
    command = [sys.executable, "-c", code, str(data_folder), json.dumps(samples)]
    return json.loads(subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout)


def write_wordnet_of_one_synset(root):
    """Write NLTK's WordNet files with one synset: dog, hound."""
    folder = root / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for part in ("adj", "adv", "noun", "verb"):
        for name in (f"index.{part}", f"data.{part}", f"{part}.exc"):
            (folder / name).write_text("")
    (folder / "cntlist.rev").write_text("")
    (folder / "index.sense").write_text("")
    (folder / "lexnames").write_text("00 noun.any 1\n01 noun.animal 1\n")
    (folder / "index.noun").write_text("dog n 1 0 1 0 00000000  \nhound n 1 0 1 0 00000000  \n")
    (folder / "data.noun").write_text("00000000 01 n 02 dog 0 hound 0 000 | an animal  \n")


def test_meteor_is_absent_without_wordnet(tmp_path):
    assert run_meteor(tmp_path, ("a dog runs", "a dog runs")) == [[None, None]]


def test_meteor_takes_the_best_reference_and_matches_exact_words_stems_and_synonyms(tmp_path):
    write_wordnet_of_one_synset(tmp_path)
    whole, partial = run_meteor(
        tmp_path,
        ("a hound runs fast", "no match", "a dog running fast"),
        ("a cat runs fast", "a dog runs fast"),
    )
    # Four words in one chunk: the fragmentation costs 0.5 * (1 / 4) ** 3.
    assert whole == [pytest.approx(1 - 0.5 / 64)] * 2
    # Words 1, 3 and 4 in two chunks, precision and recall 3/4.
    assert partial == [pytest.approx(0.75 * (1 - 0.5 * (2 / 3) ** 3))] * 2


# All together


def test_caption_metrics_names_every_metric_with_its_value():
    scores = caption_metrics([*PREDICTIONS, PREDICTIONS[0]], [*REFERENCES, REFERENCES[0]])
    names = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"]
    names += ["meteor"] if meteor_available() else []
    assert list(scores) == [*names, "distinct_captions", "mean_length"]
    assert scores["distinct_captions"] == pytest.approx(5 / 6)
    assert scores["mean_length"] == pytest.approx((8 + 10 + 6 + 9 + 9 + 8) / 6)
    assert all(type(score) is float for score in scores.values())


def test_caption_metrics_equals_the_single_metrics():
    predictions, references = random_corpus(seed=1)
    scores = caption_metrics(predictions, references)
    assert [scores[f"bleu_{order}"] for order in (1, 2, 3, 4)] == bleu(predictions, references)
    assert scores["rouge_l"] == rouge_l(predictions, references)
    assert scores["cider_d"] == cider_d(predictions, references)
