"""What tasks share that read several modalities: an encoder for each, a fusion, and ways to go without one.

Shapes: B batch, K media of a modality that comes in several, L places of a sequence, D dim, M modalities.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.media.text import PAD
from stages.models.encoders import ENCODERS
from stages.models.encoders.backbone import Backbone
from stages.models.encoders.base import Encoded, Encoder, EncoderSize
from stages.models.encoders.huggingface import BY_MODALITY
from stages.models.fusions import FUSIONS, Fusion
from stages.models.heads.memory import Memory
from stages.models.tables import PRESENT
from stages.models.tasks.base import Batch, ModelConfig, Task
from stages.params import BackboneParams, HuggingFaceEncoderParams


class FusedTask(Task):
    """A task with an encoder for each modality."""

    kept: tuple[str, ...] = ()  # modalities that training never leaves out

    def __init__(self, config: ModelConfig) -> None:
        """Build the encoders by their names."""
        super().__init__(config)
        encoded = config.experiment.encoded()
        self.encoders = nn.ModuleDict({m: make_encoder(config, m) for m in config.features if m in encoded})

    def make_memory(self) -> Memory:
        """Build what a decoder attends to, of all modalities that have an encoder."""
        fusion = self.make_fusion(self.encoders, self.config.experiment.dim) if len(self.encoders) > 1 else None
        return Memory(self.config.experiment.dim, fusion)

    def make_fusion(self, modalities: Iterable[str], out: int) -> Fusion:
        """Build the experiment's fusion for some modalities."""
        experiment = self.config.experiment
        return FUSIONS[experiment.fusion](tuple(modalities), experiment.dim, out, experiment.dropout)

    def encode(self, batch: Batch, train: Any = None) -> dict[str, Encoded]:
        """Encode every modality; media that come in several are joined on the batch axis, (B * K, L, D)."""
        encoded = {}
        for modality, encoder in self.encoders.items():
            assert isinstance(encoder, Encoder)
            features, present = batch[modality], batch[modality + PRESENT]
            if present.ndim == 2:
                features, present = features.flatten(0, 1), present.flatten()
            if train is not None and modality in ("image", "video"):
                features = augment(encoder, features, train)
            x_BLD = encoder(features)
            encoded[modality] = Encoded(x_BLD, encoder.real(features, x_BLD.shape[1]) & present.unsqueeze(1))
        rate = self.config.experiment.modality_dropout
        several = len(self.config.features) > 1
        return leave_out(encoded, rate, self.kept) if train is not None and rate and several else encoded


def make_encoder(config: ModelConfig, modality: str) -> Encoder:
    """Build the encoder that the experiment names for a modality.

    Raises:
        InputError: when the encoder cannot read these features.
    """
    experiment, spec = config.experiment, config.features[modality]
    size = EncoderSize(experiment.dim, experiment.layers, experiment.attention_heads, experiment.dropout)
    named = getattr(experiment.encoders, modality)
    kind = "text" if modality == "question" else modality
    name = named if isinstance(named, str) else getattr(named, "model", named.name)
    try:
        if isinstance(named, HuggingFaceEncoderParams):
            base = config.bases[f"encoders.{modality}"].folder
            return BY_MODALITY[kind](spec, size, base, named, config.shared_on)
        if isinstance(named, BackboneParams):
            return Backbone(spec, size, named)
        return ENCODERS[kind][named](spec, size)
    except InputError as error:
        raise InputError(f"encoders.{modality}: {name}: {error}") from None
    except ValueError as error:
        raise InputError(f"encoders.{modality}: {name} cannot read features of shape {spec.shape}: {error}") from None


def augment(encoder: Encoder, images: Tensor, train: Any) -> Tensor:
    """Mirror and shift images at random, each sample on its own; a video is mirrored whole, and not shifted."""
    if train.flip_fraction:
        chosen = torch.rand(len(images), device=images.device) < train.flip_fraction
        chosen = chosen.view(-1, *[1] * (images.ndim - 1))
        images = torch.where(chosen, encoder.mirror(images), images)
    if train.shift_fraction and images.ndim == 4:
        images = shift(images, train.shift_fraction)
    return images


def shift(images_BHWC: Tensor, fraction: float) -> Tensor:
    """Move each image by up to this share of its side; what comes in at the edge repeats the edge."""
    _, height, width, _ = images_BHWC.shape
    size = len(images_BHWC)

    def places(length: int) -> Tensor:
        most = round(fraction * length)
        offsets = torch.randint(-most, most + 1, (size, 1), device=images_BHWC.device)
        return (torch.arange(length, device=images_BHWC.device) + offsets).clamp(0, length - 1)

    rows, columns = places(height), places(width)
    numbers = torch.arange(size, device=images_BHWC.device)
    return images_BHWC[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]


def leave_out(encoded: dict[str, Encoded], rate: float, kept: tuple[str, ...]) -> dict[str, Encoded]:
    """Take each modality from a sample with this chance, but never all that it has, nor those in `kept`."""
    names = [modality for modality in encoded if modality not in kept]
    present_BM = torch.stack([encoded[modality].present_B for modality in names], dim=1)
    stays_BM = present_BM & (torch.rand(present_BM.shape, device=present_BM.device) >= rate)
    if not kept:
        stays_BM = torch.where(stays_BM.any(1, keepdim=True), stays_BM, present_BM)
    stays = dict(zip(names, stays_BM.unbind(1), strict=True))
    return {
        modality: dataclasses.replace(found, real_BL=found.real_BL & stays[modality].unsqueeze(1))
        if modality in stays
        else found
        for modality, found in encoded.items()
    }


def cross_entropy(logits: Tensor, targets: Tensor, train: Any = None) -> Tensor:
    """Return the mean cross entropy of those with a target (not -1), smoothed in training."""
    smoothing = train.label_smoothing if train is not None else 0.0
    chosen = targets >= 0
    if not chosen.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[chosen].float(), targets[chosen], label_smoothing=smoothing)


def next_word_loss(decoder: Any, seen: Any, tokens_BCT: Tensor, train: Any = None) -> Tensor:
    """Return the mean cross entropy of the words after the first of each text, ends counted, smoothed in training.

    Padding is left out of the computation.
    """
    inputs_BCT, next_BCT = tokens_BCT[..., :-1], tokens_BCT[..., 1:]
    real_BCT = next_BCT != PAD
    logits_NV = decoder.logits(decoder(seen, inputs_BCT, real_BCT))
    return cross_entropy(logits_NV, next_BCT[real_BCT], train)
