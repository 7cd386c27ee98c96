"""What makes pictures, by name: `Head(shape, dim, channels, attention_heads)`.

Protocol: see `base.PictureHead`. A new one: its file here with one class, its line in this dict.
"""

from stages.models.heads.pictures.base import PictureHead
from stages.models.heads.pictures.flow import Flow
from stages.models.heads.pictures.gan import Gan

PICTURES: dict[str, type[PictureHead]] = {
    "flow": Flow,
    "gan": Gan,
}
