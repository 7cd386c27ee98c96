"""Videos as encoded bytes: checked that they decode whole, and copied without anything but their picture; decoded.

Frames stay as they are encoded: what an encoder wrote into them stays too. Damage inside a frame that the decoder
hides is not seen. The sound of a video is a sound of its own, see `audio`.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import soundfile
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image

from stages.media.audio import RATES_HZ
from stages.media.containers import WITHOUT_HEADS, VideoError, check_structure, decoding, opened
from stages.media.images import squared

MOST_FRAMES_HZ = 120  # frames allowed for each second that is
USUAL_FRAMES_HZ = 30  # so many of the largest size may be decoded for each second that is allowed; more smaller ones
CONTAINERS = dict.fromkeys(("h264", "hevc", "av1", "mpeg4"), "mp4") | dict.fromkeys(("vp8", "vp9"), "webm")
TAKES_ALL = "matroska"  # what stands in no other, where a browser looks for it
WHOLE = (0.0, 0.0, 1.0, 1.0)  # of a picture: left, top, right and bottom
SAME_TIME_S = Fraction(1, 1000)  # Matroska rounds times to milliseconds
STRIP_FRAMES, STRIP_HEIGHT_PX = 6, 96


@dataclass(frozen=True)
class VideoBounds:
    """What a video may have: seconds (also of its sound), and megapixels in a frame."""

    seconds: float
    megapixels: float

    @property
    def frames(self) -> int:
        """Return how many frames are allowed."""
        return max(1, int(self.seconds * MOST_FRAMES_HZ))

    @property
    def pixels(self) -> int:
        """Return how many pixels a frame may have."""
        return int(self.megapixels * 1e6)

    def check_seconds(self, seconds: float | Fraction) -> None:
        """Refuse what is longer."""
        if seconds > self.seconds:
            raise VideoError(f"video longer than {self.seconds:g} s, which is the most allowed")

    def check_frames(self, number: int) -> None:
        """Refuse more frames."""
        if number > self.frames:
            raise VideoError(f"video of more than {self.frames} frames, which is the most allowed")

    def check_size(self, width: int, height: int) -> None:
        """Refuse larger frames, and those of no size: FFmpeg says none where it was not let decode one."""
        if not width * height:
            raise VideoError(f"video of frames without a size, or of far more than {self.megapixels:g} megapixels")
        if width * height > self.pixels:
            raise VideoError(f"video of {width} x {height} pixels; at most {self.megapixels:g} megapixels allowed")


@dataclass(frozen=True)
class Facts:
    """What the head of a clean video says: its length, its size as it is stored, frames in a second on average."""

    seconds: float
    width: int
    height: int
    frames_hz: float


def clean_video(data: bytes, bounds: VideoBounds) -> tuple[bytes, bytes | None]:
    """Return the video's picture alone, without metadata, and its first sound as 16-bit mono FLAC.

    The picture comes as MP4, WebM or Matroska. Frames are not encoded anew, and stay turned as a player turns them; the
    same bytes give the same bytes. The sound begins when the picture does.

    Raises:
        VideoError: when it does not decode whole, or goes beyond the bounds, whatever its header says.
    """
    with decoding():
        check_structure(data)
        clean = _picture_alone(data, bounds)
        _decode_whole(clean, bounds)
    with decoding("the video's sound"):
        return clean, _sound(data, bounds)


def decode_video(data: bytes, fps: float, num_frames: int, size_px: int, crop: Sequence[float] = WHOLE) -> np.ndarray:
    """Decode what is shown at 0, 1 / fps, 2 / fps ... seconds after the first frame, as a person sees it.

    Frames are RGB, the picture brought to a square as images are: uint8 (num_frames, size_px, size_px, 3) of 1 to 255.
    What is behind the end of a video is 0, which no frame has. `crop` is the part of the picture that is kept: left,
    top, right and bottom, as shares of its sides.

    Raises:
        VideoError: when it does not decode.
    """
    out = np.zeros((num_frames, size_px, size_px, 3), np.uint8)
    for number, picture in pictures(data, fps, num_frames):
        box = [share * side for share, side in zip(crop, picture.size * 2, strict=True)]
        kept = picture if tuple(crop) == WHOLE else picture.crop(tuple(map(round, box)))  # type: ignore[arg-type]
        out[number] = np.maximum(squared(kept, size_px), 1)
    return out


def pictures(data: bytes, fps: float, number: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield 0, 1, 2 ... below `number` and the RGB picture shown at these times; none behind the end of the video.

    A frame that is shown longer comes as the same object again.

    Raises:
        VideoError: when it does not decode.
    """
    rate, at = Fraction(fps).limit_denominator(10**6), 0
    with decoding(), opened(data) as container:
        shown: Image.Image | None = None
        last, last_end = None, Fraction(0)
        for frame, start, end in _timed(container, _picture(container)):
            while last is not None and at < number and at / rate + SAME_TIME_S < start:
                shown = shown or _upright(last)
                yield at, shown
                at += 1
            if at == number:
                return
            last, last_end, shown = frame, end, None
        while last is not None and at < number and (at / rate < last_end or not at):
            shown = shown or _upright(last)
            yield at, shown
            at += 1


def facts(data: bytes) -> Facts:
    """Return what the head of a clean video says.

    Raises:
        VideoError: when it does not open.
    """
    with decoding(), opened(data) as container:
        stream = _picture(container)
        return Facts(float(_seconds(container, stream)), stream.width, stream.height, float(stream.average_rate or 0))


def strip(data: bytes) -> bytes:
    """Return a few frames of a video side by side, as JPEG, for a person to look at."""
    rate = STRIP_FRAMES / max(facts(data).seconds, 1e-3)
    return _side_by_side([picture for _, picture in pictures(data, rate, STRIP_FRAMES)])


def small_frames(data: bytes, fps: float, places: Sequence[int]) -> dict[int, bytes]:
    """Return what is shown at some of the times 0, 1 / fps, 2 / fps ..., each as a small JPEG; none behind the end."""
    wanted = set(places)
    return {
        at: _side_by_side([shown]) for at, shown in pictures(data, fps, max(wanted, default=-1) + 1) if at in wanted
    }


def _side_by_side(shown: list[Image.Image]) -> bytes:
    sizes = [(max(1, round(picture.width * STRIP_HEIGHT_PX / picture.height)), STRIP_HEIGHT_PX) for picture in shown]
    small = [p.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0) for p, size in zip(shown, sizes, strict=True)]
    out = io.BytesIO()
    Image.fromarray(np.concatenate([np.asarray(picture) for picture in small], axis=1)).save(out, "JPEG", quality=85)
    return out.getvalue()


def shown_medium(modality: str, data: bytes) -> bytes:
    """Return what a page shows of a medium: of a video a few frames, of others all."""
    return strip(data) if modality == "video" else data


def _picture(container: InputContainer) -> VideoStream:
    """Return the first stream of video that is no cover, set up to decode in bounds."""
    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition:
            if stream.codec_context is None:
                raise VideoError("video of a kind that has no decoder here")
            return stream
    raise VideoError("no video stream in it")


def _seconds(container: InputContainer, stream: VideoStream) -> Fraction:
    if stream.duration is not None and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)


def _picture_alone(data: bytes, bounds: VideoBounds) -> bytes:
    """Copy one stream into a container of its own; no byte is copied twice, whatever an index says."""
    out, copied, number, late = io.BytesIO(), 0, 0, None
    with opened(data, bounds.pixels) as container:
        stream = _picture(container)
        if container.format.name not in WITHOUT_HEADS.split(","):  # whose length is an estimate
            bounds.check_seconds(_seconds(container, stream))
        bounds.check_size(stream.width, stream.height)
        kind = CONTAINERS.get(stream.codec.canonical_name, TAKES_ALL)
        with av.open(out, "w", format=kind, options={"fflags": "+bitexact"}) as target:
            copy = target.add_stream_from_template(stream, opaque=True)  # no encoder is looked for
            copy.metadata.clear()
            for packet in container.demux(stream):
                if not packet.size:  # the end, or a frame that repeats the last
                    continue
                number, copied = number + 1, copied + packet.size
                bounds.check_frames(number)
                if packet.is_corrupt:
                    raise VideoError("video is cut short: its header promises more than there is")
                if copied > len(data):
                    raise VideoError("video whose index names the same bytes again and again")
                late = max(packet.pts or 0, 0) if late is None else late  # frames before 0 are there to be left out
                packet.pts, packet.dts = (None if at is None else at - late for at in (packet.pts, packet.dts))
                packet.stream = copy
                target.mux(packet)
    if not number:
        raise VideoError("no frame in it")
    return out.getvalue()


def _decode_whole(data: bytes, bounds: VideoBounds) -> None:
    """Decode all frames, one in memory at a time."""
    number = pixels = 0
    with opened(data, bounds.pixels) as container:
        stream = _picture(container)
        for frame, _, end in _timed(container, stream):
            number, pixels = number + 1, pixels + frame.width * frame.height
            bounds.check_frames(number)
            bounds.check_size(frame.width, frame.height)
            bounds.check_seconds(end)
            if pixels > bounds.pixels * bounds.seconds * USUAL_FRAMES_HZ:
                raise VideoError("video of more pixels in all than its bounds on seconds and megapixels allow")
            if frame.is_corrupt:
                raise VideoError(f"video is damaged at frame {number}")
    if not number:
        raise VideoError("no frame of it decodes")


def _timed(container: InputContainer, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, Fraction, Fraction]]:
    """Yield frames with the seconds from the first one to their own start and end."""
    first, end = None, Fraction(0)
    usual = 1 / stream.average_rate if stream.average_rate else Fraction(1, 25)
    for frame in container.decode(stream):
        base = frame.time_base or stream.time_base or Fraction(1, 25)
        at = end if frame.pts is None else frame.pts * base
        first = at if first is None else first
        start = max(at - first, Fraction(0))
        end = start + (frame.duration * base if frame.duration else usual)
        yield frame, start, end


def _upright(frame: av.VideoFrame) -> Image.Image:
    """Return a frame as a player turns and mirrors it: x' = a x + c y, y' = b x + d y; no angles between."""
    image, matrix = frame.to_image(), frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(memoryview(matrix), "<i4")[:5]  # type: ignore[arg-type]
    if abs(a) < abs(b):
        image, a, d = image.transpose(Image.Transpose.TRANSPOSE), c, b
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if a < 0 else image
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if d < 0 else image


def _sound(data: bytes, bounds: VideoBounds) -> bytes | None:
    """Decode the first sound whole, from the moment of the first frame on."""
    with opened(data, bounds.pixels) as container:
        if not container.streams.audio:
            return None
        stream, picture = container.streams.audio[0], _picture(container)
        rate_hz, parts, late_s = stream.rate, [np.zeros(0, np.int16)], None
        low, high = RATES_HZ
        if not low <= rate_hz <= high:
            raise VideoError(f"the video's sound at {rate_hz} Hz; allowed are {low} to {high} Hz")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
        length = 0
        for frame in container.decode(stream):
            if late_s is None:
                late_s = _seconds_late(frame, picture)
                bounds.check_seconds(late_s)
                parts.append(np.zeros(max(0, round(late_s * rate_hz)), np.int16))
            parts += [block.to_ndarray()[0] for block in resampler.resample(frame)]
            length += frame.samples
            bounds.check_seconds(Fraction(length, rate_hz))
        parts += [block.to_ndarray()[0] for block in resampler.resample(None)] if late_s is not None else []
    early = max(0, round(-(late_s or 0) * rate_hz))
    samples = np.concatenate(parts)[early:]
    if not len(samples):
        return None
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def _seconds_late(frame: av.AudioFrame, picture: VideoStream) -> Fraction:
    """Return how long after the picture the sound begins; before it: below 0."""
    if frame.pts is None or picture.start_time is None or not frame.time_base or not picture.time_base:
        return Fraction(0)
    return frame.pts * frame.time_base - picture.start_time * picture.time_base
