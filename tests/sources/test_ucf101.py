"""UCF-101: the public lists say the parts, whatever the ending of a clip; validation never splits a group."""

import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import Ucf101Params
from stages.sources.base import Fault, RawSample
from stages.sources.ucf101 import PACKED, Ucf101

FILE = "UCF-101.zip"
CLASSES = "1 Punch\n2 PushUps\n"
ON_TRAIN = "Punch/v_Punch_g08_c01.avi 1\nPunch/v_Punch_g09_c01.avi 1\nPushUps/v_PushUps_g08_c01.avi 2\n"
ON_TEST = "Punch/v_Punch_g01_c01.avi\n"
CLIPS = ("Punch/v_Punch_g08_c01", "Punch/v_Punch_g09_c01", "PushUps/v_PushUps_g08_c01", "Punch/v_Punch_g01_c01")


def source(**changes) -> Ucf101:
    section = {"source": "ucf101", "folder": "none", "mirror": "", "archive": FILE, "sha256": "", "split_list": 1}
    return Ucf101(Ucf101Params.model_validate(section | {"val_fraction": 0.0} | changes))


def lists(train: str = ON_TRAIN, test: str = ON_TEST, classes: str = CLASSES, number: int = 1) -> dict[str, str]:
    files = {"classInd": classes, f"trainlist{number:02d}": train, f"testlist{number:02d}": test}
    return {f"ucfTrainTestlist/{name}.txt": text for name, text in files.items()}


def read(
    folder: Path, clips=CLIPS, texts: dict[str, str] | None = None, suffix=".mp4", **changes
) -> list[RawSample | Fault]:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for clip in clips:
            archive.writestr(f"UCF-101/{clip}{suffix}", clip.encode())
        for name, text in (lists() if texts is None else texts).items():
            archive.writestr(name, text)
    return list(source(**changes).read(folder))


def samples(items: list[RawSample | Fault]) -> dict[str, RawSample]:
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def faults(items: list[RawSample | Fault]) -> list[tuple[str, str]]:
    return [(item.where, item.reason) for item in items if isinstance(item, Fault)]


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize("listed", [".mp4", ".avi"])
def test_a_clip_has_the_class_of_its_folder_and_the_part_of_the_list_whatever_its_ending(tmp_path, suffix, listed):
    texts = lists(ON_TRAIN.replace(".avi", listed), ON_TEST.replace(".avi", listed))
    found = read(tmp_path, suffix=suffix, texts=texts)
    clip = "PushUps/v_PushUps_g08_c01"
    assert faults(found) == []
    assert samples(found)[clip] == RawSample(clip, "train", video=clip.encode(), label="PushUps", group="PushUps_g08")
    assert {name: sample.split for name, sample in samples(found).items()} == {
        "Punch/v_Punch_g01_c01": "test",
        "Punch/v_Punch_g08_c01": "train",
        "Punch/v_Punch_g09_c01": "train",
        "PushUps/v_PushUps_g08_c01": "train",
    }


def test_validation_takes_whole_groups_of_the_training_part(tmp_path):
    clips = [f"Punch/v_Punch_g{group:02d}_c{clip:02d}" for group in range(1, 26) for clip in range(1, 5)]
    train, test = ("".join(f"{clip}.avi\n" for clip in part) for part in (clips[28:], clips[:28]))
    found = samples(read(tmp_path, clips=clips, texts=lists(train, test), val_fraction=0.3))
    splits: dict[str, set[str]] = {}
    for sample in found.values():
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(of_group) == 1 for of_group in splits.values())
    assert {group for group, of_group in splits.items() if of_group == {"test"}} == {
        f"Punch_g{group:02d}" for group in range(1, 8)
    }
    assert 2 <= sum(of_group == {"val"} for of_group in splits.values()) <= 9


def test_another_split_reads_its_own_lists(tmp_path):
    other = lists(ON_TEST, ON_TRAIN.replace(" 1", "").replace(" 2", ""), number=3)
    found = samples(read(tmp_path, texts=lists() | other, split_list=3))
    assert found["Punch/v_Punch_g01_c01"].split == "train" and found["Punch/v_Punch_g08_c01"].split == "test"


def test_a_clip_on_no_list_is_on_no_split(tmp_path):
    found = samples(read(tmp_path, texts=lists(test="")))
    assert found["Punch/v_Punch_g01_c01"].split is None


def test_a_clip_that_a_list_names_and_the_archive_lacks_is_a_sample_with_that_fault(tmp_path):
    found = read(tmp_path, clips=CLIPS[1:])
    lacking = samples(found)[CLIPS[0]]
    assert (lacking.split, lacking.fault) == ("train", "named on a list, but the source has no such clip")


def test_the_public_class_whose_clips_spell_it_otherwise_is_read(tmp_path):
    clip = "HandstandPushups/v_HandStandPushups_g01_c01"
    texts = lists(f"{clip}.avi 1", "", "1 HandstandPushups")
    assert samples(read(tmp_path, clips=[clip], texts=texts))[clip].label == "HandstandPushups"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Jump/v_Jump_g01_c01.avi 3", "Jump is no class of classInd.txt"),
        ("Punch/v_Punch_g08_c02.avi 2", "Punch has the number 2, in classInd.txt it is 1"),
        ("v_Punch_g08_c02.avi 1", "expected <class>/<clip> or <class>/<clip> <number of the class>"),
        ("Punch/v_Punch_g08_c01.mp4 1", "Punch/v_Punch_g08_c01 is listed again"),
    ],
)
def test_a_faulty_row_of_a_list_is_named(tmp_path, row, reason):
    found = read(tmp_path, texts=lists(train=f"{ON_TRAIN}{row}\n"))
    assert faults(found) == [(f"{FILE}: trainlist01.txt: row 4", reason)]
    assert len(samples(found)) == 4


def test_two_clips_of_one_name_and_one_without_a_class_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / FILE, "w") as archive:
        for name, text in lists().items():
            archive.writestr(name, text)
        for name in ("UCF-101/Punch/a.avi", "UCF-101/Punch/a.mp4", "b.avi"):
            archive.writestr(name, b"")
    found = list(source().read(tmp_path))
    assert (f"{FILE}: UCF-101/Punch/a.mp4", "a second clip of this name") in faults(found)
    assert (f"{FILE}: b.avi", "expected it in the folder of its class") in faults(found)
    assert samples(found)["Punch/a"].fault == "UCF-101/Punch/a.avi: expected a name v_<class>_g<number>_c<number>.avi"


@pytest.mark.parametrize("missing", ["classInd.txt", "trainlist01.txt", "testlist01.txt"])
def test_an_archive_without_one_of_its_lists_is_refused(tmp_path, missing):
    texts = {name: text for name, text in lists().items() if not name.endswith(missing)}
    with pytest.raises(InputError, match=f"{FILE}: no {missing} in it: put the lists of https://"):
        read(tmp_path, texts=texts)


@pytest.mark.parametrize(("classes", "found"), [("Punch\n", "'Punch'"), ("", "nothing")])
def test_a_broken_list_of_classes_is_refused(tmp_path, classes, found):
    with pytest.raises(InputError, match=f"classInd.txt: expected rows of <number> <class>, found {found}"):
        read(tmp_path, texts=lists(classes=classes))


def test_a_folder_of_ones_own_is_packed_and_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, raw = tmp_path / "data/videos", tmp_path / "raw"
    raw.mkdir()
    for name, content in (lists() | {f"UCF-101/{clip}.avi": clip for clip in CLIPS} | {"notes.pdf": ""}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    own = source(archive="", folder="videos")
    assert own.remote_files() == ()
    own.generate(raw, seed=7)
    assert [path.name for path in raw.iterdir()] == [PACKED]
    assert sorted(samples(list(own.read(raw)))) == sorted(CLIPS)
    assert faults(list(own.read(raw))) == []


def test_a_folder_without_clips_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data/videos: no clip \(.avi or .mp4\) in it: unpack https://"):
        source(archive="", folder="videos").generate(tmp_path, seed=7)


@pytest.mark.parametrize(("archive", "folder"), [("", "none"), (FILE, "videos")])
def test_the_clips_come_from_one_place(archive, folder):
    with pytest.raises(InputError, match=r"the source ucf101 has .*: give either archive .*UCF101\.rar.* or folder"):
        source(archive=archive, folder=folder)


def test_the_archive_of_a_mirror_has_its_digest():
    (file,) = source(sha256="0" * 64).remote_files()
    assert (file.name, file.urls, file.sha256) == (FILE, (), ("0" * 64,))
