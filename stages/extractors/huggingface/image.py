"""Images through a frozen Hugging Face model. Shapes: B batch, L cells, H hidden."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.extractors.huggingface.base import LAST, FrozenModel
from stages.extractors.torch_extractor import fewer_cells
from stages.media.images import to_rgb
from stages.pretrained import huggingface as pretrained

MOST_PX = 448  # side of the square that a picture becomes where its places are as many as it is large


class ImageModel(FrozenModel):
    """Cells of an image, rows first, its class token left out; `pooled` is that token, or the mean of the cells.

    Of a vision-language model the places as its language model takes them, behind its projector.
    """

    modality = "image"
    own = ("pool",)

    def prepare(self, folder: Path) -> None:
        """Read the image processor."""
        self._processor = pretrained.read_image_processor(folder)
        self._writes = pretrained.kind(folder) in pretrained.VISION_LANGUAGE
        if self._writes:
            self.space = self.settings["files_digest"] if self.settings["level"] == "token" else ""
            self._processor.do_image_splitting = False  # as many places for each image
        self._side_px = 0
        if pretrained.kind(folder) in pretrained.IN_SQUARES:
            step = self._processor.patch_size * self._processor.merge_size
            most = min(MOST_PX, math.isqrt(dict(self._processor.size)["longest_edge"]))
            self._side_px = most // step * step
            self._processor.size = {"shortest_edge": self._side_px**2, "longest_edge": self._side_px**2}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, and prepare as the model's own processor does, float32 (3, H, W)."""
        return self.of_picture(to_rgb(media))

    def of_picture(self, picture: Image.Image) -> np.ndarray:
        """Prepare a picture, float32 (3, H, W); for a model that wants it in pieces (pieces, values)."""
        if self._side_px:
            square = picture.resize((self._side_px, self._side_px), Image.Resampling.BICUBIC)
            return self._processor(images=square, return_tensors="np")["pixel_values"]
        return self._processor(images=picture, return_tensors="np")["pixel_values"][0]

    def blank(self) -> np.ndarray:
        """Return a black image."""
        return self.of_picture(Image.new("RGB", (64, 48)))

    def inputs(self, decoded: np.ndarray) -> tuple[dict[str, Tensor], None]:
        """Return the pixels."""
        pixels = torch.from_numpy(decoded)
        if not self._side_px:
            return {"pixel_values": pixels}, None
        cells = self._side_px // self._processor.patch_size
        grid = torch.tensor([[1, cells, cells]]).repeat(len(pixels), 1)
        return {"pixel_values": pixels.flatten(0, 1), "image_grid_thw": grid}, None

    def hidden(self, given: dict[str, Tensor]) -> Tensor:
        """Return the output of a layer; of a vision-language model what stands behind its projector."""
        if not self._writes:
            return super().hidden(given)
        if self.settings["layer"] != LAST:
            raise ValueError(f"layer {LAST} alone: the places of a vision-language model stand behind its projector")
        return torch.stack(list(self.tower.get_image_features(**given).pooler_output))

    def places(self, x_BLH: Tensor, beside: None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cells, `pool` x `pool` of them as their mean."""
        cells_BLH = x_BLH if self._writes else pretrained.image_cells(x_BLH)
        whole_BH = x_BLH[:, 0] if x_BLH.shape[1] > cells_BLH.shape[1] else cells_BLH.mean(1)
        if (pool := self.settings["pool"]) > 1:
            cells_BLH = fewer_cells(cells_BLH, pool)
        return cells_BLH, torch.ones(cells_BLH.shape[:2], dtype=torch.bool, device=x_BLH.device), whole_BH
