"""Hugging Face models as encoders: frozen, with LoRA, or fine-tuned in their last layers or whole.

Images come as `pixels`; texts and sounds as the extractor `model_input` makes them for this very model.
Shapes: B batch, H and W pixels, L places (cells with rows first, word pieces, moments), C hidden of the model, D dim.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.models.adapters import Adapter
from stages.models.encoders.base import Encoder, EncoderSize, FeatureSpec
from stages.params import HuggingFaceEncoderParams
from stages.pretrained import huggingface as pretrained
from stages.pretrained import inputs, sharing


class HuggingFaceEncoder(Encoder):
    """The model's places; each is normalised, projected and gets a learned place."""

    modality: ClassVar[str]
    dtype: ClassVar[torch.dtype]  # of the features

    def __init__(
        self,
        spec: FeatureSpec,
        size: EncoderSize,
        folder: Path,
        params: HuggingFaceEncoderParams,
        shared_on: torch.device | None = None,
    ) -> None:
        """Read the model from a folder; with `shared_on` what is frozen is shared there.

        Raises:
            InputError: when it cannot be read, or is not one for these features.
        """
        super().__init__(spec, size)
        shared_on = None if params.train == "all" else shared_on
        tower = sharing.read(folder, self.modality, self._read_tower, shared_on)
        self.prepare(tower, folder)
        self.adapter = Adapter(tower, params.train, params.lora, params.last_layers)
        if params.gradient_checkpointing:
            self.adapter.checkpoint_gradients()
        channels, places = self._try()
        self.scale, self.project = nn.LayerNorm(channels), nn.Linear(channels, size.dim)
        self.place_LD = nn.Parameter(torch.randn(places, size.dim) * 0.02)
        self.norm, self.dropout = nn.LayerNorm(size.dim), nn.Dropout(size.dropout)

    def _read_tower(self, folder: Path) -> Any:
        return pretrained.tower(pretrained.read_model(folder), self.modality)

    def prepare(self, tower: Any, folder: Path) -> None:
        """Take from the model's folder what is needed beside the model, and check that features and model fit."""
        raise NotImplementedError

    def hidden(self, features: Tensor) -> Tensor:
        """Return the last layer's places (B, L, C)."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Turn features into a sequence (B, L, D)."""
        return self.norm(self.project(self.dropout(self.scale(self.hidden(features)))) + self.place_LD)

    @torch.no_grad()
    def _try(self) -> tuple[int, int]:
        """Return channels and places, found by running the model once."""
        try:
            _, places, channels = self.hidden(torch.zeros(1, *self.spec.shape, dtype=self.dtype)).shape
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise InputError(f"does not take {self.what()}: {error}") from None
        return channels, places

    def what(self) -> str:
        """Say what the features are, for a person."""
        raise NotImplementedError

    def check_input(self, folder: Path) -> None:
        """Hold what made the features against the model's own files.

        Raises:
            InputError: when they are of another model.
        """
        if not self.spec.input_of:
            raise InputError("reads features of the extractor model_input")
        if self.spec.input_of != inputs.files_digest(folder, self.modality):
            part = "tokenizer" if self.modality == "text" else "preprocessor"
            raise InputError(f"its features were made by the {part} of another model; name the same model there")


class HuggingFaceImage(HuggingFaceEncoder):
    """The cells of uint8 images (H, W, 3), the class token left out."""

    modality, dtype = "image", torch.uint8

    def prepare(self, tower: Any, folder: Path) -> None:
        """Read the range of pixels that the model expects."""
        processor = pretrained.read_image_processor(folder)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (processor.image_mean, processor.image_std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def hidden(self, features: Tensor) -> Tensor:
        """Return the cells."""
        x = (features.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return pretrained.image_cells(self.adapter.model(pixel_values=x.to(self.adapter.device)).last_hidden_state)

    def what(self) -> str:
        """Name the size."""
        return f"images of {self.spec.shape[0]} x {self.spec.shape[1]} px"

    def mirror(self, images: Tensor) -> Tensor:
        """Swap left and right."""
        return images.flip(2)


class HuggingFaceText(HuggingFaceEncoder):
    """The word pieces of texts, int32 (L,): their numbers and one, 0 where no piece is."""

    modality, dtype = "text", torch.int32

    def prepare(self, tower: Any, folder: Path) -> None:
        """Hold the tokenizer against features and weights."""
        self.check_input(folder)
        text_input = inputs.TextInput(folder, *self.spec.shape)
        text_input.check(tower)
        self.pad = text_input.pad
        if getattr(tower, "pooler", None) is not None:
            tower.pooler = None  # a layer behind what is read here

    def hidden(self, features: Tensor) -> Tensor:
        """Return the word pieces."""
        ids_BL = features.to(self.adapter.device).long() + inputs.PADDING
        return self.adapter.model(**inputs.text_given(self.adapter.model, ids_BL, self.pad)).last_hidden_state

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return where a piece is."""
        return features != 0

    def what(self) -> str:
        """Name the length."""
        return f"texts of {self.spec.shape[0]} word pieces"


class HuggingFaceAudio(HuggingFaceEncoder):
    """The moments of sounds, as the model's preprocessor made them; behind each row the share that is sound."""

    modality, dtype = "audio", torch.float16

    def prepare(self, tower: Any, folder: Path) -> None:
        """Hold the preprocessor against the features, and let the model hear as long as they are."""
        self.check_input(folder)
        self.is_masked = inputs.is_masked(pretrained.read_sound_processor(folder))
        if hasattr(tower.config, "apply_spec_augment"):
            tower.config.apply_spec_augment = False  # it draws from numpy's global generator, which nothing seeds
        if tower.config.model_type == "whisper":
            _hear(tower, self.spec.shape[-1] - 1)

    def hidden(self, features: Tensor) -> Tensor:
        """Return the moments, or bands and moments in one."""
        features = features.to(self.adapter.device)
        share_B = self._share(features)
        heard_B = torch.where(share_B > 0, share_B, 1.0)  # of a sound that is not there, silence
        given = inputs.sound_given(self.adapter.model, features[..., :-1].float(), heard_B, self.is_masked)
        x = self.adapter.model(**given).last_hidden_state
        return x.permute(0, 2, 3, 1).flatten(1, 2) if x.ndim == 4 else x

    def real(self, features: Tensor, length: int) -> Tensor:
        """Return the moments of the sound."""
        return inputs.sound_places(self.adapter.model, length, self._share(features))

    def _share(self, features: Tensor) -> Tensor:
        return features[..., -1].reshape(len(features), -1)[:, 0].float()

    def what(self) -> str:
        """Name the shape."""
        return f"sounds of shape {' x '.join(map(str, self.spec.shape))}"


BY_MODALITY: dict[str, type[HuggingFaceEncoder]] = {
    kind.modality: kind for kind in (HuggingFaceImage, HuggingFaceText, HuggingFaceAudio)
}


def _hear(tower: Any, frames: int) -> None:
    """Let Whisper's encoder hear so many frames, two a moment, instead of 30 s.

    Raises:
        InputError: when it hears fewer.
    """
    moments, most = frames // 2, tower.embed_positions.num_embeddings
    if moments > most:
        raise InputError(f"hears {most} moments at once, fewer than the {moments} of its features")
    tower.embed_positions = nn.Embedding.from_pretrained(tower.embed_positions.weight[:moments].clone())
    tower.config.max_source_positions = tower.max_source_positions = moments
