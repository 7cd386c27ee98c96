"""What becomes of one raw sample: a clean row, or a reason why it is put aside; words are counted in training alone."""

import unicodedata
from collections import Counter

import pytest

from stages.params import PrepareParams
from stages.samples.checks import Outcome, check_sample, prepare_rows
from stages.samples.schema import SAMPLES
from stages.sources.base import Fault, Question, RawSample
from tests.media.test_scripts import FORMS, SENTENCES
from tests.support.small_data import encode, make_image, sound
from tests.support.videos import TITLE, shades, video

JPEG = encode(make_image())
WAV = sound()
LIMITS = PrepareParams(
    max_bad_fraction=0.05,
    max_image_megapixels=0.001,
    transparent_on="white",
    max_audio_seconds=0.1,
    max_video_seconds=0.5,
    min_word_count=1,
    shard_mb=512,
)
REQUIRED = ("image", "texts")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": b"damaged"}, "image does not decode: none of JPEG, PNG"),
        ({"image": JPEG[:-300]}, "image does not decode: "),
        ({"image": None}, "no image"),
        ({"fault": "named on a list", "image": b"damaged"}, "named on a list"),
        ({"image": encode(make_image(size=(40, 30)))}, "image of 40 x 30 pixels; at most 1000 allowed"),
        ({"texts": ()}, "no caption"),
        ({"texts": ("...", " ")}, "no caption with a word in it"),
        ({"sample_id": "seen"}, "sample id again"),
        ({"split": "dev"}, "split 'dev'; expected one of train, val, test"),
        ({"audio": b"damaged"}, "audio does not decode: "),
        ({"video": b"damaged"}, "video does not open; expected MP4"),
        ({"video": JPEG}, "is an image (JPEG), not a video"),
        ({"video": video()}, "video longer than 0.5 s, which is the most allowed"),
        ({"audio": sound(0.2)}, "audio longer than 0.1 s, which is the most allowed"),
    ],
)
def test_a_bad_sample_is_refused_with_the_reason(changes, reason):
    good = {"sample_id": "a", "split": "train", "image": JPEG, "texts": ("A dog .",)}
    check_sample(RawSample(**good), {"seen"}, REQUIRED, LIMITS)
    with pytest.raises(ValueError) as caught:
        check_sample(RawSample(**good | changes), {"seen"}, REQUIRED, LIMITS)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        ("audio", "no sound"),
        ("questions", "no question"),
        ("label", "no label"),
        ("message", "no message"),
    ],
)
def test_a_sample_without_what_its_source_promises_is_refused(required, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        check_sample(RawSample("a", "train", JPEG, texts=("A dog .",)), set(), (required,), LIMITS)


def test_a_required_text_without_a_word_is_told_from_a_missing_one():
    raw = RawSample("a", "train", JPEG, message="...", questions=(Question("?", "yes"),))
    with pytest.raises(ValueError, match="^no message with a word in it$"):
        check_sample(raw, set(), ("message",), LIMITS)
    with pytest.raises(ValueError, match="^no question with a word in it$"):
        check_sample(raw, set(), ("questions",), LIMITS)


def test_a_sample_with_nothing_to_look_at_is_refused():
    with pytest.raises(ValueError, match="^nothing in it: no image, sound, video, text, question or field$"):
        check_sample(RawSample("a", "train", label="cat", texts=("...",)), set(), (), LIMITS)
    for changes in ({"image": JPEG}, {"audio": WAV}, {"message": "a"}, {"questions": (Question("a ?", "b"),)}):
        check_sample(RawSample("a", "train", **changes), set(), (), LIMITS)


def test_a_good_sample_becomes_a_row():
    raw = RawSample(
        "a",
        "train",
        JPEG,
        WAV,
        texts=("  A dog\truns . ", "..."),
        message=" Look\nat the  Dog!",
        transcript="Bin  BLUE, now",
        word_times=((0.5, 1.0), (1.0, 1.25), (1.5, 2.0)),
        questions=(Question("Is it  red ?", "Yes!", "colour"), Question("?", "no"), Question("How many ?", "1")),
        fields={"Weight": "12", "Breed": None},
        label="dog",
        tags=("dog", " brown", "dog", ""),
        numbers={"weight": 7.5, "age": 2, "height": None},
        group="anna",
        oracle="A red Dog .",
        truth={"b": 1, "a": [2]},
    )
    row = check_sample(raw, set(), REQUIRED, LIMITS)
    assert row == {
        "sample_id": "a",
        "image": JPEG,
        "audio": WAV,
        "audio_rate_hz": 8000,
        "video": None,
        "texts": ["A dog runs ."],
        "tokens": ["a dog runs"],
        "message": "Look at the Dog!",
        "transcript": "Bin BLUE, now",
        "transcript_tokens": "bin blue now",
        "word_times": [[0.5, 1.0], [1.0, 1.25], [1.5, 2.0]],
        "questions": ["Is it red ?", "How many ?"],
        "answers": ["yes", "one"],
        "question_kinds": ["colour", ""],
        "fields": ["12", None],
        "rating_users": [],
        "rating_values": [],
        "rating_times": [],
        "rating_splits": [],
        "label": "dog",
        "tags": ["brown", "dog"],
        "numbers": [("age", 2.0), ("weight", 7.5)],
        "group": "anna",
        "oracle": "a red dog",
        "truth": '{"a": [2], "b": 1}',
    }
    assert list(row) == SAMPLES.names


def test_what_a_sample_lacks_is_empty_in_its_row():
    row = check_sample(RawSample("a", "train", audio=WAV), set(), (), LIMITS)
    assert {name: value for name, value in row.items() if value} == {
        "sample_id": "a",
        "audio": WAV,
        "audio_rate_hz": 8000,
    }
    assert [name for name, value in row.items() if value == []] == [
        "texts",
        "tokens",
        "word_times",
        "questions",
        "answers",
        "question_kinds",
        *("rating_users", "rating_values", "rating_times", "rating_splits"),
        "numbers",
    ]


def test_every_item_of_a_source_is_counted_once():
    outcome = Outcome()
    source = [
        Fault("list: row 3", "listed again"),
        RawSample("a", "train", JPEG, texts=("A dog .", "...")),
        RawSample("a", "train", JPEG, texts=("Another dog .",)),
        RawSample("b", None, b"damaged"),
        RawSample("c", "test", b"damaged", texts=("A cat .",)),
        RawSample("d", "val", JPEG, texts=("A cat .",)),
    ]
    found = [(split, row["sample_id"]) for split, row in prepare_rows(iter(source), REQUIRED, LIMITS, outcome)]
    assert found == [("train", "a"), ("val", "d")]
    assert (outcome.good_samples, outcome.bad_samples, outcome.not_on_a_split) == (2, 2, 1)
    assert outcome.words["texts"] == Counter({"a": 1, "dog": 1})
    assert [row["where"] for row in outcome.quarantine] == ["list: row 3", "a", "a", "c"]
    assert [row["reason"] for row in outcome.quarantine[:3]] == [
        "listed again",
        "1 captions without a word",
        "sample id again",
    ]


def test_a_sample_that_was_bad_does_not_hold_its_id():
    outcome = Outcome()
    source = [RawSample("a", "train", image, texts=("A dog .",)) for image in (b"damaged", JPEG)]
    assert [row["sample_id"] for _, row in prepare_rows(iter(source), REQUIRED, LIMITS, outcome)] == ["a"]


def test_each_column_of_words_is_counted_on_its_own_in_training_alone():
    outcome = Outcome()
    asked = (Question("What is it ?", "A dog"), Question("Who ?", "..."))
    source = [
        RawSample("a", "train", JPEG, message="one sound", questions=asked, label="Pet", transcript="Oh no"),
        RawSample(
            "b", "val", JPEG, message="two sounds", transcript="ah", questions=(Question("Why ?", "So"),), label="Wild"
        ),
    ]
    assert len(list(prepare_rows(iter(source), (), LIMITS, outcome))) == 2
    assert {column: dict(counts) for column, counts in outcome.words.items()} == {
        "texts": {},
        "message": {"one": 1, "sound": 1},
        "questions": {"what": 1, "is": 1, "it": 1, "who": 1},
        "answers": {"a dog": 1, "...": 1},
        "labels": {"Pet": 1},
        "tags": {},
        "numbers": {},
        "transcript": {"oh": 1, "no": 1},
        "transcript_characters": {"o": 2, "h": 1, " ": 1, "n": 1},
    }


@pytest.mark.parametrize(("transcript", "count"), [("one two", 3), (None, 1), ("...", 1)])
def test_times_that_are_not_one_a_word_make_a_bad_sample(transcript, count):
    raw = RawSample("a", "train", JPEG, transcript=transcript, word_times=((0.0, 1.0),) * count)
    with pytest.raises(ValueError, match=f"times of {count} words beside the transcript"):
        check_sample(raw, set(), (), LIMITS)


def test_texts_without_a_word_are_noted_and_emoji_are_words():
    outcome = Outcome()
    asked = (Question("?", "yes"), Question("Who ?", "\u00ad"), Question("\U0001f600", "no"))
    raw = RawSample("a", "train", JPEG, texts=("...", "\U0001f600"), message=":-)", questions=asked)
    ((_, row),) = prepare_rows(iter([raw]), (), LIMITS, outcome)
    assert (row["texts"], row["message"]) == (["\U0001f600"], None)
    assert row["questions"] == ["Who ?", "\U0001f600"] and row["answers"] == ["", "no"]
    assert [(found["where"], found["reason"]) for found in outcome.quarantine] == [
        ("a", "1 captions without a word"),
        ("a", "1 questions without a word"),
        ("a", "1 messages without a word"),
        ("a", "1 answers without a word"),
    ]
    assert outcome.words["texts"] == {"\U0001f600": 1} and outcome.words["answers"] == {"no": 1}


def test_answers_are_counted_as_they_were_written():
    outcome = Outcome()
    asked = [Question("Who ?", answer) for answer in ("Yes.", "yes", "+1", "+1")]
    source = [
        RawSample("a", "train", JPEG, questions=tuple(asked)),
        RawSample("b", "test", JPEG, questions=(asked[1],)),
    ]
    assert len(list(prepare_rows(iter(source), (), LIMITS, outcome))) == 2
    assert outcome.answers == {("yes", "Yes."): 1, ("yes", "yes"): 2, ("+1", "+1"): 2}


def test_a_class_of_a_folder_has_one_name_on_every_system():
    rows = [
        check_sample(RawSample("a", "train", JPEG, label=label, group=label), set(), (), LIMITS)
        for label in ("caf\u00e9 noir", "cafe\u0301  noir")
    ]
    assert {(row["label"], row["group"]) for row in rows} == {("caf\u00e9 noir", "caf\u00e9 noir")}
    assert check_sample(RawSample("a", "train", JPEG, label=" "), set(), (), LIMITS)["label"] is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", SENTENCES)
def test_a_text_of_any_script_is_kept_in_every_place_and_form(script, form):
    def row(text: str) -> dict:
        asked = (Question(text, text),)
        raw = RawSample("a", "train", JPEG, texts=(text,), message=text, questions=asked, label=text, oracle=text)
        outcome = Outcome()
        ((_, row),) = prepare_rows(iter([raw]), ("texts", "message", "questions", "label"), LIMITS, outcome)
        assert not outcome.quarantine
        assert set(outcome.words["texts"]) == set(outcome.words["message"]) == set(outcome.words["questions"])
        assert outcome.words["answers"] == Counter(row["answers"]) and outcome.words["labels"] == {row["label"]: 1}
        return row

    text = SENTENCES[script]
    found, usual = row(unicodedata.normalize(form, text)), row(text)
    assert all(found[column] == usual[column] for column in ("tokens", "answers", "oracle"))
    assert usual["texts"] == [usual["message"]] == usual["questions"] == [text]
    if not form.startswith("NFK"):
        assert found["label"] == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(("own", "sounds", "heard"), [(None, True, True), (None, False, False), (WAV, True, False)])
def test_a_videos_sound_is_the_samples_where_the_source_has_sounds_and_no_other_is_there(own, sounds, heard):
    limits = LIMITS.model_copy(update={"max_audio_seconds": 1.0, "max_video_seconds": 1.0})
    raw = RawSample("a", "train", audio=own, video=video(shades(4), sound_s=0.4, title=TITLE))
    outcome = Outcome()
    ((_, row),) = prepare_rows(iter([raw]), ("video",), limits, outcome, sounds)
    assert row["video"][4:8] == b"ftyp" and TITLE.encode() not in row["video"]
    assert (row["audio"] or b"")[:4] == (b"fLaC" if heard else own[:4] if own else b"")
    assert row["audio_rate_hz"] == (8000 if row["audio"] else None)
    assert dict(outcome.altered) == ({"sounds_of_videos": 1} if heard else {})


def test_a_videos_sound_has_the_bounds_of_sounds():
    raw = RawSample("a", "train", video=video(shades(4), sound_s=0.4))
    limits = LIMITS.model_copy(update={"max_video_seconds": 1.0})
    with pytest.raises(ValueError, match=r"audio longer than 0\.1 s"):
        check_sample(raw, set(), (), limits, sounds=True)
    assert check_sample(raw, set(), (), limits)["audio"] is None
