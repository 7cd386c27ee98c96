"""torchvision's classification backbones: their names, their weights, and what they expect of images.

torchvision is imported only where one is asked for: it takes a second, and most experiments have none.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stages.base.errors import InputError

MEAN = (0.485, 0.456, 0.406)  # of ImageNet in RGB 0..1, as all torchvision classification weights expect
STD = (0.229, 0.224, 0.225)


def models() -> Any:
    """Return the module `torchvision.models`."""
    import torchvision

    return torchvision.models


def backbone_names() -> list[str]:
    """Return the classification models that torchvision has."""
    return models().list_models(module=models())


def read_weights(params: Any, key: str) -> dict[str, torch.Tensor]:
    """Read the weights that a section names by path or torchvision's own name; `key` names it in errors.

    Raises:
        InputError: when they are unknown, missing, or not those of `weights_sha256`.
    """
    path = Path(params.weights)
    if path.suffix:
        if not path.is_file():
            raise InputError(
                f"{key}.weights: no file {path}; give the path of a state dict (.pth or .safetensors) "
                f"or a torchvision name, one of {_weight_names(params.backbone)}"
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if params.weights_sha256 and found != params.weights_sha256:
            raise InputError(f"{key}.weights_sha256: {path} has sha256 {found}, not {params.weights_sha256}")
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    else:
        state = _download_weights(params, key)
    return {name: value.contiguous() for name, value in sorted(state.items())}


def _download_weights(params: Any, key: str) -> dict[str, torch.Tensor]:
    try:
        weights = models().get_model_weights(params.backbone)[params.weights]
    except KeyError:
        raise InputError(
            f"{key}.weights: {params.weights!r} is neither a file nor one of {_weight_names(params.backbone)}"
        ) from None
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise InputError(
            f"{key}.weights: {params.weights} could not be downloaded from {weights.url} ({error}); "
            "fetch that file elsewhere and give its path"
        ) from None


def _weight_names(backbone: str) -> str:
    return ", ".join(models().get_model_weights(backbone).__members__)
