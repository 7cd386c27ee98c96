"""What tasks share whose head is a language model: building it, and what stands before the text that it writes.

Shapes: B samples, K prompts of each, L places, H hidden of the model.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from stages.base.errors import InputError
from stages.media.text import UTF8
from stages.models.encoders.base import Encoded
from stages.models.heads.language_model import LanguageModel
from stages.models.heads.prefix import Places, Prefix
from stages.models.tables import PRESENT
from stages.models.tasks.base import Batch, ModelConfig, size_of
from stages.params import LanguageModelParams
from stages.pretrained.bases import Base


def make_language_model(config: ModelConfig) -> LanguageModel:
    """Build an experiment's head.

    Raises:
        InputError: when its model cannot be read, or does not take what its prompt names.
    """
    head = getattr(config.experiment, "head", None)
    assert isinstance(head, LanguageModelParams)
    base = config.bases["head"]
    media = [field for field in head.fields() if config.features[field].space != UTF8]
    try:
        _check_media(config, base, media)
        return LanguageModel(base.folder, head, config.experiment.dim, media, config.shared_on)
    except InputError as error:
        raise InputError(f"head: {head.model}: {error}") from None


def _check_media(config: ModelConfig, base: Base, media: Sequence[str]) -> None:
    """Hold what the model is to read as it is against what it can: what its own encoder made of images."""
    for modality in media:
        if base.reference is None or config.features[modality].space != base.reference.digest:
            raise InputError(
                f"its prompt has {{{modality}}}, whose features are not made by this model; take the extractor "
                "huggingface with the same model, or leave the field out: then an encoder and a projector stand between"
            )


def prefix_of(model: LanguageModel, config: ModelConfig, encoded: dict[str, Encoded], batch: Batch) -> Prefix:
    """Return what stands before each text: the encoded places, and the prompt with the sample's texts and media."""
    texts, media = {}, {}
    for field in config.experiment.prompted():
        if config.features[field].space == UTF8:
            texts[field] = _texts(batch[field])
        else:
            x_BLH, present_B = batch[field].float(), batch[field + PRESENT]
            media[field] = Places(x_BLH, present_B.unsqueeze(1).expand(x_BLH.shape[:2]))
    size = size_of(batch)
    prompts = max((len(found) // size for found in texts.values()), default=1)
    asked = [
        {field: found[i * len(found) // (size * prompts)] for field, found in texts.items()}
        for i in range(size * prompts)
    ]
    return model.prefix(encoded, media, asked, size)


def _texts(features: Tensor) -> list[str]:
    """Return the texts of features (B, bytes) or (B, K, bytes), all in one list; a missing one is empty."""
    rows: np.ndarray = features.flatten(0, -2).cpu().numpy()
    return [row.tobytes().rstrip(b"\0").decode("utf8") for row in rows]
