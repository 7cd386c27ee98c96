"""Tweets are read from their list; texts in the one other encoding of the archive are counted aloud."""

import zipfile
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.params import TweetsParams
from stages.sources.base import Fault, RawSample
from stages.sources.tweets import FILE, Tweets
from tests.support.small_data import encode, make_image

IMAGE, OTHER = (encode(make_image(number), "JPEG") for number in range(2))
LIST = "guid,tag\n10,positive\n9,negative\n"
FILES = {"10.jpg": IMAGE, "10.txt": b"what a day \xf0\x9f\x98\x80 \n", "9.jpg": OTHER, "9.txt": b"\xa1\xb0no\xa1\xb1"}


def read(folder: Path, listed: str | None = LIST, files: dict[str, bytes] = FILES) -> list:
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        if listed is not None:
            archive.writestr("label/train.txt", listed)
        for name, data in files.items():
            archive.writestr(f"data/{name}", data)
    section = {"folder": "none", "mirror": "", "sha256": "", "val_fraction": 0.2, "test_fraction": 0.2}
    return list(Tweets(TweetsParams.model_validate({"source": "tweets", **section})).read(folder))


def test_tweets_come_by_number_and_other_encodings_are_told(tmp_path, capsys):
    first, second = read(tmp_path)
    assert (first.sample_id, first.message, first.label, first.image) == ("9", "“no”", "negative", OTHER)
    assert (second.sample_id, second.message, second.label) == ("10", "what a day 😀", "positive")
    assert "1 of 2 texts are not UTF-8 and were read as GB18030" in capsys.readouterr().out


def test_a_tweet_and_its_retweets_share_a_split(tmp_path):
    listed = "guid,tag\n" + "".join(f"{n},neutral\n" for n in range(20))
    files = {f"{n}.jpg": IMAGE for n in range(20)} | {f"{n}.txt": b"RT" for n in range(20)}
    assert len({sample.split for sample in read(tmp_path, listed, files)}) == 1


def test_what_cannot_be_used_is_named(tmp_path):
    found = read(
        tmp_path, "guid,tag\n1,happy\n2,neutral\n10,positive\n3,neutral\n", FILES | {"3.jpg": IMAGE, "3.txt": b"\xff"}
    )
    fault, absent, strange, good = found
    assert fault == Fault(f"{FILE}: label/train.txt: row 2", "tag 'happy'; expected one of positive, neutral, negative")
    assert absent.fault == "data/2.jpg and data/2.txt not in the archive"
    assert strange.fault == "data/3.txt is neither UTF-8 nor GB18030"
    assert isinstance(good, RawSample) and good.fault is None


def test_an_empty_text_is_a_missing_one(tmp_path):
    (sample,) = read(tmp_path, "guid,tag\n10,positive\n", FILES | {"10.txt": b" \n"})
    assert sample.message is None


@pytest.mark.parametrize(
    "listed, words", [(None, "no label/train.txt in it"), ("id,mood\n", "does not begin with guid,tag")]
)
def test_an_archive_of_something_else_is_refused(tmp_path, listed, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, listed)
