"""What stands before a language model's text: what the encoders see, projected, and the prompt behind it.

Shapes: B samples, X prompts of all samples, L places of the encoders, P places that the prompts of a
sample share, Q places of a prompt, D dim, H hidden of the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stages.models.encoders.base import Encoded
from stages.models.heads.pieces import Pieces
from stages.models.heads.prompt import Run, read_template


@dataclass(frozen=True)
class Places:
    """Vectors in the model's own width (B, P, H), and which of them are real (B, P)."""

    x_BPH: Tensor
    real_BP: Tensor

    def of(self, rows_X: Tensor | None) -> Self:
        """Return the places of these rows; None for all as they are."""
        return self if rows_X is None else type(self)(self.x_BPH[rows_X], self.real_BP[rows_X])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put places one behind the other."""
        return cls(torch.cat([p.x_BPH for p in parts], dim=1), torch.cat([p.real_BP for p in parts], dim=1))


@dataclass(frozen=True)
class Prefix:
    """What the prompts of a sample share (B), what is each one's own (X), and its last place, which a text follows.

    `sample_X` is the sample of each prompt; None where each has one. `looked` are the places, those of `shared` and
    then those of `own`, whose attention is worth showing.
    """

    shared: Places
    own: Places
    last_XH: Tensor
    sample_X: Tensor | None
    looked: slice


class PrefixMaker(nn.Module):
    """The projector and the prompt's template."""

    def __init__(self, pieces: Pieces, template: str, media: Sequence[str], sizes: tuple[int, int]) -> None:
        """Take the template, which of its fields are media, and the widths D and H; D is 0 where nothing is encoded."""
        super().__init__()
        dim, hidden = sizes
        if dim:
            self.project = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        items = read_template(template, media, pieces)
        if not items or isinstance(items[-1], str):
            items.append(Run([], pieces))  # the piece that starts a text, where no words lead to it
        own = next((i for i, item in enumerate(items) if isinstance(item, Run) and item.fields), len(items) - 1)
        self._shared, self._own = items[:own], items[own:]

    def forward(
        self,
        embed: nn.Module,
        encoded: Mapping[str, Encoded],
        media: Mapping[str, Places],
        asked: Sequence[Mapping[str, str]],
        sample_X: Tensor | None,
    ) -> Prefix:
        """Put together what stands before the texts of B samples.

        Args:
            embed: From numbers of word pieces to H.
            encoded: What the encoders see, (B, L, D).
            media: By field, what the model reads as it is, (B, L, H).
            asked: The texts of each of the X prompts, by field.
            sample_X: The sample of each prompt; None where each has one.
        """
        seen = [Places(self.project(found.x_BLD), found.real_BL) for found in encoded.values()]
        given = [*seen, *media.values()]
        sample_X = sample_X if given else None  # where nothing is shared but words
        size = len(asked) if sample_X is None else len(given[0].x_BPH)
        shared = [*seen, *_blocks(self._shared, embed, media, [{}] * size)]
        repeated = {modality: places.of(sample_X) for modality, places in media.items()}
        own = Places.joined(list(_blocks(self._own, embed, repeated, asked)))
        before = Places.joined(shared) if shared else Places(own.x_BPH[:size, :0], own.real_BP[:size, :0])
        looked = _span([*shared, own], seen[0] if seen else next(iter(media.values()), own))
        return Prefix(before, *_without_last(own), sample_X, looked)


def _blocks(
    items: Sequence[Run | str], embed: nn.Module, media: Mapping[str, Places], rows: Sequence[Mapping[str, str]]
) -> Iterator[Places]:
    """Yield what each item of a template becomes, a row each."""
    for item in items:
        if isinstance(item, str):
            yield media[item]
            continue
        filled = [torch.tensor(item.fill(row), dtype=torch.long) for row in rows]
        real = pad_sequence([torch.ones_like(ids, dtype=torch.bool) for ids in filled], batch_first=True)
        device = next(embed.parameters()).device
        yield Places(embed(pad_sequence(filled, batch_first=True).to(device)), real.to(device))


def _without_last(own: Places) -> tuple[Places, Tensor]:
    """Take the last real place of each row out; places that are real in no row any more are dropped."""
    numbers_Q = torch.arange(own.real_BP.shape[1], device=own.real_BP.device)
    last_X = (own.real_BP * numbers_Q).argmax(1)
    last_XH = own.x_BPH[torch.arange(len(last_X), device=last_X.device), last_X]
    real_XQ = own.real_BP & (numbers_Q != last_X.unsqueeze(1))
    kept_Q = real_XQ.any(0)
    return Places(own.x_BPH[:, kept_Q], real_XQ[:, kept_Q]), last_XH


def _span(blocks: Sequence[Places], one: Places) -> slice:
    """Return where one of several blocks stands."""
    at = 0
    for block in blocks:
        length = block.x_BPH.shape[1]
        if block is one:
            return slice(at, at + length)
        at += length
    return slice(0, 0)
