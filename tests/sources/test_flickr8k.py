"""Flickr8k is read in its public layout, and each of its known faults is named where it stands."""

import zipfile

import pytest

from stages.base.errors import InputError
from stages.params import Flickr8kParams
from stages.sources.base import Fault, RawSample
from stages.sources.flickr8k import CAPTIONS, IMAGES, LISTS, PUBLIC_SHA256, TEXT, Flickr8k
from tests.support.small_data import caption_rows, encode, make_image, write_flickr8k

A, B, C = (encode(make_image(seed)) for seed in range(3))
FIVE = tuple(f"A dog number {number} runs ." for number in range(5))
LISTED = {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}


def source(images_sha256: str = "", text_sha256: str = "") -> Flickr8k:
    section = {"source": "flickr8k", "folder": "none", "mirror": ""}
    sha256 = {"images_sha256": images_sha256, "text_sha256": text_sha256}
    return Flickr8k(Flickr8kParams.model_validate(section | sha256))


def read(folder, images=None, captions=None, lists=None) -> list[RawSample | Fault]:
    images = {"a.jpg": A, "b.jpg": B, "c.jpg": C} if images is None else images
    captions = caption_rows(list(images)) if captions is None else captions
    write_flickr8k(folder, images, captions, LISTED if lists is None else lists)
    return list(source().read(folder))


def faults(items: list[RawSample | Fault]) -> list[tuple[str, str]]:
    return [(item.where, item.reason) for item in items if isinstance(item, Fault)]


def samples(items: list[RawSample | Fault]) -> dict[str, RawSample]:
    return {item.sample_id: item for item in items if isinstance(item, RawSample)}


def test_images_come_in_order_of_their_names_with_split_and_captions(tmp_path):
    assert read(tmp_path, images={"b.jpg": B, "c.jpg": C, "a.jpg": A}) == [
        RawSample("a.jpg", "train", A, texts=FIVE),
        RawSample("b.jpg", "val", B, texts=FIVE),
        RawSample("c.jpg", "test", C, texts=FIVE),
    ]


def test_an_image_on_no_list_is_on_no_split(tmp_path):
    found = samples(read(tmp_path, lists={"train": ["a.jpg"]}))
    assert {name: sample.split for name, sample in found.items()} == {"a.jpg": "train", "b.jpg": None, "c.jpg": None}


def test_an_image_without_captions_comes_without(tmp_path):
    found = read(tmp_path, captions=caption_rows(["a.jpg", "c.jpg"]))
    assert samples(found)["b.jpg"] == RawSample("b.jpg", "val", B)
    assert faults(found) == []


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        ("a.jpg#0\tA dog\truns .", "A dog\truns ."),  # a stray tab
        ("a.jpg#0\tA dog runs .   ", "A dog runs .   "),
        ("a.jpg#0 \tA dog", "A dog"),
        ("a.jpg#0\tA dog # 1", "A dog # 1"),
        ("a.jpg#0\tA dog\u2028runs\x0con", "A dog\u2028runs\x0con"),  # no ends of a row
        ("a.jpg#0\t", ""),
        ("a.jpg#0\tA dog\n\n   \n", "A dog"),
    ],
)
def test_odd_rows_are_read_as_they_stand(tmp_path, row, caption):
    found = read(tmp_path, images={"a.jpg": A}, captions=row, lists={"train": ["a.jpg"]})
    assert found == [RawSample("a.jpg", "train", A, texts=(caption,))]


def test_rows_that_end_as_on_windows_are_read(tmp_path):
    captions = caption_rows(["a.jpg"]).replace("\n", "\r\n")
    found = read(tmp_path, images={"a.jpg": A}, captions=captions, lists={"train": ["a.jpg\r", "  "]})
    assert faults(found) == []
    assert [text.rstrip() for text in samples(found)["a.jpg"].texts] == list(FIVE)
    assert samples(found)["a.jpg"].split == "train"


def test_bytes_that_are_no_utf8_spoil_one_word_and_not_the_file(tmp_path):
    write_flickr8k(tmp_path, {"a.jpg": A}, "", {"train": ["a.jpg"]})
    with zipfile.ZipFile(tmp_path / TEXT, "w") as archive:
        archive.writestr(CAPTIONS, b"a.jpg#0\tA caf\xe9 .\na.jpg#1\tA dog .")
        for split, name in LISTS.items():
            archive.writestr(name, b"a.jpg" if split == "train" else b"")
    assert samples(list(source().read(tmp_path)))["a.jpg"].texts == ("A caf\ufffd .", "A dog .")


@pytest.mark.parametrize(
    ("row", "where", "reason"),
    [
        ("a.jpg A dog", "row 6", "expected <image>#<number><tab><caption>, found 'a.jpg A dog'"),
        ("a.jpg\tA dog", "row 6", "expected <image>#<number><tab><caption>, found 'a.jpg\\tA dog'"),
        ("a.jpg#x\tA dog", "row 6", "expected <image>#<number><tab><caption>, found 'a.jpg#x\\tA dog'"),
        ("a.jpg#5 A dog", "row 6", "expected <image>#<number><tab><caption>, found 'a.jpg#5 A dog'"),
        ("a.jpg#2\tAnother dog", "row 6", "caption 2 of a.jpg again"),
        ("a.jpg.1#0\tA dog", "a.jpg.1", "captions of an image that the archive lacks"),
    ],
)
def test_a_faulty_row_is_named_and_the_others_are_kept(tmp_path, row, where, reason):
    captions = f"{caption_rows(['a.jpg'])}{row}\n{caption_rows(['b.jpg'])}"
    found = read(tmp_path, images={"a.jpg": A, "b.jpg": B}, captions=captions)
    assert faults(found) == [(f"{CAPTIONS}: {where}", reason)]
    assert [samples(found)[name].texts for name in ("a.jpg", "b.jpg")] == [FIVE, FIVE]


def test_an_image_that_a_list_names_and_the_archive_lacks_is_a_sample_with_that_fault(tmp_path):
    found = read(tmp_path, images={"a.jpg": A}, captions=caption_rows(["a.jpg", "b.jpg"]), lists=LISTED)
    lacking = "named on a list, but the source has no such image"
    assert samples(found)["b.jpg"] == RawSample("b.jpg", "val", texts=FIVE, fault=lacking)
    assert samples(found)["c.jpg"] == RawSample("c.jpg", "test", fault=lacking)
    assert faults(found) == []


def test_an_image_on_two_lists_stays_on_the_first(tmp_path):
    found = read(tmp_path, lists={"train": ["a.jpg"], "val": ["b.jpg", "a.jpg"], "test": ["c.jpg", "c.jpg"]})
    assert {name: sample.split for name, sample in samples(found).items()} == {
        "a.jpg": "train",
        "b.jpg": "val",
        "c.jpg": "test",
    }
    assert faults(found) == [
        ("Flickr_8k.devImages.txt: row 2", "a.jpg is listed again"),
        ("Flickr_8k.testImages.txt: row 2", "c.jpg is listed again"),
    ]


def test_what_macos_adds_is_no_sample(tmp_path):
    found = read(tmp_path)
    with zipfile.ZipFile(tmp_path / IMAGES) as archive:
        assert "__MACOSX/Flicker8k_Dataset/._a.jpg" in archive.namelist()
    assert list(samples(found)) == ["a.jpg", "b.jpg", "c.jpg"]
    assert faults(found) == []


def test_two_images_of_one_name_are_named(tmp_path):
    write_flickr8k(tmp_path, {"a.jpg": A}, caption_rows(["a.jpg"]), {"train": ["a.jpg"]})
    with zipfile.ZipFile(tmp_path / IMAGES, "a") as archive:
        archive.writestr("more/a.jpg", B)
    found = list(source().read(tmp_path))
    assert faults(found) == [(f"{IMAGES}: more/a.jpg", "a second image of this name")]
    assert samples(found)["a.jpg"].image == A


@pytest.mark.parametrize("missing", [CAPTIONS, *LISTS.values()])
def test_a_text_archive_without_one_of_its_files_is_refused(tmp_path, missing):
    write_flickr8k(tmp_path, {"a.jpg": A}, "", {})
    with zipfile.ZipFile(tmp_path / TEXT, "w") as archive:
        for name in {CAPTIONS, *LISTS.values()} - {missing}:
            archive.writestr(name, "")
    with pytest.raises(InputError, match=f"{TEXT}: no member {missing}; is it the public archive {TEXT}?"):
        list(source().read(tmp_path))


def test_the_public_checksums_and_those_of_a_mirror_are_accepted():
    images, text = source(images_sha256="0" * 64).remote_files()
    assert (images.name, images.sha256) == (IMAGES, (PUBLIC_SHA256[IMAGES], "0" * 64))
    assert (text.name, text.sha256) == (TEXT, (PUBLIC_SHA256[TEXT],))
    assert all(url.startswith("https://") and url.endswith(file.name) for file in (images, text) for url in file.urls)
