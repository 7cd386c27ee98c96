"""The lexicon reads what the grammar can write, in each language; and what is true of one scene is not of another."""

from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest

from stages.base.lexicon import Lexicon
from stages.media.text import tokenize
from stages.models.metrics.statements import Reader
from stages.models.metrics.truth import Judge, Judgement
from stages.sources.scenes import captions, world
from stages.sources.scenes.languages import LANGUAGES
from stages.sources.scenes.lexicon import lexicon
from stages.sources.scenes.world import Options

NUM_SCENES = 300
SCENES = [world.sample(7, i, 3) for i in range(NUM_SCENES)]
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES.values(), ids=list(LANGUAGES))


class Judged:
    def __init__(self, found: Lexicon) -> None:
        self.reader = Reader(found)
        self.judges = [Judge(found, world.truth(scene)) for scene in SCENES]

    def __call__(self, text: str, scene: int) -> Judgement:
        words = tokenize(text)
        return self.judges[scene].judge(self.reader.read(words), len(words))


def all_true(judgement: Judgement, num_things: int) -> bool:
    checked = judgement.num_true == judgement.num_checked == len(judgement.statements) > 0
    return checked and judgement.named == num_things and not judgement.unread


@EVERY_LANGUAGE
def test_captions_are_true_of_their_scene_and_not_of_the_next(language):
    judged = Judged(lexicon(language))
    kinds: Counter[str] = Counter()
    for i, scene in enumerate(SCENES):
        drawn = captions.captions(scene, world.stream(7, i, world.Stream.CAPTIONS), 5, language)
        for text in (*drawn, captions.canonical(scene, language)):
            found = judged(text, i)
            assert all_true(found, len(scene.things)), text
            assert judged(text, (i + 1) % NUM_SCENES).has_false, text
            kinds.update(verdict.kind for verdict in found.statements)
    assert set(kinds) == {"object", "place", "relation", "background"} and min(kinds.values()) > 100


def every_choice(write: object) -> Iterator[str]:
    """Yield what a grammar writes for each option of each choice, the others the likeliest."""
    asked: list[Options] = []

    def likeliest(options: Options) -> str:
        asked.append(options)
        return captions.most_likely(options)

    yield write(likeliest)
    for at, options in enumerate(list(asked)):
        for option, _ in options:
            numbers = iter(range(1000))
            yield write(lambda found, n=numbers, at=at, o=option: o if next(n) == at else captions.most_likely(found))


@EVERY_LANGUAGE
def test_every_phrase_of_every_template_is_read(language):
    """Each template of a scene, and with it each synonym in turn."""
    judged = Judged(lexicon(language))
    said = set()
    for i, scene in enumerate(SCENES[:100]):
        for template, _ in captions.TEMPLATES[len(scene.things)]:

            def write(choose, scene=scene, template=template):
                return captions.write(
                    scene,
                    lambda options: template if "{" in options[0][0] and "{0}" in options[0][0] else choose(options),
                    language,
                )

            for text in every_choice(write):
                assert all_true(judged(text, i), len(scene.things)), text
                said.add(text)
    words = " ".join(" ".join(tokenize(text)) for text in said)
    phrases = [p for options in captions.PHRASES.values() for p, _ in options]
    assert [p for p in phrases if " ".join(tokenize(language.phrase(p))) not in words] == []


def test_the_patterns_are_those_of_the_templates():
    english, chinese = (set(lexicon(LANGUAGES[name]).patterns) for name in ("en", "zh"))
    assert english == {
        "{one} {relation} {other}",
        "{one} is {relation} {other}",
        "and {relation} {other}",
        "{one} {place}",
        "{place} is {one}",
    }
    assert {"{one} 在 {other} 的 {relation}", "，也在 {other} 的 {relation}", "{place} 有 {one}"} <= chinese


@EVERY_LANGUAGE
def test_a_lexicon_survives_json(language):
    found = lexicon(language)
    assert Lexicon.of_json(found.as_json()) == found


def test_one_wrong_word_is_one_false_statement():
    swaps = {"left of": "right of", "above": "below", "dark": "light", "light": "dark", "top": "bottom"}
    swaps |= {"red": "green", "small": "large", "circle": "ring"}
    judged, found = Judged(lexicon(LANGUAGES["en"])), Counter()
    for (i, scene), (right, wrong) in product(enumerate(SCENES), swaps.items()):
        text = captions.write(scene, on_its_background, LANGUAGES["en"])
        if f" {right} " in text:
            changed = text.replace(f" {right} ", f" {wrong} ", 1)
            false = [verdict.kind for verdict in judged(changed, i).statements if verdict.holds is False]
            assert len(false) == 1, changed
            found[right, *false] += 1
    objects = {(word, "object") for word in ("red", "small", "circle")}
    relations = {("left of", "relation"), ("above", "relation")}
    corner = ("left of", "place")  # at the top left of a dark background
    assert {*objects, *relations, corner, ("top", "place"), ("dark", "background"), ("light", "background")} == set(
        found
    )


def on_its_background(options: Options) -> str:
    plain = [option for option, _ in options if "{background}" in option or option == "plain"]
    return plain[0] if plain else captions.most_likely(options)
