"""Every question has the answer that a naive reading of the truth gives, and gives little of it away itself."""

import re
from collections import Counter, defaultdict

import pytest

from stages.sources.base import Question
from stages.sources.scenes import captions, questions, world
from stages.sources.scenes.languages import LANGUAGES
from stages.sources.scenes.world import Stream, stream

SCENES = 2500
PER_SCENE = 6
TERMS = {phrase: term for term, phrases in captions.PHRASES.items() for phrase, _ in phrases}
RELATIONS = {phrase: term for phrase, term in TERMS.items() if term in world.INVERSE}
Asked = list[tuple[world.Scene, tuple[Question, ...]]]


def ask(index: int, count: int) -> tuple[world.Scene, tuple[Question, ...]]:
    scene = world.sample(7, index, 3)
    return scene, questions.questions(scene, stream(7, index, Stream.QUESTIONS), count, LANGUAGES["en"])


@pytest.fixture(scope="module")
def asked() -> Asked:
    return [ask(index, PER_SCENE) for index in range(SCENES)]


def words(text: str) -> str:
    return re.sub(r"[?]", "", text.lower())


def meant(scene: world.Scene, name: str) -> list[world.Thing]:
    """Return the objects that fit a name like "large red object" or "circles"."""
    found = list(scene.things)
    for word in name.split():
        term = next((TERMS[w] for w in (word, word.removesuffix("s"), word.removesuffix("es")) if w in TERMS), None)
        assert term or word in ("object", "objects"), name
        found = [t for t in found if term is None or term in (t.size, t.colour, t.shape)]
    return found


def names(text: str) -> list[str]:
    """Return the names of objects in a question, in order."""
    looks = "|".join(phrase for phrase, term in TERMS.items() if term in (*dict(world.SIZES), *world.COLOURS))
    things = "|".join([*(phrase for phrase, term in TERMS.items() if term in world.SHAPES), "object"])
    return re.findall(rf"\b(?:(?:{looks}) )*(?:{things})(?:s|es)?\b", text)


def true_answer(scene: world.Scene, question: Question) -> str:
    """Answer a question from its text and the truth alone."""
    text = words(question.text)
    found = [meant(scene, name) for name in names(text)]
    if "how many" in text or "number of" in text:
        return questions.NUMBERS[len(found[0])]
    if "more" in text:
        return yes(len(found[0]) > len(found[1]))
    if len(found) == 1 and re.match("is there|can you|does the picture", text):
        return yes(bool(found[0]))
    assert all(len(things) == 1 for things in found), f"{text}: unclear of what"
    (one, *others) = (things[0] for things in found)
    if not others:
        return one.colour if "colour" in text else one.shape
    if "than" in text:
        bigger = one.radius > others[0].radius
        return yes(bigger == bool(re.search("larger|bigger", text)))
    stated = next(term for phrase, term in RELATIONS.items() if re.search(rf"\b{phrase} the\b", text))
    dx, dy = others[0].x - one.x, others[0].y - one.y
    return yes({"left of": dx > 0.25, "right of": dx < -0.25, "above": dy > 0.25, "below": dy < -0.25}[stated])


def yes(holds: bool) -> str:
    return "yes" if holds else "no"


def test_every_answer_is_the_one_that_the_truth_gives(asked: Asked):
    for scene, some in asked:
        for question in some:
            assert question.answer == true_answer(scene, question), (question, scene.things)


def test_no_question_comes_twice_and_kinds_take_turns(asked: Asked):
    for scene, some in asked:
        assert len(some) == PER_SCENE
        assert len({question.text for question in some}) == PER_SCENE
        alone = len(scene.things) == 1
        first = [question.kind for question in some[: 4 if alone else 5]]
        assert len(set(first)) == len(first)
        assert not alone or {"relation", "compare"}.isdisjoint(question.kind for question in some)
    assert {question.kind for _, some in asked for question in some} == set(questions.KINDS)


def test_every_scene_has_as_many_questions_as_may_be_asked_for():
    for index in range(500):
        _, some = ask(index, questions.MAX_QUESTIONS)
        assert len({question.text for question in some}) == questions.MAX_QUESTIONS


def test_half_of_the_answers_are_yes_however_it_is_asked(asked: Asked):
    answers = defaultdict(Counter)
    for _, some in asked:
        for question in some:
            if question.answer in ("yes", "no"):
                text = re.sub("|".join(sorted(RELATIONS, key=len, reverse=True)), "REL", words(question.text))
                form = re.sub("|".join(map(re.escape, names(text))), "X", text)
                answers[question.kind][question.answer] += 1
                answers[question.kind, re.sub(r"\ban\b", "a", form)][question.answer] += 1
    assert len(answers) > 10
    for form, counts in answers.items():
        total, middle = counts.total(), counts.total() / 2
        assert abs(counts["yes"] - middle) < 4 * (total / 4) ** 0.5, (form, counts)


def test_what_is_denied_to_exist_is_a_near_miss(asked: Asked):
    denied = [
        (scene, names(words(question.text))[0].split())
        for scene, some in asked
        for question in some
        if question.kind == "exists" and question.answer == "no"
    ]
    both = [(scene, name) for scene, name in denied if len(name) == 2 and name[1] != "object"]
    assert len(both) > 200
    assert all(meant(scene, f"{name[0]} object") or meant(scene, name[1]) for scene, name in both)


def test_colours_and_shapes_are_answered_evenly(asked: Asked):
    for kind, terms in (("colour", world.COLOURS), ("shape", world.SHAPES)):
        counts = Counter(question.answer for _, some in asked for question in some if question.kind == kind)
        assert set(counts) == set(terms)
        assert max(counts.values()) < 1.4 * min(counts.values())
    numbers = Counter(question.answer for _, some in asked for question in some if question.kind == "count")
    assert set(numbers) == set(questions.NUMBERS)
    assert max(numbers.values()) < 0.6 * numbers.total()


def test_the_question_alone_is_a_weak_guide(asked: Asked):
    """The commonest answer to the same text in 2000 scenes, asked of 500 others."""
    seen = defaultdict(Counter)
    for _, some in asked[:2000]:
        for question in some:
            seen[question.text][question.answer] += 1
    overall = sum(seen.values(), Counter())
    right = [
        seen.get(question.text, overall).most_common(1)[0][0] == question.answer
        for _, some in asked[2000:2500]
        for question in some
    ]
    assert 0.3 < sum(right) / len(right) < 0.5


def test_pairs_are_asked_about_in_both_orders(asked: Asked):
    stated = Counter()
    for scene, some in asked:
        for question in some:
            if question.kind == "relation":
                text = words(question.text)
                one, other = (meant(scene, name)[0] for name in names(text))
                stated[scene.things.index(one) < scene.things.index(other)] += 1
    assert min(stated.values()) > 0.4 * stated.total()


def test_plurals_and_articles_are_those_of_english(asked: Asked):
    text = " ".join(words(question.text) for _, some in asked for question in some)
    assert {"boxes", "crosses", "discs", "pluses", "an"} <= set(text.split())
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(boxs|crosss|pluss|disces)\b", text)
