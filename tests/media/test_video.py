"""Videos are decoded whole within bounds, keep their picture alone, and are sampled by the time of their frames."""

import io
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from stages.base.errors import MediaError
from stages.media.video import VideoBounds, VideoError, clean_video, decode_video, facts, strip
from tests.support.small_data import encode, make_image, sound
from tests.support.videos import LOSSLESS, RATE_HZ, SIZE, SOUND_HZ, TITLE, shades, video

BOUNDS = VideoBounds(seconds=5.0, megapixels=0.1)
SIDE = 16
KINDS = [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("matroska", "libx264"),
    ("mpegts", "libx264"),
    ("mp4", "libsvtav1"),
    ("matroska", "libvpx-vp9"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"),
    ("mpeg", "mpeg2video"),
    ("asf", "msmpeg4v3"),
    ("matroska", "ffv1"),
]


def grey(frames: np.ndarray) -> list[int]:
    """Return the shade of each frame, away from its mark."""
    return frames[:, SIDE // 2, SIDE // 2, 0].astype(int).tolist()


def lossless(**more: object) -> bytes:
    return video(**LOSSLESS | more)


def shown(data: bytes, fps: float = RATE_HZ, number: int = 12) -> list[int]:
    """Return which frame of `shades(10)` is shown at each time, -1 where none is."""
    own = (20 + 180 * np.arange(10) / 9).astype(int)
    return [int(np.abs(own - value).argmin()) if value else -1 for value in grey(decode_video(data, fps, number, SIDE))]


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_the_picture_is_kept_whatever_the_container_and_the_codec(kind, codec):
    data = video(kind=kind, codec=codec)
    clean, no_sound = clean_video(data, BOUNDS)
    assert no_sound is None
    assert shown(clean) == [*range(10), -1, -1]
    assert np.array_equal(decode_video(clean, RATE_HZ, 12, SIDE), decode_video(data, RATE_HZ, 12, SIDE))
    again = clean_video(clean, BOUNDS)[0]
    assert clean_video(data, BOUNDS)[0] == clean and clean_video(again, BOUNDS)[0] == again
    found = facts(clean)
    assert (found.width, found.height) == SIZE and found.seconds == pytest.approx(1.0, abs=0.11)


def test_all_but_the_picture_is_gone():
    data = video(kind="matroska", beside=True, title=TITLE, sound_s=1.0)
    clean, _ = clean_video(data, BOUNDS)
    assert data.count(TITLE.encode()) >= 3 and TITLE.encode() not in clean
    with av.open(io.BytesIO(data)) as before, av.open(io.BytesIO(clean)) as after:
        assert {stream.type for stream in before.streams} == {"video", "audio", "subtitle", "attachment"}
        assert [stream.type for stream in after.streams] == ["video"]
        assert not after.metadata.get("title") and "comment" not in after.streams.video[0].metadata


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_its_sound_is_decoded_to_one_channel_also_where_it_is_longer_than_the_picture(seconds):
    clean, found = clean_video(video(sound_s=seconds), BOUNDS)
    x, rate_hz = soundfile.read(io.BytesIO(found))
    info = soundfile.info(io.BytesIO(found))
    assert (info.format, info.subtype, info.channels, rate_hz) == ("FLAC", "PCM_16", 1, SOUND_HZ)
    assert len(x) / rate_hz == pytest.approx(seconds, abs=0.2)  # blocks of AAC
    spectrum = np.abs(np.fft.rfft(x))
    assert spectrum.argmax() * rate_hz / len(x) == pytest.approx(440, abs=3)
    assert facts(clean).seconds == 1.0
    with pytest.raises(VideoError, match="longer than 1.5 s"):
        clean_video(video(sound_s=2.0), VideoBounds(1.5, 1))


def test_frames_are_those_shown_at_each_time_whatever_the_files_own_rate():
    times = [0, 1, 2, 5, 6, 9, 20, 21, 22, 24]
    data = clean_video(lossless(times=times), BOUNDS)[0]
    assert shown(data, 10, 12) == [0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5]
    assert shown(data, 2, 6) == [0, 3, 5, 5, 6, -1]
    assert shown(data, 20, 6) == [0, 0, 1, 1, 2, 2]
    assert shown(clean_video(lossless(), BOUNDS)[0], 3, 4) == [0, 3, 6, -1]


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts"])
def test_a_start_that_is_not_zero_changes_nothing(kind):
    clean, _ = clean_video(video(kind=kind, times=range(30, 40)), BOUNDS)
    assert shown(clean) == [*range(10), -1, -1]
    assert facts(clean).seconds == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
@pytest.mark.parametrize(("turn", "corner"), [(0, (0, 0)), (90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_a_turned_video_stands_upright(kind, turn, corner):
    clean, _ = clean_video(lossless(kind=kind, turn=turn), BOUNDS)
    frame = decode_video(clean, 1, 1, SIDE)[0, :, :, 0]
    marked = {(y, x) for y in (0, -1) for x in (0, -1) if frame[y, x] > 200}
    assert marked == {corner}


def test_a_real_frame_is_never_zero_and_what_is_behind_the_end_is():
    black = np.zeros((3, 32, 48, 3), np.uint8)
    decoded = decode_video(clean_video(lossless(frames=black), BOUNDS)[0], RATE_HZ, 5, SIDE)
    assert (decoded[:3] == 1).all() and (decoded[3:] == 0).all()


def test_a_single_frame_is_a_video():
    clean, _ = clean_video(video(shades(1)), BOUNDS)
    assert [value > 0 for value in grey(decode_video(clean, RATE_HZ, 3, SIDE))] == [True, False, False]


def test_a_few_frames_are_shown_side_by_side():
    with av.open(io.BytesIO(strip(clean_video(video(), BOUNDS)[0])), format="jpeg_pipe") as image:
        stream = image.streams.video[0]
        assert stream.height == 96 and stream.width == 6 * 96 * SIZE[0] // SIZE[1]


def playlist(address: str) -> list[bytes]:
    return [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile '{address}'\n".encode(),
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\na=control:{address}\nm=video 9 RTP/AVP 96\n".encode(),
        f'<?xml version="1.0"?><MPD type="static"><Period><BaseURL>{address}</BaseURL></Period></MPD>'.encode(),
    ]


def test_a_playlist_is_not_followed_to_a_file(tmp_path):
    (tmp_path / "other.mp4").write_bytes(video())
    for data in playlist(str(tmp_path / "other.mp4")) + playlist(f"file://{tmp_path}/other.mp4"):
        with pytest.raises(VideoError, match="is a playlist, not a video"):
            clean_video(data, BOUNDS)
        with pytest.raises(VideoError):
            decode_video(b"\n" * 20 + data, 1, 1, SIDE)


def test_a_playlist_is_not_followed_to_an_address(tmp_path):
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        playlists = playlist(f"http://127.0.0.1:{server.server_port}/other.ts")
        (tmp_path / "list.m3u8").write_bytes(playlists[0])
        with pytest.raises(av.FFmpegError):  # what the listener hears where FFmpeg is left alone
            av.open(tmp_path / "list.m3u8", options={"protocol_whitelist": "file,http,tcp"})
        heard = len(asked)
        assert heard
        for data in playlists:
            with pytest.raises(VideoError):
                clean_video(data, BOUNDS)
        assert len(asked) == heard
    finally:
        server.shutdown()


def test_the_head_of_a_clean_video_is_true():
    data = video()
    base = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    clean, _ = clean_video(with_box(data, b"mdhd", 16, (36000 * base).to_bytes(4, "big")), BOUNDS)
    assert facts(clean).seconds == 1.0 and clean == clean_video(data, BOUNDS)[0]


def with_box(data: bytes, kind: bytes, at: int, value: bytes) -> bytes:
    """Overwrite bytes of the first box of a kind, counted from behind its name."""
    start = data.index(kind) + 4 + at
    return data[:start] + value + data[start + len(value) :]


def ten_hours(data: bytes) -> bytes:
    """Let the head of a Matroska file announce ten hours, in milliseconds."""
    start = data.index(b"\x44\x89\x88") + 3
    return data[:start] + struct.pack(">d", 36000e3) + data[start + 8 :]


HOSTILE = {
    "empty": (lambda: b"", "video is empty"),
    "noise": (lambda: np.random.default_rng(0).bytes(5000), "video does not open; expected MP4, MOV, Matroska"),
    "JPEG": (lambda: encode(make_image()), "is an image (JPEG), not a video"),
    "GIF": (lambda: encode(make_image(), "GIF"), "is an image (GIF), not a video"),
    "AVIF": (lambda: encode(make_image(), "AVIF"), "is an image, not a video"),
    "WAV": (sound, "is a sound (WAV), not a video"),
    "no picture": (lambda: only_sound(), "no video stream in it"),
    "ten hours": (lambda: ten_hours(video(kind="matroska")), "video longer than 5 s"),
    "a long frame": (lambda: video(times=[*range(9), 300]), "video longer than 5 s"),
    "long without a head": (lambda: video(kind="mpegts", times=[*range(9), 300]), "video longer than 5 s"),
    "many frames": (lambda: video(shades(700), times=range(700)), "video longer than 5 s"),
    "large": (lambda: video(shades(1, (640, 480))), "video of 640 x 480 pixels; at most 0.1 megapixels allowed"),
    "an index without measure": (
        lambda: with_box(video(), b"stsz", 4, (1).to_bytes(4, "big") + (2**28).to_bytes(4, "big")),
        "video with an index of 268435456 places",
    ),
    "edits without measure": (
        lambda: with_box(video(), b"elst", 4, (2**24).to_bytes(4, "big")),
        "video with an index of 167772160 places",
    ),
}


def only_sound() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", SOUND_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SOUND_HZ, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video_within_bounds_is_refused_with_the_reason(name):
    make, reason = HOSTILE[name]
    with pytest.raises(MediaError) as caught:
        clean_video(make(), BOUNDS)
    assert isinstance(caught.value, VideoError) and str(caught.value).startswith(reason)


def test_more_frames_or_pixels_than_the_bounds_make_are_refused():
    with pytest.raises(VideoError, match="more than 24 frames|longer"):
        clean_video(video(shades(50), times=range(50)), VideoBounds(0.2, 1))
    with pytest.raises(VideoError, match="more pixels in all"):
        clean_video(dense(100, 100), VideoBounds(1.0, SIZE[0] * SIZE[1] / 1e6))


def dense(number: int, rate_hz: int) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate_hz)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for pixels in shades(number):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "webm", "avi"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_video_that_is_cut_short_is_refused(kind, share):
    data = video(kind=kind, codec="libvpx" if kind == "webm" else "mpeg4")
    with pytest.raises(VideoError, match="cut short"):
        clean_video(data[: int(len(data) * share)], BOUNDS)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_changed_at_random_end_in_a_video_or_in_a_reason(seed):
    rng = np.random.default_rng(seed)
    kind, codec = KINDS[seed % len(KINDS)]
    data = np.frombuffer(video(kind=kind, codec=codec, sound_s=0.3 * (kind == "mp4")), np.uint8).copy()
    data[rng.integers(0, len(data), 12)] = rng.integers(0, 256, 12)
    try:
        clean, _ = clean_video(data.tobytes(), BOUNDS)
    except VideoError as error:
        assert str(error)
    else:
        assert decode_video(clean, RATE_HZ, 5, SIDE).shape == (5, SIDE, SIDE, 3)


PEAK = """
import sys
from pathlib import Path
from stages.media.video import VideoBounds, VideoError, clean_video
from tests.support.videos import video
clean_video(Path(sys.argv[1]).read_bytes(), VideoBounds(5, 1))  # what the libraries need
def peak_kb():  # of this program alone: what getrusage says counts the process that started it
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak_kb()
try:
    clean_video(Path(sys.argv[2]).read_bytes(), VideoBounds(5, 1))
    print("taken")
except VideoError as error:
    print(error)
print((peak_kb() - before) // 1024)
"""
FRAME_MB = 7680 * 4320 * 1.5 / 2**20


@pytest.mark.parametrize(
    ("name", "reason"), [("said", "video of "), ("hidden", "video of "), ("index", "video with an index")]
)
def test_memory_stays_bounded_whatever_a_file_hides(tmp_path, name, reason):
    small, large = video(), video(np.zeros((2, 4320, 7680, 3), np.uint8), codec="mpeg4")
    assert len(large) < 5e5
    if name == "hidden":  # the boxes say 64 x 64, the frames themselves are large
        size = (7680).to_bytes(2, "big") + (4320).to_bytes(2, "big")
        large = large.replace(size, (64).to_bytes(2, "big") * 2)
        size = (7680 << 16).to_bytes(4, "big") + (4320 << 16).to_bytes(4, "big")
        large = large.replace(size, (64 << 16).to_bytes(4, "big") * 2)
    elif name == "index":
        large = with_box(small, b"stsz", 4, (1).to_bytes(4, "big") + (2**27).to_bytes(4, "big"))
    for path, data in {"small": small, "large": large}.items():
        (tmp_path / path).write_bytes(data)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")]
    root = Path(__file__).parents[2]  # wherever other tests have gone
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    *_, told, grown_mb = done.stdout.splitlines()
    assert told.startswith(reason)
    assert (
        int(grown_mb) < FRAME_MB
    )  # FFmpeg takes half of that for its tables before it counts; two frames without bounds
