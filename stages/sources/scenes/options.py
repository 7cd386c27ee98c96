"""What of the scenes can be chosen."""

from typing import Literal, Protocol


class ScenesParams(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def samples(self) -> int:
        """How many scenes."""

    @property
    def image_size_px(self) -> int:
        """The side of the square picture."""

    @property
    def max_objects(self) -> int:
        """The most objects in a scene."""

    @property
    def captions_per_image(self) -> int:
        """How many captions are written for a scene."""

    @property
    def questions_per_image(self) -> int:
        """How many questions are asked about a scene."""

    @property
    def cue_error(self) -> float:
        """The chance that what a modality says of the label is drawn at random."""

    @property
    def language(self) -> str:
        """Of captions, questions and answers, one of `LANGUAGES`."""

    @property
    def held_out(self) -> int | str:
        """The most scenes that validation has, and as many the test; "none" for a tenth of all each."""

    @property
    def clips(self) -> bool:
        """Whether a clip in which the objects move goes with each scene, and the texts are about it."""

    @property
    def label(self) -> Literal["situation", "motion", "deal"]:
        """What is to be told: the situation, what the object that is spoken of does in the clip, or the deal."""

    @property
    def fields(self) -> bool:
        """Whether a table goes with each scene, in which its first object is on offer."""

    @property
    def targets(self) -> bool:
        """Whether numbers and tags to be predicted go with each scene."""

    @property
    def spoken(self) -> Literal["phrase", "message"]:
        """What the voice says: the colour and shape of an object, or the message."""

    @property
    def users(self) -> int:
        """How many rate the scenes, which then come in one medium each; 0 for none."""

    @property
    def ratings_per_user(self) -> int:
        """How many scenes a user rates, on average; fewer of those who rate one medium alone."""

    @property
    def noise(self) -> float:
        """The standard deviation of the pixel noise, of full range 1."""
