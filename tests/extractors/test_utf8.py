"""Texts are kept as they are, cut between letters."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import MediaError
from stages.extractors import extractor as extractor_of
from stages.extractors import load_extractor
from stages.media.text import UTF8

CPU = Device(torch.device("cpu"), torch.float32)


def make(tmp_path, max_bytes=8):
    return extractor_of("utf8").from_params(SimpleNamespace(max_bytes=max_bytes), None, "features.x", tmp_path)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a dog", "a dog"), ("", ""), ("abcdefgh", "abcdefgh"), ("abcdefghi", "abcdefgh"), ("abcdefg\u00fc", "abcdefg"),
     ("\u65e5\u672c\u8a9e", "\u65e5\u672c"), ("a\0b", "ab")],
)  # fmt: skip
def test_the_bytes_are_the_text_s_cut_before_the_letter_without_room(tmp_path, text, kept):
    extractor = make(tmp_path)
    row = extractor.decode(text.encode())
    assert row.tobytes().rstrip(b"\0").decode() == kept
    assert (row.shape, str(row.dtype)) == (extractor.shape, extractor.dtype)
    assert extractor.exceeds(text.encode()) == (len(text.encode()) > 8)


def test_what_is_saved_is_read_again(tmp_path):
    extractor = make(tmp_path)
    extractor.save(tmp_path)
    again = load_extractor(tmp_path, CPU)
    assert again.identity() == extractor.identity()
    assert again.space == UTF8
    assert np.array_equal(
        again.extract(again.decode(b"a dog")[None]), extractor.extract(extractor.decode(b"a dog")[None])
    )


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(MediaError, match="text is not UTF-8"):
        make(tmp_path).decode(b"\xff\xfe")
