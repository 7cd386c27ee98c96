"""Images lose what they carry beside the picture, and the picture stays bit by bit where it can."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stages.media.images import ImageError, clean_image, open_image, to_square
from tests.support.small_data import encode, make_image, pixels

LIMIT = 10**6
SECRET = "taken at 52.5 N 13.4 E"
PUBLISHED = {  # EXIF orientation -> numpy operation that shows the picture as it was taken
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def exif(orientation: int | str | None = None) -> Image.Exif:
    """Make a block with a description and, where asked, an orientation."""
    block = Image.Exif()
    block[0x010E] = SECRET
    if orientation is not None:
        block[0x0112] = orientation
    return block


def png_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    info.add_itxt("XML:com.adobe.xmp", SECRET)
    return info


def plain_png(width: int, height: int) -> bytes:
    """Write a black PNG of one bit a pixel, larger than Pillow would make it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(make_image(), "JPEG", exif=exif(1), comment=SECRET), id="JPEG"),
        pytest.param(encode(make_image(), "JPEG", exif=exif(), progressive=True), id="progressive JPEG"),
        pytest.param(encode(make_image(mode="L"), "JPEG", exif=exif(), xmp=SECRET.encode()), id="grey JPEG"),
        pytest.param(encode(make_image(mode="CMYK"), "JPEG", exif=exif()), id="CMYK JPEG"),
        pytest.param(encode(make_image(), "PNG", exif=exif(1), pnginfo=png_text()), id="PNG"),
        pytest.param(encode(make_image(mode="RGBA"), "PNG", pnginfo=png_text()), id="PNG with alpha"),
        pytest.param(encode(make_image(mode="P"), "PNG", pnginfo=png_text()), id="PNG with palette"),
        pytest.param(encode(make_image(), "JPEG", exif=exif(9)), id="JPEG of no known orientation"),
    ],
)
def test_an_upright_image_loses_its_metadata_and_keeps_its_pixels(data):
    clean = clean_image(data, LIMIT)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(clean))
    assert SECRET.encode() in data
    assert SECRET.encode() not in clean
    assert not after.getexif()
    assert (after.format, after.mode) == (before.format, before.mode)
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
    if before.mode == "P":
        assert after.getpalette() == before.getpalette()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_without_metadata_comes_back_byte_for_byte(kind):
    data = encode(make_image(), kind)
    assert clean_image(data, LIMIT) == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cleaning_twice_is_cleaning_once(kind):
    clean = clean_image(encode(make_image(), kind, exif=exif(6)), LIMIT)
    assert clean_image(clean, LIMIT) == clean


@pytest.mark.parametrize(("orientation", "turn"), PUBLISHED.items())
def test_the_orientation_of_exif_is_applied(orientation, turn):
    data = encode(make_image(), "PNG", exif=exif(orientation))
    clean = clean_image(data, LIMIT)
    assert SECRET.encode() not in clean
    np.testing.assert_array_equal(pixels(clean), turn(pixels(data)))


def test_a_turned_jpeg_stays_a_jpeg_with_nearly_the_same_pixels():
    data = encode(make_image(size=(64, 48)), "JPEG", exif=exif(6))
    clean = clean_image(data, LIMIT)
    assert Image.open(io.BytesIO(clean)).format == "JPEG"
    difference = pixels(clean).astype(int) - np.rot90(pixels(data), -1)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"no tiff header", id="no header"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"II*\0\x08\0\0\0\xff\xff", id="list cut short"),
        pytest.param(b"II*\0\x08\0\0\0\1\0\x12\1\3\0\xff\xff\xff\xff\0\0\0\0", id="2**32 - 1 orientations"),
        pytest.param(b"II*\0\x08\0\0\0\1\0\x12\1\2\0\2\0\0\0x\0\0\0\0\0\0\0", id="a word as orientation"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Tag data larger than file")
def test_broken_exif_does_not_spoil_the_image(kind, block):
    data = encode(make_image(), kind, exif=b"Exif\0\0" + block)
    clean = clean_image(data, LIMIT)
    assert b"Exif" not in clean
    np.testing.assert_array_equal(pixels(clean), pixels(data))


@pytest.mark.parametrize(("kind", "mode"), [("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK")])
def test_other_kinds_become_png(kind, mode):
    data = encode(make_image(mode=mode), kind)
    clean = Image.open(io.BytesIO(clean_image(data, LIMIT)))
    assert clean.format == "PNG"
    np.testing.assert_array_equal(np.asarray(clean.convert("RGB")), pixels_rgb(data))


def pixels_rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_of_a_moving_image_the_first_picture_stays(kind):
    frames = [make_image(seed) for seed in range(3)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    clean = Image.open(io.BytesIO(clean_image(data, LIMIT)))
    assert getattr(clean, "n_frames", 1) == 1
    np.testing.assert_array_equal(np.asarray(clean.convert("RGB")), pixels_rgb(data))


@pytest.mark.parametrize("read", [lambda data: clean_image(data, LIMIT), lambda data: to_square(data, 8)])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>404</html>", id="a page"),
        pytest.param(encode(make_image())[:-200], id="JPEG cut short"),
        pytest.param(encode(make_image(), "PNG")[:-30], id="PNG cut short"),
        pytest.param(encode(make_image(), "PNG").replace(b"IDAT", b"IDAX"), id="PNG without a picture"),
        pytest.param(encode(make_image(), "GIF")[:40], id="GIF cut short"),
        pytest.param(encode(make_image(), "BMP")[:60], id="BMP cut short"),
    ],
)
def test_what_does_not_decode_is_refused(data, read):
    with pytest.raises(ImageError, match="image does not decode: "):
        read(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_are_refused_or_give_an_image():
    data = encode(make_image(), "TIFF", exif=exif(6))
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random.integers(200)] ^= int(random.integers(1, 256))
        try:
            clean = clean_image(bytes(damaged), LIMIT)
        except ImageError:
            refused += 1
        else:
            assert pixels(clean).size
    assert 0 < refused < 300


@pytest.mark.parametrize("read", [open_image, clean_image, lambda data, limit: to_square(data, 8, limit)])
def test_an_image_of_too_many_pixels_is_refused_with_its_size(read):
    data = plain_png(300, 200)
    read(data, 60_000)
    with pytest.raises(ImageError, match="image of 300 x 200 pixels; at most 59999 allowed"):
        read(data, 59_999)


def test_a_huge_image_is_refused_before_it_is_decoded():
    data = plain_png(12_000, 12_000)  # 144 megapixels in some kilobytes, past the size at which Pillow warns
    with pytest.raises(ImageError, match="image of 12000 x 12000 pixels; at most 1000000 allowed"):
        clean_image(data, LIMIT)
    with pytest.raises(ImageError, match="image does not decode: .*exceeds limit"):
        clean_image(plain_png(20_000, 20_000), LIMIT)


@pytest.mark.filterwarnings("error")
def test_the_bound_may_be_higher_than_where_pillow_warns():
    assert open_image(plain_png(10_000, 9_000), 90_000_000).size == (10_000, 9_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_square_is_the_whole_picture_in_rgb(kind, mode):
    image = make_image(size=(40, 20), mode=mode)
    square = to_square(encode(image, kind), 16)
    wanted = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR), dtype=int)
    assert (square.shape, square.dtype) == ((16, 16, 3), np.uint8)
    assert np.abs(square - wanted).mean() < 4


def test_an_image_of_the_right_size_is_not_resampled():
    image = make_image(size=(16, 16))
    np.testing.assert_array_equal(to_square(encode(image, "PNG"), 16), np.asarray(image))
