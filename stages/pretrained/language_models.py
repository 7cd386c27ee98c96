"""Causal language models, and those that write of vision-language models."""

from pathlib import Path
from typing import Any

import torch

from stages.pretrained.huggingface import VISION_LANGUAGE, import_transformers, kind, read_weights


def read_language_model(folder: Path) -> Any:
    """Read a causal language model as float32, its attention written out so that reruns are exact.

    Of a vision-language model it is the part that writes: what it sees comes from an extractor.

    Raises:
        InputError: as `read_model`.
    """
    transformers = import_transformers()
    if kind(folder) not in VISION_LANGUAGE:
        return read_weights(transformers.AutoModelForCausalLM, folder, attn_implementation="eager")
    whole = read_weights(transformers.AutoModelForImageTextToText, folder, attn_implementation="eager")
    with torch.device("meta"):
        part = transformers.AutoModelForCausalLM.from_config(whole.config.get_text_config())
    setattr(part, part.base_model_prefix, whole.get_decoder())
    part.set_output_embeddings(whole.get_output_embeddings())
    return part.eval()
