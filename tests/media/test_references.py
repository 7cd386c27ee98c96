"""A QuickTime file may say that its pictures lie in another file (an alias in `dref`): that one is never opened."""

import struct

import av
import pytest

from stages.media.video import VideoBounds, VideoError, clean_video, decode_video
from tests.support.videos import video

BOUNDS = VideoBounds(seconds=5.0, megapixels=0.1)
AROUND = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return (kind, content) of each box of MP4 that lies side by side."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def alias(path: str) -> bytes:
    """Return an alias record of a Macintosh, of which FFmpeg reads the absolute path (its kind 2) alone."""
    name = path.encode() + b"\0" * (len(path) % 2)
    record = bytes(10 + 1 + 27 + 12 + 1 + 63 + 16)  # of volume and file, by name: none
    record += struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(name)) + name
    return box(b"alis", bytes(4) + record + struct.pack(">HH", 0xFFFF, 0) + bytes(64))


def elsewhere(data: bytes, path: str) -> bytes:
    """Return the head of a video alone, whose pictures lie in another file."""
    out = b""
    for kind, content in boxes(data):
        if kind in AROUND:
            out += box(kind, elsewhere(content, path))
        elif kind == b"dref":
            out += box(kind, bytes(4) + struct.pack(">I", 1) + alias(path))
        elif kind != b"mdat":
            out += box(kind, content)
    return out


def test_pictures_in_another_file_are_not_fetched(tmp_path):
    other = tmp_path / "other.mov"
    other.write_bytes(video(kind="mov", codec="mpeg4"))
    data = elsewhere(other.read_bytes(), str(other))
    (tmp_path / "reference.mov").write_bytes(data)
    left_alone = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(tmp_path / "reference.mov", options=left_alone) as container:  # what FFmpeg can be led to
        assert len(list(container.decode(video=0))) == 10
    with pytest.raises(VideoError, match="leaves its pictures or sound to another file, which is not opened"):
        clean_video(data, BOUNDS)
    assert not decode_video(data, 10, 10, 16).any()  # nor by what trusts that a file was checked: no frame is real
