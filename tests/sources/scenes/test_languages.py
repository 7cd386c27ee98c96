"""The same scenes in Chinese: same pictures and statements, other words; and what the words say is true."""

import re
from collections import Counter
from dataclasses import asdict

import pytest

from stages.media.text import join, tokenize
from stages.sources.scenes import Scenes, captions, motion, questions, world
from stages.sources.scenes.chinese import PHRASES
from stages.sources.scenes.languages import LANGUAGES, English
from stages.sources.scenes.world import Stream
from tests.sources.scenes.test_scenes import scenes

ENGLISH, CHINESE = LANGUAGES["en"], LANGUAGES["zh"]
INDICES = range(400)
LOOKS = {PHRASES[phrase]: term for term, phrases in captions.PHRASES.items() for phrase, _ in phrases}
OBJECT = re.compile(
    "((?:{}))?({})({})".format(
        *(
            "|".join(sorted((zh for zh, term in LOOKS.items() if term in terms), key=len, reverse=True))
            for terms in (dict(world.SIZES), world.COLOURS, world.SHAPES)
        )
    )
)
WORDINGS = [
    *captions.TEMPLATES.values(),
    *motion.TEMPLATES.values(),
    questions.COUNT,
    questions.EXISTS,
    questions.COLOUR,
    questions.SHAPE,
    questions.RELATION,
    questions.LARGER,
    questions.SMALLER,
    questions.MORE,
    questions.DOES,
    questions.WAY,
]


def written(index: int, language: English) -> tuple[tuple[str, ...], list[dict], str]:
    scene = world.sample(7, index, 3)
    texts = captions.captions(scene, world.stream(7, index, Stream.CAPTIONS), 5, language)
    asked = questions.questions(scene, world.stream(7, index, Stream.QUESTIONS), 6, language)
    return texts, [asdict(question) for question in asked], captions.canonical(scene, language)


def test_every_template_has_a_translation_with_its_slots():
    for options in WORDINGS:
        for wording, _ in options:
            assert sorted(captions.SLOT.findall(PHRASES[wording])) == sorted(captions.SLOT.findall(wording))


def test_no_two_phrases_become_one():
    for tables in ([captions.PHRASES], [motion.PHRASES], [dict(enumerate(WORDINGS))]):
        said = [PHRASES[phrase] for table in tables for options in table.values() for phrase, _ in options]
        assert Counter(said).most_common(1)[0][1] == 1
    assert not re.search("[A-Za-z ]", captions.SLOT.sub("", "".join(PHRASES.values())))


def test_pictures_sounds_labels_and_truth_are_those_of_english(tmp_path):
    found = {}
    for name in ("en", "zh"):
        (tmp_path / name).mkdir()
        source = scenes(language=name)
        source.generate(tmp_path / name, seed=7)
        found[name] = list(source.read(tmp_path / name))
    for english, chinese in zip(found["en"], found["zh"], strict=True):
        changed = {field for field in Scenes.fields if getattr(english, field) != getattr(chinese, field)}
        assert changed == {"texts", "questions", "oracle"}
        assert [(q.kind, PHRASES[q.answer]) for q in english.questions] == [
            (q.kind, q.answer) for q in chinese.questions
        ]


@pytest.mark.parametrize("index", INDICES[::10])
def test_each_text_says_what_the_english_one_says(index):
    """Every phrase of the English text, looked up, stands in the Chinese one."""
    texts, asked, oracle = written(index, ENGLISH)
    other_texts, other_asked, other_oracle = written(index, CHINESE)
    pairs = [*zip(texts, other_texts, strict=True), (oracle, other_oracle)]
    pairs += [(one["text"], other["text"]) for one, other in zip(asked, other_asked, strict=True)]
    phrases = sorted((p for options in captions.PHRASES.values() for p, _ in options), key=len, reverse=True)
    for english, chinese in pairs:
        for phrase in re.findall(rf"\b(?:{'|'.join(phrases)})(?=e?s?\b)", english.lower().replace("less large", "")):
            assert PHRASES[phrase] in chinese, (english, chinese)


def test_every_object_that_a_chinese_caption_names_is_in_the_scene():
    for index in INDICES:
        things = world.sample(7, index, 3).things
        texts, _, oracle = written(index, CHINESE)
        for text in (*texts, oracle):
            named = [(LOOKS[colour], LOOKS[shape]) for _, colour, shape in OBJECT.findall(text)]
            assert sorted(named) == sorted((thing.colour, thing.shape) for thing in things), text
            for size, colour, shape in OBJECT.findall(text):
                sizes = {t.size for t in things if (t.colour, t.shape) == (LOOKS[colour], LOOKS[shape])}
                assert not size or sizes == {LOOKS[size]}, text


def test_chinese_captions_are_generated_as_they_were_written():
    for index in INDICES:
        for text in written(index, CHINESE)[0]:
            assert join(tokenize(text)) == re.sub("[，。、]", "", text)
