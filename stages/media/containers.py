"""Files of video, opened from their bytes alone: no playlist, no reference to another file or address is followed.

FFmpeg reads them, and only those kinds of file that hold their pictures themselves. What an index may promise is
bounded before FFmpeg makes room for it.
"""

import contextlib
import io
from collections.abc import Iterator

import av
import soundfile
from av.container import InputContainer
from PIL import Image

from stages.base.errors import MediaError

WITH_HEADS = "mov,mp4,matroska,webm,avi,ogg,asf"  # FFmpeg's names: those whose head names their streams
WITHOUT_HEADS = "mpegts,mpeg"  # of these no frame is decoded before they are copied: no bound would hold at once
SAID = "MP4, MOV, Matroska, WebM, AVI, Ogg, WMV or MPEG"
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"<?xml", b"<MPD", b"[playlist]")
STILL_BRANDS = {b"avif", b"heic", b"heix", b"mif1"}  # images in the boxes of MP4
OPTIONS = {"protocol_whitelist": "", "enable_drefs": "0", "use_absolute_path": "0"}
MOST_PLACES = 8_000_000  # in an index of MP4: sound as bare numbers has one a number
HEADS = (
    b"moov",
    b"trak",
    b"edts",
    b"mdia",
    b"minf",
    b"dinf",
    b"stbl",
    b"moof",
    b"traf",
)  # boxes of MP4 that hold boxes
EDITS = b"elst"
PLACES_OF_DATA = b"dref"
COUNTS = {b"stsz": 8, b"trun": 4, EDITS: 4}  # boxes of MP4 by which an index grows, and where their number stands
SEGMENT = b"\x18\x53\x80\x67"  # of Matroska: all behind its head


class VideoError(MediaError):
    """The bytes are no video that can be used; the message is the reason."""


@contextlib.contextmanager
def decoding(what: str = "video") -> Iterator[None]:
    """Name the reason, whichever error: FFmpeg has many kinds, and its own messages name no file here."""
    try:
        yield
    except MediaError as error:
        raise error if isinstance(error, VideoError) else VideoError(str(error)) from None
    except Exception as error:
        raise VideoError(f"{what} does not decode: {getattr(error, 'strerror', None) or error}") from None


@contextlib.contextmanager
def opened(data: bytes, max_pixels: int = 10**9) -> Iterator[InputContainer]:
    """Open a video; no frame of far more than `max_pixels` is decoded, not even by FFmpeg's own first look.

    Raises:
        VideoError: when it is of no kind that is opened.
    """
    bound = {"max_pixels": str(2 * max_pixels + 2**16)}  # FFmpeg counts edges too; the reader counts exactly
    container = _open(data, bound, WITH_HEADS) or _open(data, {"codec_whitelist": "none"}, WITHOUT_HEADS)
    if container is None:
        raise VideoError(_other(data) or f"video does not open; expected {SAID}")
    with container:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = bound
                stream.codec_context.thread_count = 1  # threads hold frames of their own
        yield container


def _open(data: bytes, options: dict[str, str], formats: str) -> InputContainer | None:
    try:
        return av.open(
            io.BytesIO(data), "r", options=options, container_options=OPTIONS | {"format_whitelist": formats}
        )
    except (av.FFmpegError, ValueError):
        return None


def _other(data: bytes) -> str:
    """Return what the bytes are instead of a video, as a reason; empty where it is not known."""
    if data.lstrip()[:16].startswith(PLAYLISTS):
        return "is a playlist, not a video: what it names is not opened"
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as image:
        return f"is an image ({image.format}), not a video"
    with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(io.BytesIO(data)) as sound:
        return f"is a sound ({sound.format}), not a video"
    return ""


def check_structure(data: bytes) -> None:
    """Look at what FFmpeg does not: an end that is missing, and an index without measure.

    Raises:
        VideoError: when the file is empty, cut short, promises too much, or leaves its pictures to another one.
    """
    if not data:
        raise VideoError("video is empty")
    if data[4:8] == b"ftyp" and data[8:12] in STILL_BRANDS:
        raise VideoError("is an image, not a video")
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        found = list(_counts(data, 0, len(data)))
        edits = max((count for kind, count in found if kind == EDITS), default=1)
        places = sum(count for kind, count in found if kind != EDITS) * max(edits, 1)  # each edit may take all
        if places > MOST_PLACES:
            raise VideoError(f"video with an index of {places} places; at most {MOST_PLACES} allowed")
        return
    ends = {b"RIFF": int.from_bytes(data[4:8], "little") + 8, b"\x1a\x45\xdf\xa3": _segment_end(data)}
    if ends.get(data[:4], 0) > len(data):
        raise _short()


def _short() -> VideoError:
    return VideoError("video is cut short: its header promises more than there is")


def _counts(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Walk boxes of MP4 (ISO/IEC 14496-12, section 4.2) and yield the numbers of `COUNTS`."""
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or end - at  # 0: as far as there is
        if size < head or at + size > end:
            raise _short()
        if kind in HEADS:
            yield from _counts(data, at + head, at + size)
        elif kind == PLACES_OF_DATA:
            _check_places(data, at + head + 8, at + size)
        elif kind in COUNTS:
            number = at + head + COUNTS[kind]
            yield kind, int.from_bytes(data[number : number + 4], "big")
        at += size


def _check_places(data: bytes, at: int, end: int) -> None:
    """Look at where the data of a track lie (ISO/IEC 14496-12, section 8.7.2): each must say in the file itself."""
    while at + 12 <= end:
        size, in_this_file = int.from_bytes(data[at : at + 4], "big"), data[at + 11] & 1
        if not in_this_file:
            raise VideoError("video that leaves its pictures or sound to another file, which is not opened")
        at += max(size, 12)


def _segment_end(data: bytes) -> int:
    """Return where the segment of a Matroska file ends by its own word; 0 where it leaves that open (RFC 8794)."""
    at = data.find(SEGMENT, 0, 4096) + len(SEGMENT)
    if at < len(SEGMENT) or at >= len(data) or not data[at]:
        return 0
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return 0 if size == (1 << 7 * length) - 1 else at + length + size
