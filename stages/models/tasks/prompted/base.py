"""What tasks share whose head is a language model: building it, and what stands before the text that it writes.

Shapes: B samples, K texts of each, X prompts of all, L places, H hidden of the model.
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
    dim = config.experiment.dim if config.experiment.encoded() else 0
    try:
        _check_media(config, base, media)
        return LanguageModel(base.folder, head, dim, media, config.shared_on)
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
    """Return what stands before each text: the encoded places, and the prompt with the sample's texts and media.

    Of a text that comes in several, such as questions, each that is there has a prompt, in the order of samples.
    """
    texts, media = {}, {}
    for field in config.experiment.prompted():
        if config.features[field].space == UTF8:
            texts[field] = _texts(batch[field])
        else:
            x_BLH, present_B = batch[field].float(), batch[field + PRESENT]
            media[field] = Places(x_BLH, present_B.unsqueeze(1).expand(x_BLH.shape[:2]))
    several = next((batch[field + PRESENT] for field in texts if batch[field + PRESENT].ndim == 2), None)
    if several is None:
        places = [(i, i) for i in range(size_of(batch))]
        return model.prefix(encoded, media, [_row(texts, place, batch) for place in places])
    sample_X = several.nonzero()[:, 0]
    numbers = several.flatten().nonzero()[:, 0].tolist()
    places = list(zip(sample_X.tolist(), numbers, strict=True))
    return model.prefix(encoded, media, [_row(texts, place, batch) for place in places], sample_X)


def _row(texts: dict[str, list[str]], place: tuple[int, int], batch: Batch) -> dict[str, str]:
    """Return the texts of one prompt, by the number of its sample and that of its text where they come in several."""
    sample, number = place
    return {field: found[number if batch[field + PRESENT].ndim == 2 else sample] for field, found in texts.items()}


def _texts(features: Tensor) -> list[str]:
    """Return the texts of features (B, bytes) or (B, K, bytes), all in one list; a missing one is empty."""
    rows: np.ndarray = features.flatten(0, -2).cpu().numpy()
    return [row.tobytes().rstrip(b"\0").decode("utf8") for row in rows]
