"""Renders scenes and clips: flat shapes drawn at four times the size, then light, texture and noise on the pixels."""

from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageDraw

from stages.sources.scenes.motion import Moment
from stages.sources.scenes.world import Scene, Thing

Rgb = tuple[int, int, int]

OVERSAMPLING = 4
RGB = {
    "red": (215, 35, 35),
    "orange": (250, 135, 20),
    "yellow": (245, 225, 35),
    "green": (35, 155, 55),
    "cyan": (50, 215, 225),
    "blue": (40, 75, 230),
    "purple": (130, 45, 175),
    "pink": (250, 140, 195),
}
ARM_LEAN = 0.33
"""Half the thickness of an arm of a cross, as the angle at which it is seen from the centre."""
COLOUR_JITTER = 8
"""The most by which a channel strays from the colour of its name, of 255."""
GREYS = {"dark": (45, 45), "light": (205, 205), "striped": (62, 122), "fading": (25, 215)}
"""The two ends of a background, of 255."""
STRIPES = 4.5
RING_BAND = 0.45
"""The band of a ring, in radii."""
SHADOW = 0.035
"""How far a shadow falls, as a share of the frame."""
SHADOW_SHADE = 0.65
LIGHT_FALL = 0.12
TEXTURE_DEPTH = 10
"""The most by which a textured surface strays from its grey level, of 255."""
GRAINS = 16
PNG_LEVEL = 1


def render(scene: Scene, rng: np.random.Generator, size_px: int, noise: float) -> bytes:
    """Return the scene as PNG bytes; `noise` is the standard deviation of the pixel noise, of full range 1."""
    (pixels_HWC,) = paint(scene, [tuple((thing,) for thing in scene.things)], rng, size_px, noise)
    file = BytesIO()
    Image.fromarray(pixels_HWC).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


def paint(
    scene: Scene, moments: Iterable[Moment], rng: np.random.Generator, size_px: int, noise: float
) -> list[np.ndarray]:
    """Return each moment of a scene as (H, W, C) in uint8; all else, its noise too, is the same in all of them."""
    empty = Image.fromarray(_background(scene, rng, size_px)).convert("RGB")
    empty = empty.resize((size_px * OVERSAMPLING,) * 2, Image.Resampling.NEAREST)
    colours = _colours(scene, rng)
    light_HW1, texture_HW1 = _light(scene, size_px)[:, :, None], _texture(scene, rng, size_px)[:, :, None]
    noise_HWC = 255 * noise * rng.standard_normal((size_px, size_px, 3), dtype=np.float32)
    painted = []
    for moment in moments:
        canvas = empty.copy()
        _draw_things(canvas, scene, moment, colours)
        pixels_HWC = np.asarray(canvas.reduce(OVERSAMPLING), dtype=np.float32) * light_HW1 + texture_HW1
        pixels_HWC += noise_HWC
        painted.append(pixels_HWC.clip(0, 255).round().astype(np.uint8))
    return painted


@cache
def _grid(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixel centres, from -1 to 1, each (H, W)."""
    axis = (np.arange(size_px) + 0.5) / size_px * 2 - 1
    y_HW, x_HW = np.meshgrid(axis, axis, indexing="ij")
    return x_HW, y_HW


def _background(scene: Scene, rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Return the grey levels behind the objects, (H, W) in uint8."""
    x_HW, y_HW = _grid(size_px)
    turn, phase = rng.uniform(0, 2 * pi, size=2)
    along_HW = x_HW * cos(turn) + y_HW * sin(turn)
    if scene.background == "striped":
        share_HW = (np.sin(STRIPES * pi * along_HW + phase) * 3).clip(-1, 1) / 2 + 0.5
    else:
        share_HW = (along_HW / 2 + 0.5).clip(0, 1)
    low, high = GREYS[scene.background]
    return (low + (high - low) * share_HW).round().astype(np.uint8)


def _light(scene: Scene, size_px: int) -> np.ndarray:
    x_HW, y_HW = _grid(size_px)
    light_x, light_y = scene.light
    return scene.brightness + LIGHT_FALL * (x_HW * light_x + y_HW * light_y)


def _texture(scene: Scene, rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Return what the surface adds to the grey levels, (H, W): blotches, scratches along the rows, or nothing."""
    if scene.texture == "smooth":
        return np.zeros((size_px, size_px))
    shape = (GRAINS, GRAINS) if scene.texture == "grainy" else (size_px, 1)
    rows, columns = (np.arange(size_px) * side // size_px for side in shape)
    return rng.uniform(-TEXTURE_DEPTH, TEXTURE_DEPTH, size=shape)[np.ix_(rows, columns)]


def _colours(scene: Scene, rng: np.random.Generator) -> list[Rgb]:
    """Return the colour of each object, a little off that of its name."""
    shifts_N3 = rng.integers(-COLOUR_JITTER, COLOUR_JITTER, size=(len(scene.things), 3), endpoint=True)
    named_N3 = [RGB[thing.colour] for thing in scene.things]
    return [(red, green, blue) for red, green, blue in (named_N3 + shifts_N3).clip(0, 255).tolist()]


def _draw_things(canvas: Image.Image, scene: Scene, moment: Moment, colours: Sequence[Rgb]) -> None:
    """Draw each object wherever it is to be seen, on its shadow, which falls away from the light."""
    pen = ImageDraw.Draw(canvas)
    shade = int(sum(GREYS[scene.background]) / 2 * SHADOW_SHADE)
    light_x, light_y = scene.light
    for places, colour in zip(moment, colours, strict=True):
        for thing in places:
            _draw_shape(pen, thing, (thing.x - light_x * SHADOW, thing.y - light_y * SHADOW), (shade,) * 3)
            _draw_shape(pen, thing, (thing.x, thing.y), colour)


def _draw_shape(pen: ImageDraw.ImageDraw, thing: Thing, centre: tuple[float, float], rgb: Rgb) -> None:
    width_px = pen.im.size[0]
    x_px, y_px, radius_px = (width_px * share for share in (*centre, thing.radius))
    if thing.shape == "circle":
        pen.circle((x_px, y_px), radius_px, fill=rgb)
    elif thing.shape == "ring":
        pen.circle((x_px, y_px), radius_px, outline=rgb, width=round(radius_px * RING_BAND))
    else:
        reach_px, tilt = thing.reach * width_px, radians(thing.tilt_deg)
        polar = ((turn + tilt, reach_px * share) for turn, share in corners(thing.shape))
        pen.polygon([(x_px + r_px * sin(turn), y_px - r_px * cos(turn)) for turn, r_px in polar], fill=rgb)


@cache
def corners(shape: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of an upright shape as (clockwise angle from the top, distance from the centre)."""
    if shape == "square":
        return tuple((pi / 4 + k * pi / 2, 1.0) for k in range(4))
    if shape == "triangle":
        return tuple((k * pi * 2 / 3, 1.0) for k in range(3))
    arm = ((-ARM_LEAN, 1.0), (ARM_LEAN, 1.0), (pi / 4, 2**0.5 * sin(ARM_LEAN)))
    return tuple((k * pi / 2 + turn, share) for k in range(4) for turn, share in arm)
