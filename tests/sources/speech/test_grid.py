"""GRID: words and their times from the align files, held against the name of the clip."""

import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import GridParams
from stages.sources.base import Fault, RawSample
from stages.sources.speech.grid import Grid, slots_of

FILE = "s1.zip"
SENTENCES = ("bbaf2n", "lgiz9s", "swbazp", "prwk1a")
BIN_BLUE = "0 17500 sil\n17500 23000 bin\n23000 30500 blue\n30500 35000 at\n35000 42750 f\n42750 49000 two\n"
BIN_BLUE += "49000 50000 sp\n50000 57250 now\n57250 74500 sil\n"


def source(**changes) -> Grid:
    section = {"source": "grid", "folder": "none", "mirror": "", "archives": [FILE], "sha256": {}, "split": "sentence"}
    section |= {"test_speaker": "s1", "val_fraction": 0.2, "test_fraction": 0.2}
    return Grid(GridParams.model_validate(section | changes))


def align(sentence: str) -> str:
    words = ["sil", *slots_of(sentence).values(), "sil"]
    return "".join(f"{1000 * i} {1000 * i + 1000} {word}\n" for i, word in enumerate(words))


def write(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def files(speaker: str = "s1", sentences=SENTENCES, suffix=".mp4", aligns="align") -> dict[str, str]:
    videos = {f"{speaker}/{sentence}{suffix}": f"{speaker} {sentence}" for sentence in sentences}
    return videos | {f"{aligns}/{sentence}.align": align(sentence) for sentence in sentences}


def samples(items: list[RawSample | Fault]) -> dict[str, RawSample]:
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def faults(items: list[RawSample | Fault]) -> list[tuple[str, str]]:
    return [(item.where, item.reason) for item in items if isinstance(item, Fault)]


@pytest.mark.parametrize("suffix", [".mp4", ".mpg"])
def test_a_clip_has_the_words_of_its_align_file_with_their_seconds(tmp_path, suffix):
    write(tmp_path / FILE, files(suffix=suffix) | {"align/bbaf2n.align": BIN_BLUE})
    found = samples(list(source(val_fraction=0.0, test_fraction=0.0).read(tmp_path)))
    assert len(found) == 4
    slots = {"command": "bin", "colour": "blue", "preposition": "at", "letter": "f", "digit": "two", "adverb": "now"}
    assert found["s1/bbaf2n"] == RawSample(
        "s1/bbaf2n",
        "train",
        video=b"s1 bbaf2n",
        transcript="bin blue at f two now",
        word_times=((0.7, 0.92), (0.92, 1.22), (1.22, 1.4), (1.4, 1.71), (1.71, 1.96), (2.0, 2.29)),
        group="s1",
        truth={"slots": slots},
    )
    assert set(Grid.required) <= set(Grid.fields)


def test_speakers_of_the_public_archives_have_one_archive_of_align_files(tmp_path):
    names = ["s1.zip", "s2.zip", "alignments.zip"]
    write(tmp_path / names[0], {k: v for k, v in files("s1").items() if k.endswith(".mp4")})
    write(tmp_path / names[1], {k: v for k, v in files("s2").items() if k.endswith(".mp4")})
    write(tmp_path / names[2], {f"alignments/{s}/{x}.align": align(x) for s in ("s1", "s2") for x in SENTENCES})
    items = list(source(archives=names, split="speaker", test_speaker="s2").read(tmp_path))
    assert faults(items) == []
    assert {sample.split for sample in samples(items).values() if sample.group == "s2"} == {"test"}
    assert {sample.split for sample in samples(items).values() if sample.group == "s1"} <= {"train", "val"}
    assert all(sample.transcript for sample in samples(items).values())


def test_the_hash_of_a_sentence_decides_for_all_who_say_it(tmp_path):
    sentences = [f"{a}{b}{c}{d}{e}n" for a in "bl" for b in "bg" for c in "at"[:1] for d in "abcde" for e in "12345"]
    write(tmp_path / FILE, files("s1", sentences, aligns="x/s1") | files("s2", sentences, aligns="x/s2"))
    found = samples(list(source().read(tmp_path)))
    splits = [found[f"s1/{sentence}"].split for sentence in sentences]
    assert splits == [found[f"s2/{sentence}"].split for sentence in sentences]
    assert all(0.1 < splits.count(split) / len(splits) < 0.3 for split in ("val", "test"))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("0 100 sil\n100 bin\n", "row 2: expected <start> <end> <word>, in order, found '100 bin'"),
        ("0 x bin\n", "row 1: expected <start> <end> <word>, in order, found '0 x bin'"),
        ("0 100 bin\n50 200 blue\n", "row 2: expected <start> <end> <word>, in order, found '50 200 blue'"),
        ("100 100 bin\n", "row 1: expected <start> <end> <word>, in order, found '100 100 bin'"),
        (BIN_BLUE.replace("blue", "red"), "says 'bin red at f two now', its name 'bin blue at f two now'"),
    ],
)
def test_a_broken_align_file_is_a_fault_of_its_sample(tmp_path, broken, reason):
    write(tmp_path / FILE, files() | {"align/bbaf2n.align": broken})
    found = samples(list(source().read(tmp_path)))
    assert found["s1/bbaf2n"].fault == f"{FILE}: align/bbaf2n.align: {reason}"
    assert sum(sample.fault is not None for sample in found.values()) == 1


def test_a_clip_without_its_align_file_and_an_align_file_without_its_clip_are_named(tmp_path):
    content = files()
    content["align/lgiz9s2.align"] = content.pop("align/lgiz9s.align")
    write(tmp_path / FILE, content)
    items = list(source().read(tmp_path))
    assert samples(items)["s1/lgiz9s"].fault == "no lgiz9s.align with its words and their times"
    assert faults(items) == [(f"{FILE}: align/lgiz9s2.align", "times of a clip that is not there")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("xbaf2n", "xbaf2n: 'x' is no command; expected one of b, l, p, s"),
        ("bbaw2n", "bbaw2n: 'w' is no letter; expected one of a, b, c"),
        ("bba", "bba: expected a name of six letters and digits, such as bbaf2n"),
    ],
)
def test_a_name_that_is_no_sentence_is_a_fault_of_its_sample(tmp_path, name, reason):
    write(tmp_path / FILE, files() | {f"s1/{name}.mp4": "", f"align/{name}.align": BIN_BLUE})
    assert samples(list(source().read(tmp_path)))[f"s1/{name}"].fault.startswith(reason)


def test_files_in_no_speakers_folder_and_second_ones_are_named(tmp_path):
    more = {"a/s1/bbaf2n.mpg": "", "bbaf3n.mp4": "", "s2/bbaf2n.mp4": ""}
    write(tmp_path / FILE, files() | more)  # of two speakers, so align files without one are nobody's
    found = dict(faults(list(source().read(tmp_path))))
    nobodys = "expected it in the folder of its speaker, s<number>"
    assert found[f"{FILE}: bbaf3n.mp4"] == found[f"{FILE}: align/bbaf2n.align"] == nobodys
    assert found[f"{FILE}: s1/bbaf2n.mp4"] == "a second file of this speaker and name"


def test_a_test_speaker_who_is_not_there_or_alone_is_refused(tmp_path):
    write(tmp_path / FILE, files())
    for speaker in ("s1", "s9"):
        with pytest.raises(InputError, match=f"test_speaker of the source grid is '{speaker}': the archives have s1, "):
            list(source(split="speaker", test_speaker=speaker).read(tmp_path))


def test_archives_without_videos_are_refused(tmp_path):
    write(tmp_path / FILE, {"readme.txt": ""})
    with pytest.raises(InputError, match=r"s1\.zip: no s<number>/<sentence>\.mp4 in it; are they of https://zenodo"):
        list(source().read(tmp_path))


def test_archives_have_the_public_home_and_their_own_digests():
    one, two = source(archives=["s1.zip", "alignments.zip"], sha256={"s1.zip": "0" * 64}).remote_files()
    assert (one.sha256, two.sha256) == (("0" * 64,), ())
    assert one.urls[0].endswith("3625687/files/s1.zip")
