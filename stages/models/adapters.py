"""A pretrained model of which only a part learns.

What is frozen is hidden from `nn.Module`: it is no part of what is averaged, kept in checkpoints or saved, and copies
share it. So a model that learns by LoRA (Hu et al. 2022) is a few MB, and its base is kept apart.
"""

import copy
from collections import Counter
from typing import Any, Self

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.params import LoraParams
from stages.pretrained import huggingface as pretrained
from stages.pretrained import sharing

LORA = "lora_"  # what peft's names of new weights have in them
ALL_LINEAR = "all-linear"


class _Base:
    """The model, out of the sight of `nn.Module`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy what learns; share what is frozen."""
        memo |= {id(weight): weight for weight in self.model.parameters() if not weight.requires_grad}
        return type(self)(copy.deepcopy(self.model, memo))


class Adapter(nn.Module):
    """Holds a model and registers the weights of it that learn."""

    def __init__(self, model: Any, train: str, lora: LoraParams, last_layers: int = 0) -> None:
        """Choose what learns: nothing (`frozen`), thin matrices beside linear layers (`lora`), `last_layers`, or `all`.

        Raises:
            InputError: when the model has none of the layers that are named.
        """
        super().__init__()
        model.requires_grad_(train == "all")
        if train == "lora":
            model = with_lora(model, lora)
        elif train == "last_layers":
            _free_last(model, last_layers)
        if sharing.is_shared(model):
            for name, weight in model.named_parameters():
                if weight.requires_grad and LORA not in name:
                    sharing.own(weight)
        self._base = _Base(model)
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): weight for name, weight in model.named_parameters() if weight.requires_grad}
        )

    @property
    def model(self) -> Any:
        """The model, with LoRA where there is any."""
        return self._base.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def pretrained_weights(self) -> list[Tensor]:
        """Return the weights that learn and did not begin at random."""
        return [weight for name, weight in self.weights.items() if LORA not in name]

    def checkpoint_gradients(self) -> None:
        """Keep of each layer its input alone while training, and compute the rest again: less memory, more time.

        Raises:
            InputError: when the model cannot.
        """
        try:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        except ValueError as error:
            raise InputError(f"gradient_checkpointing: {error}; set it to false") from None
        self.model.disable_input_require_grads()  # which would send gradients through layers that are frozen

    def halve_frozen(self, dtype: torch.dtype) -> None:
        """Keep the frozen weights of linear layers in the format that products are made in: the same products, sooner.

        For training alone. A weight that is also an embedding stays as it is.
        """
        embeddings = {id(part.weight) for part in self.model.modules() if isinstance(part, nn.Embedding)}
        for part in self.model.modules():
            if isinstance(part, nn.Linear) and not part.weight.requires_grad and id(part.weight) not in embeddings:
                part.weight.data = part.weight.data.to(dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.model._apply(fn)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of the hidden model too where anything of it learns; batch norms keep their statistics."""
        self.model.train(mode and bool(self.weights))
        for part in self.model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return super().train(mode)


def with_lora(model: Any, lora: LoraParams, all_linear: str | list[str] = ALL_LINEAR) -> Any:
    """Put two thin matrices beside each layer that is named, the first drawn from torch's global generator.

    `all_linear` is what that word stands for, where peft itself cannot tell.

    Raises:
        InputError: when the model has no such layer.
    """
    peft = pretrained.import_peft()
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if lora.targets != [ALL_LINEAR] else all_linear,
        bias="none",
    )
    try:
        peft.inject_adapter_in_model(config, getattr(model, "base_model", model))  # not the layer that scores words
        return model
    except ValueError as error:
        linear = sorted(
            {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
        )
        raise InputError(f"lora.targets: {', '.join(lora.targets)}: {error}; it has {', '.join(linear)}") from None


def _free_last(model: Any, count: int) -> None:
    """Let the last layers learn, which are those of the kind that the model has most of, and the norms behind them."""
    parts = [layer for part in model.modules() if isinstance(part, nn.ModuleList) for layer in part]
    if not parts:
        raise InputError("has no stack of layers, so that its last ones cannot be told; use lora or all")
    (most, _), *_ = Counter(map(type, parts)).most_common(1)
    layers = [layer for layer in parts if type(layer) is most]  # also across stages, as of ConvNeXt and CLAP
    if count > len(layers):
        raise InputError(f"has {len(layers)} layers, fewer than last_layers: {count}")
    for layer in layers[len(layers) - count :]:
        layer.requires_grad_(True)
    for name, part in model.named_children():
        if isinstance(part, nn.LayerNorm) and "pre" not in name:
            part.requires_grad_(True)
