"""Images as encoded bytes: checked that they decode, stripped of metadata without loss where possible, and decoded.

What a person sees in a viewer is what is kept and decoded; `colours` has the rules.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.base.errors import MediaError
from stages.media.colours import WHITE, displayed

JPEG_KEPT_APPS = {0xE0, 0xEE}  # JFIF and Adobe: they say how to read the colours
PNG_DROPPED = {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP"}  # a profile that changes a colour is applied
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # others of Pillow's may start programs
MAX_FRAMES = 256  # of an animation or a stack, whose first one is used
ORIENTATION_TAG = 0x0112
TURNS = {  # EXIF orientation -> what brings it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(MediaError):
    """The bytes are no image that can be used; the message is the reason."""


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image whole.

    Raises:
        ImageError: when it does not decode or has more than `max_pixels` pixels.
    """
    with _decoding(), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound is `max_pixels`
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image, max_pixels)
        if (frames := getattr(image, "n_frames", 1)) > MAX_FRAMES:
            raise ImageError(f"image of {frames} frames; at most {MAX_FRAMES} allowed")
        image.load()
    return image


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Name the reason, whichever error: Pillow raises many kinds on broken bytes."""
    try:
        yield
    except MediaError as error:
        raise ImageError(str(error)) from None
    except UnidentifiedImageError:  # its own message holds an address in memory
        raise ImageError(f"image does not decode: none of {', '.join(FORMATS)}") from None
    except Exception as error:
        raise ImageError(f"image does not decode: {error}") from None


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError(f"image of {image.width} x {image.height} pixels; at most {max_pixels} allowed")


def clean_image(data: bytes, max_pixels: int, background: str = WHITE) -> bytes:
    """Return the image without EXIF, comments and other metadata, as a person sees it; see `clean_and_tell`.

    Raises:
        ImageError: when it does not decode or is too large.
    """
    return clean_and_tell(data, max_pixels, background)[0]


def clean_and_tell(data: bytes, max_pixels: int, background: str = WHITE) -> tuple[bytes, list[str]]:
    """Return the image without metadata, upright, in 8 bits of sRGB and on a background; and what that altered.

    A JPEG or PNG that is so already keeps its pixels bit by bit; others are encoded anew (JPEG at quality 95, else
    PNG). What is altered is named by the keys of `colours.SAID`.

    Raises:
        ImageError: when it does not decode or is too large.
    """
    image = open_image(data, max_pixels)
    with _decoding():
        shown, altered = displayed(image, data, background)
    turn = TURNS.get(_orientation(image))
    several = getattr(image, "n_frames", 1) > 1
    altered += ["images_turned"] * (turn is not None) + ["images_first_frame"] * several
    if image.format == "JPEG" and not altered:
        return _strip_jpeg(data), altered
    if image.format == "PNG" and not altered:
        return _strip_png(data), altered
    return _encoded(shown if turn is None else shown.transpose(turn), image.format), altered


def _encoded(image: Image.Image, kind: str | None) -> bytes:
    kind = "JPEG" if kind == "JPEG" else "PNG"
    out = io.BytesIO()
    with _decoding():
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA") or kind == "JPEG":
            image = image.convert("RGB")
        image = image.copy()
        image.info.clear()
        image.save(out, kind, quality=95)
    return out.getvalue()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; EXIF that cannot be read says nothing, and goes anyway."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # as many kinds as broken blocks
        return 1


def _strip_jpeg(data: bytes) -> bytes:
    """Drop application and comment segments up to the first scan (ITU T.81, annex B)."""
    out, at = bytearray(data[:2]), 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in JPEG_KEPT_APPS:
            out += data[at:end]
        at = end
    return bytes(out + data[at:])


def _strip_png(data: bytes) -> bytes:
    """Drop text, time and EXIF chunks (PNG specification, chunk layout)."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in PNG_DROPPED:
            out += data[at:end]
        at = end
    return bytes(out)


def to_rgb(data: bytes, size_px: int | None = None, max_pixels: int = 10**9) -> Image.Image:
    """Decode to RGB as a person sees it; a JPEG far larger than `size_px` is decoded smaller."""
    with _decoding():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image, max_pixels)
        if size_px:
            image.draft("RGB", (2 * size_px, 2 * size_px))
        image.load()
        shown, _ = displayed(image, data, WHITE)
        turn = TURNS.get(_orientation(image))
        return (shown if turn is None else shown.transpose(turn)).convert("RGB")


def to_square(data: bytes, size_px: int, max_pixels: int = 10**9) -> np.ndarray:
    """Decode to RGB as a person sees it and resize the whole picture to a square, uint8 (size_px, size_px, 3)."""
    rgb = to_rgb(data, size_px, max_pixels)
    with _decoding():
        return squared(rgb, size_px)


def squared(rgb: Image.Image, size_px: int) -> np.ndarray:
    """Resize a whole picture to a square, uint8 (size_px, size_px, 3)."""
    if rgb.size != (size_px, size_px):
        rgb = rgb.resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(rgb)
