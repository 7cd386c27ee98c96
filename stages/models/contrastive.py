"""What a contrastive model (CLIP, SigLIP, CLAP) makes of texts, to be compared with images or sounds in its space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.pretrained import huggingface as pretrained
from stages.pretrained.inputs import PADDING, TextInput, reads_padding, text_given

SCALES = ("logit_scale", "logit_scale_a")  # what families call the logarithm of the factor of their similarities


@torch.inference_mode()
def text_vectors(folder: Path, texts: Sequence[str]) -> tuple[Tensor, float]:
    """Return unit vectors of texts (N, D), and the factor by which the model multiplies cosines before a softmax."""
    model = pretrained.read_model(folder)
    text_input = TextInput(folder, model.text_model.config.max_position_embeddings)
    ids_NL = torch.from_numpy(np.stack([text_input.ids(text) for text in texts]))
    if not reads_padding(model.text_model):
        ids_NL = ids_NL[:, : int((ids_NL != PADDING).sum(1).max())]
    given = text_given(model.text_model, ids_NL, text_input.pad)
    vectors_ND = model.get_text_features(**given).pooler_output.float()
    scale = next(getattr(model, name) for name in SCALES if hasattr(model, name))
    return F.normalize(vectors_ND, dim=-1), float(scale.exp())
