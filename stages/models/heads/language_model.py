"""A pretrained causal language model that writes: what the encoders see stands before its text as a prefix.

The model itself stays as it is; what learns is the projector and, with LoRA (Hu et al. 2022), two thin matrices
beside each of its linear layers. So a trained head is a few MB, and the base is kept apart. The features become a
prefix as in LLaVA (Liu et al. 2023): a projector of two layers.
Shapes: B samples, X prompts of all samples, C texts or K beams after a prompt, T word pieces, P places before them,
S places so far, L those whose attention is shown, H hidden of the model, N heads, V vocabulary.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.base.errors import InputError
from stages.media.text import END, PAD, START
from stages.models.adapters import Adapter
from stages.models.encoders.base import Encoded
from stages.models.heads.base import State
from stages.models.heads.pieces import OFFSET, Pieces
from stages.models.heads.prefix import Places, Prefix, PrefixMaker
from stages.params import LanguageModelParams
from stages.pretrained import sharing
from stages.pretrained.huggingface import IN_SQUARES, VISION_LANGUAGE, import_transformers, kind, read_weights

NEVER = -30.0  # the score of what is no word piece; finite, as smoothed labels want it
AT_A_TIME = 8  # texts of each prompt that are compared before asking whether another one can be likelier
AT_ONCE = 2**15  # places, those of prefixes among them, that are held at once where texts are compared
Kept = list[tuple[Tensor, Tensor]]  # keys and values (X, N, S, H / N) of each layer


class LanguageModel(nn.Module):
    """Follows the protocol `base.Decoder`, over `Pieces` and behind a `Prefix`."""

    def __init__(
        self,
        folder: Path,
        params: LanguageModelParams,
        dim: int,
        media: Sequence[str] = (),
        shared_on: torch.device | None = None,
    ) -> None:
        """Read the model from a folder and put LoRA beside its layers, if asked.

        `media` are the fields of the prompt that are no texts, but what the model's own encoder made of a medium.
        With `shared_on` its own weights are shared on that device (`pretrained.sharing`).

        Raises:
            InputError: when it cannot be read, is no causal language model, or has none of the layers named.
        """
        super().__init__()
        self.pieces = Pieces(folder)
        model = sharing.read(folder, "language model", read_language_model, shared_on)
        self.adapter = Adapter(model, params.train, params.lora)
        embedding = self.model.get_input_embeddings()
        if self.pieces.end >= embedding.num_embeddings:
            raise InputError(f"its text ends with piece {self.pieces.end}, its weights have {embedding.num_embeddings}")
        hidden = embedding.embedding_dim
        in_squares = kind(folder) in IN_SQUARES
        self.prefixes = PrefixMaker(self.pieces, params.prompt, media, (dim, hidden), in_squares)
        self._lead = " " if params.prompt and not params.prompt[-1].isspace() else ""  # what is written begins a word
        self._keeps = not params.gradient_checkpointing  # transformers keeps no keys and values then
        if params.gradient_checkpointing:
            self.adapter.checkpoint_gradients()
        self._takes_positions = "position_ids" in inspect.signature(self.model.base_model.forward).parameters

    @property
    def model(self) -> Any:
        """The language model, with LoRA where there is any."""
        return self.adapter.model

    def encode(self, text: str, max_pieces: int) -> list[int]:
        """Return the numbers of a text that is to be written, as `Pieces.encode`."""
        return self.pieces.encode(self._lead + text, max_pieces)

    def prefix(
        self,
        encoded: Mapping[str, Encoded],
        media: Mapping[str, Places],
        asked: Sequence[Mapping[str, str]],
        sample_X: Tensor | None = None,
    ) -> Prefix:
        """Return what stands before the texts, as `PrefixMaker.forward` says."""
        return self.prefixes(self.model.get_input_embeddings(), encoded, media, asked, sample_X)

    def forward(self, prefix: Prefix, tokens_XCT: Tensor, real_XCT: Tensor) -> Tensor:
        """Return what is read for the next piece at the real places, packed, (N, H); texts share their prefix."""
        if self.training and not self._keeps:
            return self._read_whole(prefix, tokens_XCT, real_XCT)
        return self._read_on(prefix, self._read(prefix), tokens_XCT, real_XCT)

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn (..., H) into scores of the next piece; the model's own end is our END."""
        own = self.model.get_output_embeddings()(hidden)
        scores = own.new_full((*own.shape[:-1], OFFSET + own.shape[-1]), NEVER)
        scores[..., OFFSET:] = own
        scores[..., END] = own[..., self.pieces.end]
        scores[..., OFFSET + self.pieces.end] = NEVER
        return scores

    def log_likelihoods(self, prefix: Prefix, texts_AT: Tensor) -> Tensor:
        """Return the log probability of each of A texts behind each prefix, its end counted, (X, A).

        Texts are numbers as `encode` gives them, (A, T), padded behind.
        """
        before, prompts = self._read(prefix), len(prefix.last_XH)
        lengths_A = (texts_AT != PAD).sum(1)
        order_A = lengths_A.argsort(stable=True)  # so that those read together are of like length
        places = before[1].shape[1] + int(lengths_A.max())
        found = [
            self._log_likelihoods(prefix, before, texts_AT[some_A].expand(prompts, -1, -1))
            for some_A in order_A.split(max(1, AT_ONCE // (prompts * places)))
        ]
        return torch.cat(found, dim=1)[:, order_A.argsort().to(prefix.last_XH.device)]

    def likeliest(self, prefix: Prefix, texts_AT: Tensor) -> tuple[Tensor, Tensor]:
        """Return which of A texts is the likeliest behind each prefix, (X,), and its log probability, (X,).

        No text is likelier than its first piece. So they are compared from the likeliest first piece on, until what
        was found is likelier than the first piece of all that are left: far fewer than all are read.
        """
        before = self._read(prefix)
        start_X11 = torch.full((len(prefix.last_XH), 1, 1), START, device=prefix.last_XH.device)
        hidden_XH = self._read_on(prefix, before, start_X11, torch.ones_like(start_X11, dtype=torch.bool))
        first_XA = self.logits(hidden_XH).float().log_softmax(-1)[:, texts_AT[:, 1].to(hidden_XH.device)]
        bound_XA, order_XA = first_XA.sort(dim=1, descending=True, stable=True)
        best_X = bound_XA.new_full((len(bound_XA),), -torch.inf)
        chosen_X = torch.zeros_like(order_XA[:, 0])
        for bound_XC, order_XC in zip(bound_XA.split(AT_A_TIME, 1), order_XA.split(AT_A_TIME, 1), strict=True):
            open_Y = (best_X < bound_XC[:, 0]).nonzero()[:, 0]
            if not len(open_Y):
                break
            kept, real_XP = before
            mine = [(key[open_Y], value[open_Y]) for key, value in kept], real_XP[open_Y]
            order_YC = order_XC[open_Y]
            found = self._log_likelihoods(prefix.at(open_Y), mine, texts_AT[order_YC.cpu()]).max(1)
            likelier_Y = found.values > best_X[open_Y]
            better_Y = open_Y[likelier_Y]
            chosen_X[better_Y] = order_YC.gather(1, found.indices[:, None])[:, 0][likelier_Y]
            best_X[better_Y] = found.values[likelier_Y]
        return chosen_X, best_X

    def _log_likelihoods(self, prefix: Prefix, before: tuple[Kept, Tensor], texts_XCT: Tensor) -> Tensor:
        """Return the log probability of C texts of each prompt's own behind what was kept of its prefix, (X, C)."""
        longest = int((texts_XCT != PAD).sum(-1).max())
        texts_XCT = texts_XCT[..., :longest].to(prefix.last_XH.device)
        next_XCT = texts_XCT[..., 1:]
        real_XCT = next_XCT != PAD
        logits_NV = self.logits(self._read_on(prefix, before, texts_XCT[..., :-1], real_XCT)).float()
        each_N = -nn.functional.cross_entropy(logits_NV, next_XCT[real_XCT], reduction="none")
        return each_N.new_zeros(real_XCT.shape).masked_scatter_(real_XCT, each_N).sum(-1)

    def start(self, prefix: Prefix, beams: int) -> State:
        """Read the prefix once; each beam keeps its keys and values, which grow by a piece a step."""
        kept, real_XP = self._read(prefix)
        tensors = [tensor for pair in kept for tensor in pair]
        return State([real_XP, prefix], [tensor.unsqueeze(1).expand(-1, beams, -1, -1, -1) for tensor in tensors])

    def step(self, tokens_XK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take one piece of each beam."""
        real_XP, prefix = state.memory
        x_YH = self._embed(tokens_XK.unsqueeze(-1), prefix).flatten(0, 1)
        given = prefix.behind(x_YH, torch.ones_like(x_YH[..., 0], dtype=torch.bool), tokens_XK.shape[1])
        past_XS = torch.cat([real_XP, real_XP.new_ones(len(real_XP), place)], dim=1)
        flat = [tensor.flatten(0, 1) for tensor in state.beams]
        kept = list(zip(flat[::2], flat[1::2], strict=True))
        hidden_YTH, grown, attentions = self._run(given, past_XS.repeat_interleave(tokens_XK.shape[1], 0), kept, True)
        weights = [layer[:, :, -1, prefix.looked].mean(1) for layer in attentions]
        beams = [tensor.unflatten(0, tokens_XK.shape) for pair in grown for tensor in pair]
        looked_XKL = torch.stack(weights).mean(0).unflatten(0, tokens_XK.shape)
        return hidden_YTH[:, -1].unflatten(0, tokens_XK.shape), looked_XKL, State(state.memory, beams)

    def _embed(self, tokens_XCT: Tensor, prefix: Prefix) -> Tensor:
        """Return (X, C, T, H); a text begins with the last place of its prefix."""
        own = torch.where(tokens_XCT >= OFFSET, tokens_XCT - OFFSET, self.pieces.end)
        x_XCTH = self.model.get_input_embeddings()(own)
        return torch.where((tokens_XCT == START).unsqueeze(-1), prefix.last_XH[:, None, None].to(x_XCTH.dtype), x_XCTH)

    def _read(self, prefix: Prefix) -> tuple[Kept, Tensor]:
        """Return what is kept of a prefix, and which of its places are real, (X, P)."""
        kept: Kept = []
        real_BP = prefix.shared.real_BP
        if real_BP.shape[1]:
            _, kept, _ = self._run(prefix.shared, real_BP[:, :0], kept)
        if prefix.sample_X is not None:
            kept = [(key[prefix.sample_X], value[prefix.sample_X]) for key, value in kept]
        real_XP = prefix.shared.of(prefix.sample_X).real_BP
        if prefix.own.real_BP.shape[1]:
            _, kept, _ = self._run(prefix.own, real_XP, kept)
        return kept, torch.cat([real_XP, prefix.own.real_BP], dim=1)

    def _read_on(self, prefix: Prefix, before: tuple[Kept, Tensor], tokens_XCT: Tensor, real_XCT: Tensor) -> Tensor:
        """Read C texts behind what was kept of their prefix; return the real places, packed, (N, H)."""
        texts = tokens_XCT.shape[1]
        given = prefix.behind(self._embed(tokens_XCT, prefix).flatten(0, 1), real_XCT.flatten(0, 1), texts)
        kept, real_XP = before
        read_YTH, _, _ = self._run(given, real_XP.repeat_interleave(texts, 0), _repeated(kept, texts))
        return read_YTH[given.real_BP]

    def _read_whole(self, prefix: Prefix, tokens_XCT: Tensor, real_XCT: Tensor) -> Tensor:
        """Do as `_read_on`, the prefix read with each text: nothing is kept but what a layer begins with."""
        texts = tokens_XCT.shape[1]
        given = prefix.behind(self._embed(tokens_XCT, prefix).flatten(0, 1), real_XCT.flatten(0, 1), texts)
        each_Y = torch.arange(len(real_XCT), device=real_XCT.device).repeat_interleave(texts) if texts > 1 else None
        before = Places.joined([prefix.shared.of(prefix.sample_X), prefix.own]).of(each_Y)
        read_YSH, _, _ = self._run(Places.joined([before, given]), given.real_BP[:, :0], None)
        return read_YSH[:, before.real_BP.shape[1] :][given.real_BP]

    def _run(
        self, given: Places, before_YS: Tensor, kept: Kept | None, attentions: bool = False
    ) -> tuple[Tensor, Kept, Any]:
        """Run the model on places behind others; what is not real is not looked at and takes no position.

        Returns what each place became, the keys and values of all (none are kept for `kept` None), and attentions.
        """
        real_YS = torch.cat([before_YS, given.real_BP], dim=1)
        places = real_YS.long().cumsum(1).sub(1).clamp_min(0)[:, before_YS.shape[1] :]
        if given.moved_BP3 is not None:
            places = (places.unsqueeze(-1) + given.moved_BP3).clamp_min(0).permute(2, 0, 1)
        cache = None if kept is None else _cache(kept)
        numbered = {"position_ids": places} if self._takes_positions else {}
        out = self.model.base_model(
            inputs_embeds=given.x_BPH,
            attention_mask=real_YS.long(),
            past_key_values=cache,
            use_cache=cache is not None,
            output_attentions=attentions,
            **numbered,
        )
        return out.last_hidden_state, [] if cache is None else list(_kept(cache)), out.attentions


def _repeated(kept: Kept, times: int) -> Kept:
    if times == 1:
        return kept
    return [(key.repeat_interleave(times, 0), value.repeat_interleave(times, 0)) for key, value in kept]


def _cache(kept: Kept) -> Any:
    """Return a cache of transformers' with these keys and values by layer."""
    cache = import_transformers().DynamicCache()
    for layer, (key, value) in enumerate(kept):
        cache.update(key, value, layer)
    return cache


def _kept(cache: Any) -> Iterator[tuple[Tensor, Tensor]]:
    for layer in cache.layers:
        yield layer.keys, layer.values


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
    if kind(folder) in IN_SQUARES:  # its part that writes has no class of its own
        whole.model.visual = None
        return whole.eval()
    with torch.device("meta"):
        part = transformers.AutoModelForCausalLM.from_config(whole.config.get_text_config())
    setattr(part, part.base_model_prefix, whole.get_decoder())
    part.set_output_embeddings(whole.get_output_embeddings())
    return part.eval()
