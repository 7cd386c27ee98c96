"""What is true of a scene, drawn from (seed, index) alone.

Every modality is made from this truth. Each draws from its own random stream, so adding one leaves the others
as they were. Lengths are shares of the frame: x grows to the right, y downwards, both from 0 to 1.
"""

from dataclasses import asdict, dataclass
from enum import IntEnum
from itertools import combinations
from math import cos, hypot, radians, sin
from typing import Any

import numpy as np

Options = tuple[tuple[str, float], ...]
"""What may be chosen, each with its weight; the weights need not sum to one."""

SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
BACKGROUNDS: Options = (("dark", 0.35), ("light", 0.25), ("striped", 0.2), ("fading", 0.2))
TEXTURES: Options = (("smooth", 0.6), ("grainy", 0.2), ("brushed", 0.2))
SIZES: Options = (("large", 0.5), ("small", 0.5))
COUNTS: Options = (("1", 0.52), ("2", 0.4), ("3", 0.08))
MAX_OBJECTS = len(COUNTS)

RADIUS = {"large": 0.2, "small": 0.13}
REACH = {"circle": 1.0, "square": 1.2, "triangle": 1.2, "cross": 1.1, "ring": 1.0}
"""The furthest point of a shape from its centre, in radii: larger for thin shapes, so that all look as big."""

INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
CLEAR_SHIFT = 0.26
"""The least distance along the axis of a relation."""
CLEAR_LEAN = 0.45
"""The most distance along the other axis, as a share of the distance along the axis of the relation."""
GAP = 0.02
COLUMNS = {"left": 0.22, "": 0.5, "right": 0.78}
ROWS = {"top": 0.22, "": 0.5, "bottom": 0.78}
JITTER = 0.04
TILT_DEG = 5
ROUNDS = 1000
TRIES_PER_ROUND = 60


class Stream(IntEnum):
    """The random streams of a scene, one per modality; a number once given stays."""

    WORLD = 0
    DRAWING = 1
    CAPTIONS = 2
    SITUATION = 3
    MESSAGE = 4
    SPEECH = 5
    QUESTIONS = 6
    MOTION = 7
    CLIP = 8
    OFFER = 9
    TARGETS = 10


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float
    tilt_deg: float
    motion: str | None = None  # what it does in the clip, where there is one

    @property
    def reach(self) -> float:
        """The furthest point from the centre."""
        return self.radius * REACH[self.shape]


@dataclass(frozen=True)
class Scene:
    """The true attributes of one scene; `things` stand in the order in which a person would name them."""

    things: tuple[Thing, ...]
    background: str
    texture: str
    light_deg: float
    brightness: float

    @property
    def moves(self) -> bool:
        """Whether its objects do something, as in a clip."""
        return self.things[0].motion is not None

    @property
    def light(self) -> tuple[float, float]:
        """The unit vector (x, y) that points to the light."""
        return cos(radians(self.light_deg)), sin(radians(self.light_deg))


def stream(seed: int, index: int, modality: Stream) -> np.random.Generator:
    """Return the random numbers that one modality of one scene may use."""
    return np.random.default_rng([seed, index, int(modality)])


def pick(rng: np.random.Generator, options: Options) -> str:
    """Draw one of the options by weight."""
    at = rng.random() * sum(weight for _, weight in options)
    for name, weight in options:
        at -= weight
        if at < 0:
            return name
    return options[-1][0]


def sample(seed: int, index: int, max_objects: int) -> Scene:
    """Draw the truth of scene `index`."""
    rng = stream(seed, index, Stream.WORLD)
    count = int(pick(rng, COUNTS[:max_objects]))
    codes = rng.choice(len(SHAPES) * len(COLOURS), size=count, replace=False).tolist()
    looks = [(SHAPES[code // len(COLOURS)], COLOURS[code % len(COLOURS)]) for code in codes]
    return Scene(
        things=_lay_out(rng, looks),
        background=pick(rng, BACKGROUNDS),
        texture=pick(rng, TEXTURES),
        light_deg=round(rng.uniform(0, 360), 1),
        brightness=round(rng.uniform(0.9, 1.1), 3),
    )


def relation(one: Thing, other: Thing) -> str | None:
    """Say where `one` stands seen from `other`, None where a person might hesitate.

    Far to the left and hardly higher is "left of"; on the diagonal nothing is said.
    """
    dx, dy = one.x - other.x, one.y - other.y
    long, short = max(abs(dx), abs(dy)), min(abs(dx), abs(dy))
    if long < CLEAR_SHIFT or short > CLEAR_LEAN * long:
        return None
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def place(thing: Thing) -> str:
    """Name the ninth of the frame that holds the centre: "top left", "bottom", "middle"."""
    row = min(ROWS, key=lambda name: abs(ROWS[name] - thing.y))
    column = min(COLUMNS, key=lambda name: abs(COLUMNS[name] - thing.x))
    return ninth(row, column)


def ninth(row: str, column: str) -> str:
    """Name a ninth of the frame by its row and column."""
    return f"{row} {column}".strip() or "middle"


def truth(scene: Scene) -> dict[str, Any]:
    """Return the scene as plain values, with its relations as [first, relation, second] by object number."""
    things = scene.things
    said = [(i, relation(things[i], things[j]), j) for i, j in combinations(range(len(things)), 2)]
    return {
        "objects": [_known(thing) | {"place": place(thing)} for thing in things],
        "relations": [[i, name, j] for i, name, j in said if name],
        "background": scene.background,
        "texture": scene.texture,
        "light_deg": scene.light_deg,
        "brightness": scene.brightness,
    }


def _known(thing: Thing) -> dict[str, Any]:
    return {name: value for name, value in asdict(thing).items() if value is not None}


def _lay_out(rng: np.random.Generator, looks: list[tuple[str, str]]) -> tuple[Thing, ...]:
    """Try places until nothing overlaps and the first object has a clear relation to each other.

    Sizes for which no place turns up in a round are drawn again.
    """
    for _ in range(ROUNDS):
        sizes = [pick(rng, SIZES) for _ in looks]
        radii = np.round([RADIUS[size] * rng.uniform(0.96, 1.04) for size in sizes], 4).tolist()
        tilts = rng.uniform(-TILT_DEG, TILT_DEG, size=len(looks)).round(1).tolist()
        edges = [radius * REACH[shape] + GAP for radius, (shape, _) in zip(radii, looks, strict=True)]
        for _ in range(TRIES_PER_ROUND):
            rows = zip(looks, sizes, _places(rng, edges), radii, tilts, strict=True)
            things = [Thing(*look, size, x, y, radius, tilt) for look, size, (x, y), radius, tilt in rows]
            things.sort(key=_turn)
            if _is_clear(things):
                return tuple(things)
    raise AssertionError(f"no room for {len(looks)} objects")


def _places(rng: np.random.Generator, edges: list[float]) -> list[list[float]]:
    """Draw centres [x, y] inside the frame; a lone one near the middle of a ninth, so that it can be named.

    Plain numbers: arrays of two or three rows cost more to make than to fill, and most tries fail.
    """
    if len(edges) > 1:
        draws = rng.random((len(edges), 2)).tolist()
        return [[_rounded(edge + at * (1 - 2 * edge)) for at in draw] for edge, draw in zip(edges, draws, strict=True)]
    ninth = rng.choice(list(COLUMNS.values())), rng.choice(list(ROWS.values()))
    near_2 = ninth + rng.uniform(-JITTER, JITTER, size=2)
    return [near_2.clip(edges[0], 1 - edges[0]).round(4).tolist()]


def _rounded(share: float) -> float:
    """Round to four places as numpy does, which is not always as `round(share, 4)` does."""
    return round(share * 1e4) / 1e4


def _turn(thing: Thing) -> tuple[bool, float]:
    """Sort key of naming: the larger first; among equals the one further left, or higher up."""
    return thing.size == "small", thing.x + thing.y


def _is_clear(things: list[Thing]) -> bool:
    first, *others = things
    return all(relation(first, other) for other in others) and all(
        hypot(a.x - b.x, a.y - b.y) > a.reach + b.reach + GAP for a, b in combinations(things, 2)
    )
