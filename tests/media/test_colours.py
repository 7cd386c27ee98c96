"""What is cleaned and decoded is what a viewer shows: every mode in every format, against a reading by hand."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from stages.media.images import ImageError, clean_and_tell, clean_image, to_square
from tests.support.small_data import encode, make_image

LIMIT = 10**6
SIZE = (24, 24)
LOSSLESS = {  # format -> modes that Pillow writes in it without a loss
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I", "F", "CMYK", "YCbCr"),
    "PPM": ("1", "L", "RGB", "I;16", "I", "F"),
}
OPTIONS = {"WEBP": {"lossless": True, "exact": True}}
TURNED = {1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a, -1), 8: lambda a: np.rot90(a, 1)}
BACKGROUNDS = {"white": (255, 255, 255), "#204060": (32, 64, 96)}
CASES = [(kind, mode) for kind, modes in LOSSLESS.items() for mode in modes]


def truth(mode: str) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """Make an image of a mode; return it with its colours (H, W, 3) and alpha (H, W, 1) in 0..1, by hand."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    ramp = (x + y * SIZE[0]) / (SIZE[0] * SIZE[1] - 1)
    colours = np.asarray(make_image(5, SIZE)) / 255
    alpha = np.rint(255 * np.clip(1.5 * ramp - 0.25, 0, 1)) / 255
    opaque, grey = np.ones((*ramp.shape, 1)), np.repeat(ramp[..., None], 3, 2)
    byte = np.rint(255 * ramp).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(ramp > 0.4), (grey > 0.4).astype(float), opaque
    if mode == "L":
        return Image.fromarray(byte), grey, opaque
    if mode in ("I;16", "I;16B"):
        deep = np.rint(65535 * ramp).astype(">u2" if mode == "I;16B" else "<u2")
        return Image.frombytes(mode, SIZE, deep.tobytes()), grey, opaque
    if mode == "I":
        return Image.fromarray(np.rint(65535 * ramp).astype(np.int32)), grey, opaque
    if mode == "F":
        return Image.fromarray(ramp.astype(np.float32)), grey, opaque
    mask = Image.fromarray(np.rint(255 * alpha).astype(np.uint8))
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(byte), mask]), grey, alpha[..., None]
    image = Image.fromarray(np.rint(255 * colours).astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(mask)
        return image, colours, alpha[..., None]
    if mode == "CMYK":
        inks = np.rint(255 * np.stack([1 - c for c in colours.transpose(2, 0, 1)] + [ramp / 2], -1)).astype(np.uint8)
        inks_01 = inks / 255
        return Image.frombytes("CMYK", SIZE, inks.tobytes()), (1 - inks_01[..., :3]) * (1 - inks_01[..., 3:]), opaque
    if mode == "P":
        image = image.quantize(32)
        palette = np.array(image.getpalette(), float).reshape(-1, 3) / 255
        return image, palette[np.asarray(image)], opaque
    return image.convert(mode), colours, opaque


def written(kind: str, mode: str, image: Image.Image, **options) -> bytes:
    """Encode; whole numbers of a TIFF over the range of unsigned 32 bits, which Pillow itself would not write."""
    if (kind, mode) == ("TIFF", "I"):
        numbers = (np.asarray(image).astype(np.uint64) * 65537).astype(np.uint32).view(np.int32)
        return as_unsigned(encode(Image.fromarray(numbers), kind))
    return encode(image, kind, **OPTIONS.get(kind, {}), **options)


def as_unsigned(data: bytes) -> bytes:
    """Change the sample format (tag 339, a short, one of it) of a little-endian TIFF from signed to unsigned."""
    signed, unsigned = (b"\x53\x01\x03\x00\x01\x00\x00\x00" + bytes([kind, 0]) for kind in (2, 1))
    assert data.count(signed) == 1
    return data.replace(signed, unsigned)


def shown(colours: np.ndarray, alpha: np.ndarray, background: str) -> np.ndarray:
    return 255 * colours * alpha + np.array(BACKGROUNDS[background]) * (1 - alpha)


def rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_a_viewer_shows_what_is_kept(kind, mode, turn, background):
    if turn != 1 and kind not in ("PNG", "WEBP", "TIFF"):
        pytest.skip("the format holds no EXIF")
    image, colours, alpha = truth(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    data = written(kind, mode, image, **({"exif": exif} if turn != 1 else {}))
    if turn != 1 and (kind, mode) == ("TIFF", "I"):
        pytest.skip("written without EXIF")
    wanted = TURNED[turn](shown(colours, alpha, background))
    clean = clean_image(data, LIMIT, background)
    np.testing.assert_allclose(rgb(clean), wanted, atol=3 if mode == "YCbCr" else 1.01)
    assert Image.open(io.BytesIO(clean)).mode not in ("RGBA", "LA", "I;16", "F") or (alpha == 1).all()
    assert clean_and_tell(clean, LIMIT, background) == (clean, [])
    on_white = TURNED[turn](shown(colours, alpha, "white"))
    np.testing.assert_allclose(to_square(data, SIZE[0]).astype(float), on_white, atol=3 if mode == "YCbCr" else 1.01)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("turn", TURNED)
def test_a_viewer_shows_what_is_kept_of_a_jpeg(mode, turn):
    image, colours, alpha = truth(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(image, "JPEG", quality=100, subsampling=0, exif=exif)
    wanted = TURNED[turn](shown(colours, alpha, "white"))
    encoded_again = 2.5 * (turn != 1)  # with half the colours' resolution
    assert np.abs(rgb(clean_image(data, LIMIT)) - wanted).mean() < 2.5 + encoded_again
    assert np.abs(to_square(data, SIZE[0]) - wanted).mean() < 2.5


@pytest.mark.parametrize(
    ("kind", "transparency"),
    [("PNG", 3), ("GIF", 3), ("PNG", bytes([0, 40, 80, 120, 160, 200, 240]))],
    ids=["PNG index", "GIF index", "PNG table"],
)
def test_a_palette_may_be_transparent(kind, transparency):
    image, colours, _ = truth("P")
    table = np.ones(256)
    if isinstance(transparency, int):
        table[transparency] = 0
    else:
        table[: len(transparency)] = np.frombuffer(transparency, np.uint8) / 255
    alpha = table[np.asarray(image)][..., None]
    assert (alpha < 1).any()
    data = encode(image, kind, transparency=transparency)
    for background in BACKGROUNDS:
        wanted = shown(colours, alpha, background)
        clean, altered = clean_and_tell(data, LIMIT, background)
        np.testing.assert_allclose(rgb(clean), wanted, atol=1.01)
        assert altered == ["images_transparent"]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_one_colour_of_a_png_may_stand_for_transparent(mode):
    image, colours, _ = truth(mode)
    key = image.getpixel((7, 7))
    same = np.asarray(image) == np.array(key, np.asarray(image).dtype)
    same = same.all(-1) if same.ndim == 3 else same
    alpha = np.where(same, 0.0, 1.0)[..., None]
    data = encode(image, "PNG", transparency=min(key, 1) if mode == "1" else key)
    wanted = shown(colours, alpha, "#204060")
    np.testing.assert_allclose(rgb(clean_image(data, LIMIT, "#204060")), wanted, atol=1.01)


def test_an_icon_of_black_on_nothing_is_seen():
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[8:16, 4:20, 3] = 255
    square = to_square(encode(Image.fromarray(pixels), "PNG"), 24)
    assert (square[8:16, 4:20] == 0).all() and (square[0] == 255).all()


PROFILES = {  # gamma of a profile made for the test -> how its numbers become light
    1.0: lambda v: v,
    1.8: lambda v: v**1.8,
}


def grey_profile(gamma: float) -> bytes:
    """Make an ICC profile (version 2.1) of grey with a white point and a gamma, as ICC.1:2001-04 lays it out."""
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    white = b"XYZ " + bytes(4) + b"".join(v.to_bytes(4, "big") for v in (0xF6D6, 0x10000, 0xD32D))
    tags = {b"kTRC": curve, b"wtpt": white}
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        table += name + (at + len(body)).to_bytes(4, "big") + len(tag).to_bytes(4, "big")
        body += tag
    head = bytes(4) + bytes(4) + bytes([2, 0x10, 0, 0]) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head += b"".join(v.to_bytes(4, "big") for v in (0xF6D6, 0x10000, 0xD32D)) + bytes(48)
    whole = head + len(tags).to_bytes(4, "big") + table + body
    return len(whole).to_bytes(4, "big") + whole[4:]


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Return numbers of light as sRGB codes 0..1 (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", PROFILES)
@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "L"), ("PNG", "I;16"), ("TIFF", "L"), ("TIFF", "I;16"), ("JPEG", "L")]
)
def test_a_profile_is_applied_before_it_goes(kind, mode, gamma):
    image, grey, _ = truth(mode)
    options = {"quality": 100} if kind == "JPEG" else {}
    data = encode(image, kind, icc_profile=grey_profile(gamma), **options)
    wanted = 255 * to_srgb(PROFILES[gamma](np.rint(255 * grey) / 255))
    clean, altered = clean_and_tell(data, LIMIT)
    assert "images_profile" in altered
    assert "icc_profile" not in Image.open(io.BytesIO(clean)).info
    difference = np.abs(rgb(clean) - wanted)
    assert difference.mean() < 3 and np.percentile(difference, 90) < 5
    assert np.abs(to_square(data, SIZE[0]) - wanted).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), id="sRGB itself"),
        pytest.param(b"no profile", id="broken"),
        pytest.param(grey_profile(1.0), id="of grey, in a picture of colours"),
    ],
)
def test_a_profile_that_changes_nothing_or_says_nothing_goes_and_the_picture_stays(kind, profile):
    plain = encode(make_image(), kind)
    assert clean_and_tell(encode(make_image(), kind, icc_profile=profile), LIMIT) == (plain, [])


def test_lab_is_shown_in_srgb():
    image, colours, _ = truth("RGB")
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    data = encode(ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB"), "TIFF")
    difference = np.abs(rgb(clean_image(data, LIMIT)) - 255 * colours)
    assert difference.mean() < 3
    assert clean_and_tell(data, LIMIT)[1] == ["images_profile"]


def tiff(image: Image.Image, **tags: int) -> bytes:
    return encode(image, "TIFF", tiffinfo={int(tag[1:]): value for tag, value in tags.items()})


def test_a_tiff_whose_white_is_zero_is_turned_round():
    image, colours, _ = truth("I;16")
    np.testing.assert_allclose(rgb(clean_image(inverted(tiff(image)), LIMIT)), 255 * (1 - colours), atol=1.01)


def inverted(data: bytes) -> bytes:
    """Change the photometric interpretation (tag 262, a short, one of it) from black is zero to white is zero."""
    black = b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00"
    assert data.count(black) == 1
    return data.replace(black, black[:-2] + b"\x00\x00")


def test_signed_numbers_have_the_range_of_their_type():
    _, colours, _ = truth("L")
    numbers = np.rint(colours[..., 0] * (2**32 - 1) - 2**31).astype(np.int32)
    np.testing.assert_allclose(rgb(clean_image(tiff(Image.fromarray(numbers)), LIMIT)), 255 * colours, atol=1.01)


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
@pytest.mark.parametrize(("factor", "found"), [(255, "from 0 to 255"), (-1, "from -1 to -0"), (np.nan, "from nan")])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_floats_without_a_range_are_refused_with_what_is_there(kind, factor, found):
    image, _, _ = truth("F")
    data = encode(Image.fromarray(np.asarray(image) * np.float32(factor)), kind)
    for read in (lambda: clean_image(data, LIMIT), lambda: to_square(data, 8)):
        with pytest.raises(ImageError, match=f"floating point numbers {found}.*allowed are numbers from 0"):
            read()


def test_equal_numbers_of_sixteen_bits_look_equal_in_every_image():
    dim, bright = (Image.fromarray(np.array([[1000, top]], np.uint16)) for top in (2000, 60000))
    first, second = (rgb(clean_image(encode(image, "PNG"), LIMIT))[0, 0, 0] for image in (dim, bright))
    assert first == second == round(1000 / 257)
    assert clean_and_tell(encode(dim, "PNG"), LIMIT)[1] == ["images_deep", "images_dark"]
    assert clean_and_tell(encode(bright, "PNG"), LIMIT)[1] == ["images_deep"]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_what_moves_is_laid_on_the_background(kind):
    frames = [truth("RGBA")[0].rotate(90 * turn) for turn in range(3)]
    if kind == "GIF":
        frames = [frame.convert("RGBA").quantize(32) for frame in frames]
    still = frames[0].convert("RGBA")
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **OPTIONS.get(kind, {}))
    clean, altered = clean_and_tell(data, LIMIT)
    alpha = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3:] / 255
    wanted = shown(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., :3] / 255, alpha, "white")
    assert still.size == SIZE and "images_first_frame" in altered
    np.testing.assert_allclose(rgb(clean), wanted, atol=1.01)


def bmp(pixels: np.ndarray) -> bytes:
    """Write a BMP of version 4 with masks for red, green, blue and alpha, rows from the bottom."""
    height, width, _ = pixels.shape
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks
    info = info.ljust(108, b"\0")
    body = np.ascontiguousarray(pixels[::-1]).tobytes()
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def test_a_bmp_of_four_channels_is_laid_on_the_background_but_not_where_the_fourth_is_left_empty():
    image, colours, alpha = truth("RGBA")
    pixels = np.array(image)
    np.testing.assert_allclose(rgb(clean_image(bmp(pixels), LIMIT)), shown(colours, alpha, "white"), atol=1.01)
    pixels[..., 3] = 0
    np.testing.assert_allclose(rgb(clean_image(bmp(pixels), LIMIT)), 255 * colours, atol=1.01)
