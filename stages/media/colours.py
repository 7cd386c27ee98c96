"""Any image as a person sees it in a viewer: 8 bits a channel, in sRGB, on a background where it is transparent.

Numbers are scaled by what their format can hold, never by what one image holds: equal numbers stay equal everywhere.
"""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from stages.base.errors import MediaError

WHITE = "white"  # behind what is transparent, where params do not say otherwise
SAID = {  # what can be altered, and how it is told; `{background}` is a colour
    "images_transparent": "with transparency put on {background}",
    "images_deep": "of more than 8 bits scaled by the range of their format",
    "images_dark": "of these so dark in that range that they are nearly black",
    "images_profile": "of another colour space or profile turned into sRGB",
    "images_turned": "turned upright by their EXIF",
    "images_first_frame": "of several frames, of which the first is taken",
}
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
DARK = 32  # of 255: the highest value of what counts as nearly black
SAME = 3  # of 255: what profiles may differ by and still be called equal
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of ICC: the mode that such a profile is for
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF 6.0
WHITE_IS_ZERO, SIGNED = 0, 2  # their values


def displayed(image: Image.Image, data: bytes, background: str) -> tuple[Image.Image, list[str]]:
    """Return a loaded image as it is shown, and the keys of `SAID` for what that altered.

    An image of 8 bits or less without transparency and profile comes back as it is.

    Raises:
        MediaError: when its numbers have no range, so that no one can say what they look like.
    """
    altered: list[str] = []
    profile = image.info.get("icc_profile") or b""
    alpha = _alpha(image, data)
    if image.mode in DEEP:
        image = _eight_bits(image)
        altered.append("images_deep")
        if np.asarray(image).max() < DARK:
            altered.append("images_dark")
    in_srgb = _in_srgb(image, profile)
    if in_srgb is not None:
        image = in_srgb
        altered.append("images_profile")
    if alpha is not None:
        image = _on(image, alpha, background)
        altered.append("images_transparent")
    return image, altered


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale whole numbers by the range of their format, and fractions from 0..1, to 0..255."""
    numbers = np.asarray(image)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "F":
        share = _fractions(numbers)
    else:
        bits = tags.get(BITS, (16,))[0]  # PNG and PGM of more than 8 bits come as 16
        low = -(2 ** (bits - 1)) if tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED else 0
        if bits == 32 and not low:
            numbers = numbers.view(np.uint32)  # Pillow gives them signed
        share = (numbers.astype(np.float64) - low) / (2**bits - 1)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        share = 1 - share
    return Image.fromarray(np.rint(255 * share).astype(np.uint8))


def _fractions(numbers: np.ndarray) -> np.ndarray:
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and high <= 1:
        return numbers.astype(np.float64)
    raise MediaError(
        f"image of floating point numbers from {low:g} to {high:g}, whose black and white no one can know; allowed are "
        "numbers from 0 (black) to 1 (white): divide them, or save the image with 8 or 16 bits"
    )


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the colours in sRGB; None where they are that already, or nothing can be read of what they are."""
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _from_lab())
    mode = image.mode if image.mode in ("L", "CMYK") else "L" if image.mode in ("1", "LA") else "RGB"
    transform = _transform(profile, mode) if profile else None
    return None if transform is None else ImageCms.applyTransform(image.convert(mode), transform)


@functools.lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=ImageCms.Flags.NOCACHE)


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what brings colours of a profile to sRGB; None where it changes none, is broken or is for others."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if SPACES.get(opened.profile.xcolor_space) != mode:
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, srgb, mode, "RGB", flags=ImageCms.Flags.NOCACHE)
        colours = _all_colours(mode)
        after = ImageCms.applyTransform(colours, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    change = np.asarray(after, np.int16) - np.asarray(colours.convert("RGB"), np.int16)
    return transform if np.abs(change).max() > SAME else None


def _all_colours(mode: str) -> Image.Image:
    """Make an image of every colour of a mode, in steps of 15."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    if bands == 4:  # CMYK, in larger steps
        steps = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 4), axis=-1)
    else:
        steps = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * bands), axis=-1)
    flat = steps.reshape(1, -1, bands).astype(np.uint8)
    return (
        Image.fromarray(flat[..., 0]) if bands == 1 else Image.merge(mode, [Image.fromarray(b) for b in _bands(flat)])
    )


def _bands(flat: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(flat[..., band]) for band in range(flat.shape[-1])]


def _alpha(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return how opaque each pixel is, 0 to 255; None where all are whole."""
    if not image.has_transparency_data:
        return None
    if "A" in image.getbands() or image.mode == "P":
        alpha = image.convert("RGBA").getchannel("A")
    else:
        alpha = _keyed(image, data)
    low, high = alpha.getextrema()
    unused = image.format == "BMP" and high == 0  # programs leave the fourth byte empty
    return None if low == 255 or unused else alpha


def _keyed(image: Image.Image, data: bytes) -> Image.Image:
    """Return the alpha of a PNG in which one colour stands for transparent (tRNS), given in the file's own depth."""
    numbers = np.asarray(image.convert("L") if image.mode == "1" else image)
    key = np.array(image.info["transparency"])
    depth = data[24] if image.format == "PNG" else 8  # IHDR
    if image.mode == "L":
        key = key * 255 // (2**depth - 1)  # as Pillow scales the pixels
    elif image.mode == "RGB" and depth == 16:
        key = key >> 8
    same = numbers == key
    return Image.fromarray(np.where(same.all(-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8))


def _on(image: Image.Image, alpha: Image.Image, background: str) -> Image.Image:
    """Lay an image on a background of one colour."""
    shown = image.convert("RGBA" if image.mode == "P" else "RGB")
    shown.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", image.size, background), shown).convert("RGB")
