"""Data sources by name; each is made from its section of `datasets` and follows `base.Source`.

A new source: its file here with one class, its line in this dict, its section's class in `stages/params`.
"""

from stages.sources.base import Source
from stages.sources.cifar10_brown import Cifar10Brown
from stages.sources.easy_vqa import EasyVqa
from stages.sources.flickr8k import Flickr8k
from stages.sources.image_folder import ImageFolder
from stages.sources.movielens import MovieLens
from stages.sources.pictures.twemoji import Twemoji
from stages.sources.scenes import Scenes
from stages.sources.speech.grid import Grid
from stages.sources.speech.ravdess import Ravdess
from stages.sources.speech.spoken_digits import SpokenDigits
from stages.sources.table import Table
from stages.sources.tweets import Tweets
from stages.sources.ucf101 import Ucf101
from stages.sources.vqa_rad import VqaRad

SOURCES: dict[str, type[Source]] = {
    "scenes": Scenes,
    "flickr8k": Flickr8k,
    "easy_vqa": EasyVqa,
    "spoken_digits": SpokenDigits,
    "ravdess": Ravdess,
    "grid": Grid,
    "ucf101": Ucf101,
    "cifar10_brown": Cifar10Brown,
    "vqa_rad": VqaRad,
    "twemoji": Twemoji,
    "tweets": Tweets,
    "movielens": MovieLens,
    "image_folder": ImageFolder,
    "table": Table,
}
