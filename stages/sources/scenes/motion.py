"""What the objects of a clip do, one thing each from its first frame to its last, and the words for it.

In every frame each object is anywhere and of any size, whatever it does: what leaves the frame comes in on the other
side, what has grown begins again. So no frame of its own tells what an object does, but for those in which one that
blinks is not to be seen; the first, the middle and the last are none of them.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from stages.sources.scenes.world import Options, Scene, Thing

Moment = tuple[tuple[Thing, ...], ...]
"""By object of a scene, where it is to be seen in one frame: nowhere, or in two places on opposite edges."""

FRAMES, RATE_HZ = 15, 12
"""Of a clip; an odd number has a middle."""
PATH = 0.24
"""How far an object moves in all, as a share of the frame."""
SIZES = 2.2
"""The largest radius of an object, which is that of the scene, in its smallest."""
GROWTH = 0.55
"""How much of the way from the smallest to the largest an object grows in all."""
MARGIN = 0.3
"""How far behind the edge of the frame an object with its shadow is still to be seen, at most."""
DARK = (3, 4, 10, 11)
"""The frames in which an object that blinks is not to be seen."""
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
PHRASES: dict[str, Options] = {  # by motion
    "moves left": (("moves left", 0.6), ("moves to the left", 0.4)),
    "moves right": (("moves right", 0.6), ("moves to the right", 0.4)),
    "moves up": (("moves up", 0.6), ("rises", 0.4)),
    "moves down": (("moves down", 0.6), ("sinks", 0.4)),
    "grows": (("grows", 0.6), ("gets larger", 0.4)),
    "shrinks": (("shrinks", 0.6), ("gets smaller", 0.4)),
    "blinks": (("blinks", 0.6), ("flashes", 0.4)),
    "stays": (("stays", 0.6), ("stands still", 0.4)),
}
TEMPLATES: dict[int, Options] = {  # as in `captions`; `0!` is what object 0 does
    1: (
        ("{~0} {0!}", 0.6),
        ("{~0} {0!} on {background}", 0.4),
    ),
    2: (
        ("{~0} {0!} while {~1} {1!}", 0.5),
        ("{~0} {0!} and {~1} {1!}", 0.3),
        ("{~1} {1!} while {~0} {0!}", 0.2),
    ),
    3: (
        ("{~0} {0!}, {~1} {1!} and {~2} {2!}", 0.6),
        ("{~0} {0!} while {~1} {1!} and {~2} {2!}", 0.4),
    ),
}


def set_in_motion(scene: Scene, rng: np.random.Generator) -> Scene:
    """Give each object something to do, drawn without a look at it or the others."""
    motions = list(PHRASES)
    return replace(
        scene, things=tuple(replace(thing, motion=motions[rng.integers(len(motions))]) for thing in scene.things)
    )


def way(thing: Thing) -> str | None:
    """Return the way that an object goes, None for one that keeps its place."""
    name = (thing.motion or "").removeprefix("moves ")
    return name if name in WAYS else None


def moments(scene: Scene, rng: np.random.Generator) -> list[Moment]:
    """Return the objects in each frame of the clip; all are shifted alike, so they stand apart in the middle."""
    shift_x, shift_y = rng.random(2).tolist()
    sizes = rng.random(len(scene.things)).tolist()
    shifted = [replace(thing, x=thing.x + shift_x, y=thing.y + shift_y) for thing in scene.things]
    return [
        tuple(_seen(thing, size, frame) for thing, size in zip(shifted, sizes, strict=True)) for frame in range(FRAMES)
    ]


def _seen(thing: Thing, size: float, frame: int) -> tuple[Thing, ...]:
    """Return an object where a frame shows it; `size` is that of the middle, from 0 for the smallest to 1."""
    if thing.motion == "blinks" and frame in DARK:
        return ()
    share = frame / (FRAMES - 1) - 0.5
    x, y = WAYS.get(way(thing) or "", (0, 0))
    size += GROWTH * share * {"grows": 1, "shrinks": -1}.get(thing.motion or "", 0)
    places = (_edges(at + PATH * share * step) for at, step in ((thing.x, x), (thing.y, y)))
    radius = thing.radius * SIZES ** (size % 1 - 1)
    return tuple(replace(thing, x=x, y=y, radius=radius) for x, y in product(*places))


def _edges(at: float) -> list[float]:
    """Return a place within the frame, and beside it that behind the other edge if it is near one."""
    return [place for place in (at % 1 - 1, at % 1, at % 1 + 1) if -MARGIN < place < 1 + MARGIN]
