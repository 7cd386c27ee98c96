"""A pretrained causal language model as a caption decoder: what the encoders see stands before its text as a prefix.

The model itself stays as it is; what learns is the projector and, with LoRA (Hu et al. 2022), two thin matrices
beside each of its linear layers. So a trained head is a few MB, and the base is kept apart. The features become a
prefix as in LLaVA (Liu et al. 2023): a projector of two layers.
Shapes: B images, C captions or K beams of an image, T word pieces, L places of the encoders, P places of the prefix,
H hidden of the model, N heads, S places kept.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.media.text import END, SPECIALS, START, tokenize
from stages.models.adapters import Adapter
from stages.models.heads.base import CaptionDecoder, State
from stages.params import LanguageModelParams
from stages.pretrained import huggingface as pretrained
from stages.pretrained import sharing

OFFSET = len(SPECIALS)  # the model's own numbers of word pieces begin behind ours
HALF = "\N{REPLACEMENT CHARACTER}"  # what stands for a letter whose bytes are not all there
NEVER = -30.0  # the score of what is no word piece; finite, as smoothed labels want it


class Pieces:
    """The word pieces of a model: its tokenizer's numbers behind those of our special tokens."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer.

        Raises:
            InputError: when it has no piece that ends a text.
        """
        self._tokenizer = pretrained.read_tokenizer(folder)
        self.end = self._tokenizer.eos_token_id
        if self.end is None:
            raise InputError("its tokenizer has no piece that ends a text (eos_token)")
        start = self._tokenizer.bos_token_id
        self.start = self.end if start is None else start

    def ids(self, text: str) -> list[int]:
        """Return the model's own numbers of a text, without any special piece."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, text: str, max_pieces: int) -> list[int]:
        """Return start, at most `max_pieces` numbers, end; a text cut short has no end."""
        ids = [number + OFFSET for number in self.ids(text)]
        return [START, *ids[:max_pieces]] if len(ids) > max_pieces else [START, *ids, END]

    def read(self, ids: Sequence[int]) -> tuple[str, list[tuple[str, list[int]]]]:
        """Return the text of numbers, and its words as the metrics cut them, each with the places of its pieces."""
        own = [number - OFFSET for number in ids]
        ends = [len(self._text(own[: place + 1]).rstrip(HALF)) for place in range(len(own))]
        spans = list(zip([0, *ends], ends, strict=False))
        text, at, words = self._text(own), 0, []
        folded = text.lower()
        for word in tokenize(text):
            found = folded.find(word, at)
            # a word that is written otherwise, such as a number, has the next letter for its place
            first = found if found >= 0 else next((i for i in range(at, len(text)) if text[i].isalnum()), at)
            at = first + (len(word) if found >= 0 else 1)
            places = [place for place, span in enumerate(spans) if _touches(span, first, at)]
            words.append((word, places or [len(own) - 1]))
        return text.strip(), words

    def _text(self, own: list[int]) -> str:
        return self._tokenizer.decode(own, skip_special_tokens=True)


def _touches(span: tuple[int, int], first: int, end: int) -> bool:
    """Tell whether a piece's letters lie in those of a word; the first bytes of a letter have none yet."""
    return span[0] < end and (span[1] > first or span == (first, first))


class LanguageModel(CaptionDecoder):
    """Follows the protocol of `base.CaptionDecoder`, over `Pieces`."""

    def __init__(
        self, folder: Path, params: LanguageModelParams, dim: int, shared_on: torch.device | None = None
    ) -> None:
        """Read the model from a folder and put LoRA beside its layers, if asked.

        With `shared_on` its own weights are shared on that device (`pretrained.sharing`).

        Raises:
            InputError: when it cannot be read, is no causal language model, or has none of the layers named.
        """
        nn.Module.__init__(self)
        self.pieces = Pieces(folder)
        model = sharing.read(folder, "language model", pretrained.read_language_model, shared_on)
        self.adapter = Adapter(model, params.train, params.lora)
        embedding = self.model.get_input_embeddings()
        if self.pieces.end >= embedding.num_embeddings:
            raise InputError(f"its text ends with piece {self.pieces.end}, its weights have {embedding.num_embeddings}")
        hidden = embedding.embedding_dim
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        prompt = torch.tensor([self.pieces.ids(params.prompt)], dtype=torch.long)
        self.register_buffer("prompt_1P", prompt, persistent=False)
        self.prompt_1P: Tensor

    @property
    def model(self) -> Any:
        """The language model, with LoRA where there is any."""
        return self.adapter.model

    def forward(self, grid_BLD: Tensor, tokens_BCT: Tensor, real_BCT: Tensor) -> Tensor:
        """Return what is read for the next piece at the real places, packed; captions share their image's prefix."""
        captions = tokens_BCT.shape[1]
        kept = [
            (key.repeat_interleave(captions, 0), value.repeat_interleave(captions, 0))
            for key, value in self._read_prefix(grid_BLD)
        ]
        real_XT = real_BCT.flatten(0, 1)
        before_XP = real_XT.new_ones(len(real_XT), kept[0][0].shape[2])
        out = self.model.base_model(
            inputs_embeds=self._embed(tokens_BCT.flatten(0, 1)),
            attention_mask=torch.cat([before_XP, real_XT], dim=1).long(),
            past_key_values=_cache(kept),
            use_cache=True,
        )
        return out.last_hidden_state[real_XT]

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn (..., H) into scores of the next piece; the model's own end is our END."""
        own = self.model.get_output_embeddings()(hidden)
        scores = own.new_full((*own.shape[:-1], OFFSET + own.shape[-1]), NEVER)
        scores[..., OFFSET:] = own
        scores[..., END] = own[..., self.pieces.end]
        scores[..., OFFSET + self.pieces.end] = NEVER
        return scores

    def start(self, grid_BLD: Tensor, beams: int) -> State:
        """Read the prefix once; each beam keeps its keys and values, which grow by a piece a step."""
        kept = [tensor for pair in self._read_prefix(grid_BLD) for tensor in pair]
        places = grid_BLD.new_zeros(len(grid_BLD), grid_BLD.shape[1], 0)
        return State([places], [tensor.unsqueeze(1).expand(-1, beams, -1, -1, -1) for tensor in kept])

    def step(self, tokens_BK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take one piece of each beam."""
        images, beams = tokens_BK.shape
        kept = [tensor.flatten(0, 1) for tensor in state.beams]
        cache = _cache(list(zip(kept[::2], kept[1::2], strict=True)))
        out = self.model.base_model(
            inputs_embeds=self._embed(tokens_BK.flatten().unsqueeze(1)),
            past_key_values=cache,
            use_cache=True,
            output_attentions=True,
        )
        cells = state.memory[0].shape[1]
        attention_XL = torch.stack([weights[:, :, -1, :cells].mean(1) for weights in out.attentions]).mean(0)
        grown = [tensor.unflatten(0, (images, beams)) for pair in _kept(cache) for tensor in pair]
        hidden_BKH = out.last_hidden_state[:, -1].unflatten(0, (images, beams))
        return hidden_BKH, attention_XL.unflatten(0, (images, beams)), State(state.memory, grown)

    def _read_prefix(self, grid_BLD: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values (B, N, P, H/N) of each layer over the projected places and the prompt."""
        prompt_BPH = self.model.get_input_embeddings()(self.prompt_1P).expand(len(grid_BLD), -1, -1)
        prefix_BPH = torch.cat([self.project(grid_BLD), prompt_BPH], dim=1)
        cache = _cache([])
        self.model.base_model(inputs_embeds=prefix_BPH, past_key_values=cache, use_cache=True)
        return list(_kept(cache))

    def _embed(self, tokens: Tensor) -> Tensor:
        own = torch.where(tokens >= OFFSET, tokens - OFFSET, self.pieces.end)
        return self.model.get_input_embeddings()(own.masked_fill(tokens == START, self.pieces.start))


def _cache(kept: Sequence[tuple[Tensor, Tensor]]) -> Any:
    """Return a cache of transformers' with these keys and values by layer."""
    cache = pretrained.import_transformers().DynamicCache()
    for layer, (key, value) in enumerate(kept):
        cache.update(key, value, layer)
    return cache


def _kept(cache: Any) -> Iterator[tuple[Tensor, Tensor]]:
    for layer in cache.layers:
        yield layer.keys, layer.values
