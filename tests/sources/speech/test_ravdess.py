"""RAVDESS: codes of a name become emotion and sentence, and no actor serves two splits."""

import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import RavdessParams
from stages.sources.base import Fault, RawSample
from stages.sources.speech.ravdess import EMOTIONS, PUBLIC, URL, Ravdess


def source(**changes) -> Ravdess:
    section = {"source": "ravdess", "folder": "none", "mirror": "", "archive": PUBLIC, "sha256": ""}
    return Ravdess(RavdessParams.model_validate(section | {"val_actors": 1, "test_actors": 2} | changes))


def write(folder: Path, actors=range(1, 7), suffix=".wav", more: tuple[str, ...] = ()) -> None:
    with zipfile.ZipFile(folder / PUBLIC, "w") as archive:
        for actor in actors:
            for emotion in range(1, 9):
                for sentence in (1, 2):
                    name = f"Actor_{actor:02d}/03-01-{emotion:02d}-01-{sentence:02d}-01-{actor:02d}"
                    archive.writestr(f"{name}{suffix}", name)
        for name in more:
            archive.writestr(name, name)


def read(folder: Path, **changes) -> list[RawSample | Fault]:
    return list(source(**changes).read(folder))


def samples(items: list[RawSample | Fault]) -> dict[str, RawSample]:
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def actors_by_split(items: list[RawSample | Fault]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for sample in samples(items).values():
        found.setdefault(sample.split or "", set()).add((sample.group or "").removeprefix("actor "))
    return found


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_the_codes_of_a_name_say_emotion_sentence_and_actor(tmp_path, suffix):
    write(tmp_path, suffix=suffix)
    found = samples(read(tmp_path))
    assert len(found) == 6 * 16
    assert {sample.label for sample in found.values()} == set(EMOTIONS)
    said = "Dogs are sitting by the door"
    assert found["03-01-05-01-02-01-02"] == RawSample(
        "03-01-05-01-02-01-02",
        "train",
        audio=b"Actor_02/03-01-05-01-02-01-02",
        message=said,
        transcript=said,
        label="angry",
        group="actor 02",
    )
    assert found["03-01-01-01-01-01-06"].transcript == "Kids are talking by the door"


def test_the_words_tell_nothing_of_the_emotion(tmp_path):
    write(tmp_path)
    said = [(sample.label, sample.message) for sample in samples(read(tmp_path)).values()]
    assert len({said.count(pair) for pair in said}) == 1 and len(set(said)) == 16


def test_the_last_actors_are_held_out(tmp_path):
    write(tmp_path)
    assert actors_by_split(read(tmp_path)) == {"train": {"01", "02", "03"}, "val": {"04"}, "test": {"05", "06"}}


def test_actors_may_be_named(tmp_path):
    write(tmp_path)
    found = actors_by_split(read(tmp_path, test_actors=[1], val_actors=[6, 2]))
    assert found == {"train": {"03", "04", "05"}, "val": {"02", "06"}, "test": {"01"}}


def test_an_actor_who_is_not_there_or_is_taken_is_named(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="test_actors of the source ravdess has 9: there are still 1, 2, 3, 4, 5, 6"):
        read(tmp_path, test_actors=[9])
    with pytest.raises(InputError, match="val_actors of the source ravdess has 1: there are still 2, 3, 4, 5, 6"):
        read(tmp_path, test_actors=[1], val_actors=[1])


def test_someone_must_be_left_for_training(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="ravdess leave none of 6 actors for training: give fewer"):
        read(tmp_path, test_actors=4, val_actors=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("03-01-09-01-01-01-01.wav", "emotion 09; expected 01 to 08"),
        ("03-01-00-01-01-01-01.wav", "emotion 00; expected 01 to 08"),
        ("03-01-01-01-03-01-01.wav", "sentence 03; expected 01 to 02"),
        ("03-02-01-01-01-01-01.wav", "expected the sound of speech, codes 03-01, found 03-02"),
        ("hello.wav", "expected a name of seven two-digit codes, such as 03-01-01-01-01-01-01.wav"),
        ("03-01-01-01-01-01-01.flac", "a second recording of this name"),
    ],
)
def test_a_name_that_says_no_recording_is_a_fault(tmp_path, name, reason):
    member = f"Actor_01/{name}"
    write(tmp_path, more=(member,))
    found = read(tmp_path)
    (fault,) = [item for item in found if isinstance(item, Fault)]
    assert fault.reason == reason and fault.where.startswith(f"{PUBLIC}: Actor_01/{name.partition('.')[0]}")
    assert len(samples(found)) == 6 * 16


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / PUBLIC, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(InputError, match=r"no \.wav or \.flac in it; is it the archive of https://zenodo"):
        read(tmp_path)


def test_only_the_public_archive_has_a_home():
    (public,), (own,) = source().remote_files(), source(archive="mine.zip", sha256="0" * 64).remote_files()
    assert (public.name, public.urls, public.sha256) == (PUBLIC, (URL,), ())
    assert (own.name, own.urls, own.sha256) == ("mine.zip", (), ("0" * 64,))
