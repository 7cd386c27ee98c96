"""The section `datasets`: where samples come from."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from stages.params.section import NONE, Count, Fraction, NonNegative, Section, Share


def _leaves_training(test_fraction: float, info: ValidationInfo) -> float:
    val_fraction = info.data.get("val_fraction", 0.0)
    if val_fraction + test_fraction >= 1:
        raise ValueError(
            f"less than 1 together with val_fraction {val_fraction}, as the rest is for training; such as 0.15 for both"
        )
    return test_fraction


TestShare = Annotated[Share, AfterValidator(_leaves_training)]


FileName = Annotated[str, Field(min_length=1)]


class DatasetBase(Section):
    """What all data sets have: `folder` is the user's own, under data/, which DVC watches; "none" without."""

    folder: str


class ScenesParams(DatasetBase):
    """The generated data set."""

    source: Literal["scenes"]
    samples: Count
    image_size_px: Annotated[int, Field(ge=32, le=512)]
    max_objects: Annotated[int, Field(ge=1, le=3)]
    captions_per_image: Count
    questions_per_image: Count
    noise: Fraction
    cue_error: Fraction
    language: Literal["en", "zh"] = "en"  # versions from before it was a value are rebuilt without it
    held_out: Count | Literal["none"] = "none"  # so in versions from before it was a value
    clips: bool = False  # so in versions from before it was a value
    label: Literal["situation", "motion", "deal"] = "situation"  # so in versions from before it was a value
    spoken: Literal["phrase", "message"] = "phrase"  # so in versions from before it was a value
    fields: bool = False  # so in versions from before it was a value
    targets: bool = False  # so in versions from before it was a value
    users: Annotated[int, Field(ge=0)] = 0  # so in versions from before it was a value
    ratings_per_user: Count = 40  # the same


class Flickr8kParams(DatasetBase):
    """Flickr8k from its public archives; an empty sha256 accepts the public checksum alone."""

    source: Literal["flickr8k"]
    mirror: str
    images_sha256: str
    text_sha256: str


class EasyVqaParams(DatasetBase):
    """easy-VQA from its public repository."""

    source: Literal["easy_vqa"]
    mirror: str
    sha256: str
    val_fraction: Share


def _is_range(ends: list[float]) -> list[float]:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError("two numbers, the least and the most, such as [3, 6]")
    return ends


class DigitStringsParams(Section):
    """Strings of several digits of one speaker, with silence between."""

    digits: Annotated[list[Count], AfterValidator(_is_range)]
    count: Count
    silence_s: Annotated[list[NonNegative], AfterValidator(_is_range)]


class SpokenDigitsParams(DatasetBase):
    """The free spoken digit data set, alone or paired with images of digits."""

    source: Literal["spoken_digits"]
    mirror: str
    sha256: str
    split: Literal["official", "speaker"]
    test_speaker: str
    images: Literal["none", "digits"]
    val_fraction: Share
    strings: DigitStringsParams | Literal["none"] = "none"  # so in versions from before it was a value


class RavdessParams(DatasetBase):
    """RAVDESS, split by actor: so many of the last ones, or their numbers."""

    source: Literal["ravdess"]
    mirror: str
    archive: FileName
    sha256: str
    val_actors: Count | list[Count]
    test_actors: Count | list[Count]


class GridParams(DatasetBase):
    """The GRID corpus, any number of its speakers."""

    source: Literal["grid"]
    mirror: str
    archives: Annotated[list[FileName], Field(min_length=1)]
    sha256: dict[str, str]
    split: Literal["sentence", "speaker"]
    test_speaker: str
    val_fraction: Share
    test_fraction: TestShare


class Ucf101Params(DatasetBase):
    """UCF-101 by one of its public splits, from a zip of a mirror or the user's own folder."""

    source: Literal["ucf101"]
    mirror: str
    archive: str
    sha256: str
    split_list: Annotated[int, Field(ge=1, le=3)]
    val_fraction: Share


class Cifar10BrownParams(DatasetBase):
    """CIFAR-10 images with sentences of the Brown corpus, a category for each class."""

    source: Literal["cifar10_brown"]
    mirror: str
    images_sha256: str
    text_sha256: str
    val_fraction: Share


class VqaRadParams(DatasetBase):
    """VQA-RAD, split by picture."""

    source: Literal["vqa_rad"]
    mirror: str
    sha256: str
    val_fraction: Share
    test_fraction: TestShare


class TweetsParams(DatasetBase):
    """Tweets with a picture and a sentiment."""

    source: Literal["tweets"]
    mirror: str
    sha256: str
    val_fraction: Share
    test_fraction: TestShare


class MovieLensParams(DatasetBase):
    """MovieLens 100k with posters and plots; each rating on a split by a rule."""

    source: Literal["movielens"]
    mirror: str
    sha256: str
    split: Literal["time", "user_time", "folds", "items"]
    fold: Annotated[int, Field(ge=1, le=5)] = 1
    val_fraction: Share
    test_fraction: TestShare


class TwemojiParams(DatasetBase):
    """Emoji with their names and categories."""

    source: Literal["twemoji"]
    mirror: str
    sha256: str
    val_fraction: Share
    test_fraction: TestShare


class ImageFolderParams(DatasetBase):
    """Images in one folder per class."""

    source: Literal["image_folder"]
    mirror: str
    archive: str
    sha256: str
    torchvision: Literal["none", "Flowers102"]
    class_names: bool = False  # so in versions from before it was a value
    val_fraction: Share
    test_fraction: TestShare


FIELD_KINDS = (
    *("auto", "number", "category", "date", "boolean"),
    *("number_comma", "number_point", "date_day_first", "date_month_first"),
)


def _are_fields(value: Any) -> Any:
    named = isinstance(value, list | dict) and all(isinstance(name, str) and name for name in value)
    kinds = value.values() if isinstance(value, dict) else ()
    if value not in ("auto", NONE) and not (named and all(kind in FIELD_KINDS for kind in kinds)):
        raise ValueError(
            f"auto, none, a list of columns, or columns with their kinds, such as {{Price: number}}: one of "
            f"{', '.join(FIELD_KINDS)}"
        )
    return value


class Columns(Section):
    """Which column of the user's table holds what: its name, `none`, or `auto` to guess."""

    id: str
    image: str
    audio: str
    text: str
    message: str
    question: str
    answer: str
    label: str
    group: str
    split: str
    video: str = NONE  # versions from before there were videos are rebuilt without it
    transcript: str = NONE  # the same of transcripts
    fields: Annotated[Any, AfterValidator(_are_fields)] = NONE  # the same; auto, or columns with or without kinds
    tags: str = NONE  # of several tags in a cell; the same
    numbers: str | Annotated[list[str], Field(min_length=1)] = NONE  # to be predicted, one column or several


def _is_encoding(name: str) -> str:
    try:
        "".encode("utf-8" if name == "auto" else name)
    except LookupError:
        raise ValueError("auto or an encoding that Python knows, such as utf-8, gb18030, cp1251 or shift_jis") from None
    return name


class ReadingParams(Section):
    """How a CSV file is written, where it is guessed wrongly."""

    delimiter: Annotated[str, Field(pattern="^(auto|.|\t)$")] = "auto"
    quoting: Literal["auto", "quotes", "none"] = "auto"
    encoding: Annotated[str, AfterValidator(_is_encoding)] = "auto"
    decimal: Literal["auto", ".", ","] = "auto"  # mark of numbers to be predicted


class RatingsParams(Section):
    """The table of who rated which row, its columns, and the rule by which ratings are on a split."""

    table: FileName
    users: str = NONE
    user: str = "auto"
    item: str = "auto"
    value: str = "auto"
    time: str = "auto"
    split: Literal["time", "user_time", "items", "hash"] = "time"


class TableParams(DatasetBase):
    """The user's own table."""

    source: Literal["table"]
    table: str
    reading: ReadingParams = ReadingParams()  # versions from before it was a value are rebuilt without it
    columns: Columns
    ratings: RatingsParams | Literal["none"] = "none"  # versions from before it was a value are rebuilt without it
    split_by: Literal["auto", "column", "hash", "group"]
    val_fraction: Share
    test_fraction: TestShare


DatasetParams = Annotated[
    ScenesParams
    | Flickr8kParams
    | EasyVqaParams
    | SpokenDigitsParams
    | RavdessParams
    | GridParams
    | Ucf101Params
    | Cifar10BrownParams
    | VqaRadParams
    | TweetsParams
    | MovieLensParams
    | TwemojiParams
    | ImageFolderParams
    | TableParams,
    Field(discriminator="source"),
]
