"""Users who rate scenes by what is in them, where a data set has `users`: their tastes are known in truth.

A scene then comes in one medium alone: a picture, a sound, or texts. All of them say what its first object is, and a
user's taste is for its colour and its shape, so liking pictures of something is liking its sound. Half of the users
rate scenes of one medium alone, until they are asked about all of them in validation and test. Most say which colour
and which shape they like best.
"""

from dataclasses import dataclass

import numpy as np

from stages.sources.base import Rating
from stages.sources.scenes.world import COLOURS, SHAPES, Scene

MEDIA = ("image", "audio", "texts")
OF_MEDIUM = {  # which columns of a scene come with its medium
    "image": ("image", "questions"),
    "audio": ("audio", "transcript", "word_times"),
    "texts": ("texts", "message", "oracle"),
}
TASTES = 9  # of the streams of a seed, beside those of its scenes
HELD_BACK = 0.1  # of the ratings of scenes of the training split, for validation, and as many for the test
MIDDLE, SPREAD, DOUBT = 3.0, 1.3, 0.4
SPLITS = ("train", "val", "test")
TOLD = {"colour": "category", "shape": "category"}  # what users say they like best, each for itself
SILENT = 5  # of so many users one says nothing


@dataclass(frozen=True)
class User:
    """One user: a name, how much each colour and shape is liked, and the only medium that is rated in training."""

    name: str
    colours: np.ndarray
    shapes: np.ndarray
    medium: str | None

    def liking(self, scene: Scene) -> float:
        """Return the rating that is expected of a scene, before doubt and rounding."""
        thing = scene.things[0]
        liked = self.colours[COLOURS.index(thing.colour)] + self.shapes[SHAPES.index(thing.shape)]
        return MIDDLE + SPREAD * float(liked) / 2**0.5


def told(everyone: list[User]) -> dict[str, dict[str, str | None]]:
    """Return what users say of themselves, by name: the colour and the shape that each likes best."""
    return {
        user.name: {"colour": COLOURS[int(user.colours.argmax())], "shape": SHAPES[int(user.shapes.argmax())]}
        for i, user in enumerate(everyone)
        if i % SILENT != SILENT - 1
    }


def users(seed: int, number: int) -> list[User]:
    """Return the users of a seed; user i depends on (seed, i) alone."""
    found = []
    for i in range(number):
        rng = np.random.default_rng([seed, i, TASTES, 0])
        colours, shapes = rng.normal(size=len(COLOURS)), rng.normal(size=len(SHAPES))
        medium = MEDIA[i // 2 % len(MEDIA)] if i % 2 else None
        found.append(User(f"user-{i:04d}", colours, shapes, medium))
    return found


def medium_of(index: int) -> str:
    """Return the medium that a scene comes in; independent of its split."""
    return MEDIA[(index // 10 + index) % len(MEDIA)]


def ratings(everyone: list[User], scene: Scene, place: tuple[int, int, str], share: float) -> list[Rating]:
    """Return the ratings of a scene: each user rates this share of all scenes.

    Args:
        everyone: The users.
        scene: What is rated.
        place: The seed, the scene's number and its split; on a held out scene all ratings are held out with it.
        share: The chance that a user rates the scene.
    """
    seed, index, split = place
    found = []
    draws = np.random.default_rng([seed, index, TASTES, 1]).random((len(everyone), 3))
    doubts = np.random.default_rng([seed, index, TASTES, 2]).normal(size=len(everyone))
    for user, (chance, when, where), doubt in zip(everyone, draws, doubts, strict=True):
        if chance < share:
            known = split if split != "train" else SPLITS[int(where < 2 * HELD_BACK) + int(where < HELD_BACK)]
            if known == "train" and user.medium not in (None, medium_of(index)):
                continue
            value = float(np.clip(np.rint(user.liking(scene) + DOUBT * doubt), 1, 5))
            found.append(Rating(user.name, value, int(1e6 * (when + SPLITS.index(known))), known))
    return found
