"""What stands before a language model's text: what the encoders see, projected, and the prompt behind it.

Shapes: B samples, X prompts of all samples, L places of the encoders, P places that the prompts of a
sample share, Q places of a prompt, D dim, H hidden of the model.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stages.models.encoders.base import Encoded
from stages.models.heads.pieces import Pieces
from stages.models.heads.prompt import Run, read_template


@dataclass(frozen=True)
class Places:
    """Vectors in the model's own width (B, P, H), and which of them are real (B, P).

    `moved_BP3` is how far from its number among the real places each stands, in time, by row and by column: for
    models in whose eyes the places of an image lie in a square (`in_squares`), None for others.
    """

    x_BPH: Tensor
    real_BP: Tensor
    moved_BP3: Tensor | None = None

    def at(self, rows: Tensor | tuple[slice, Tensor]) -> Self:
        """Return the places of these rows, or of all rows these."""
        moved = None if self.moved_BP3 is None else self.moved_BP3[rows]
        return type(self)(self.x_BPH[rows], self.real_BP[rows], moved)

    def of(self, rows_X: Tensor | None) -> Self:
        """Return the places of these rows; None for all as they are."""
        return self if rows_X is None else self.at(rows_X)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Put places one behind the other."""
        moved = [p.moved_BP3 for p in parts if p.moved_BP3 is not None]
        return cls(
            torch.cat([p.x_BPH for p in parts], dim=1),
            torch.cat([p.real_BP for p in parts], dim=1),
            torch.cat(moved, dim=1) if moved else None,
        )


@dataclass(frozen=True)
class Prefix:
    """What the prompts of a sample share (B), what is each one's own (X), and its last place, which a text follows.

    `sample_X` is the sample of each prompt; None where each has one. `looked` are the places, those of `shared` and
    then those of `own`, whose attention is worth showing. `moved_X` is how far the text behind is moved, as
    `Places.moved_BP3`.
    """

    shared: Places
    own: Places
    last_XH: Tensor
    sample_X: Tensor | None
    looked: slice
    moved_X: Tensor | None = None

    def at(self, rows_Y: Tensor) -> Self:
        """Return the prefix of which only these prompts are asked on, rows (Y,) of X; what they share stays whole."""
        moved = None if self.moved_X is None else self.moved_X[rows_Y]
        return replace(self, last_XH=self.last_XH[rows_Y], moved_X=moved)

    def behind(self, x_YTH: Tensor, real_YT: Tensor, times: int) -> Places:
        """Return the places (Y, T) of texts behind it, Y = X * `times`: those of each prompt one after the other."""
        if self.moved_X is None:
            return Places(x_YTH, real_YT)
        moved_Y = self.moved_X.repeat_interleave(times)
        return Places(x_YTH, real_YT, moved_Y[:, None, None].expand(-1, x_YTH.shape[1], 3))


class PrefixMaker(nn.Module):
    """The projector and the prompt's template."""

    def __init__(
        self, pieces: Pieces, template: str, media: Sequence[str], sizes: tuple[int, int], in_squares: bool = False
    ) -> None:
        """Take the template, which of its fields are media, and the widths D and H; D is 0 where nothing is encoded.

        With `in_squares` the places of a medium lie in a square, see `Places`.
        """
        super().__init__()
        self._in_squares = in_squares
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
        parts, moved_X = list(_blocks(self._own, embed, repeated, asked)), None
        own = Places.joined(parts)
        looked = _span([*shared, own], seen[0] if seen else next(iter(media.values()), own))
        if self._in_squares:
            moved_X = torch.zeros(size, dtype=torch.long, device=parts[0].x_BPH.device)
            shared, moved_X = _in_squares(shared, list(media.values()), moved_X)
            moved_X = moved_X if sample_X is None else moved_X[sample_X]
            parts, moved_X = _in_squares(parts, list(repeated.values()), moved_X)
            own = Places.joined(parts)
        before = Places.joined(shared) if shared else own.at((slice(size), torch.arange(0)))
        return Prefix(before, *_without_last(own), sample_X, looked, moved_X)


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


def _in_squares(blocks: Sequence[Places], media: Sequence[Places], moved_B: Tensor) -> tuple[list[Places], Tensor]:
    """Return blocks with where their places stand, and how far what follows is moved; `moved_B`: the first ones.

    A medium's places stand at one time, by row and column of their square; what follows stands behind its last row.
    That is how Qwen2-VL counts (Wang et al. 2024, multimodal rotary positions).
    """
    found = []
    for block in blocks:
        moved_BP3 = moved_B[:, None, None].expand(*block.real_BP.shape, 3)
        if any(block is medium for medium in media):
            number_P = torch.arange(block.real_BP.shape[1], device=moved_B.device)
            side = math.isqrt(len(number_P))
            square_P3 = torch.stack([0 * number_P, number_P // side, number_P % side], dim=1)
            moved_BP3 = moved_BP3 + (square_P3 - number_P.unsqueeze(1))
            moved_B = moved_B + (side - len(number_P)) * block.real_BP.any(1)
        found.append(replace(block, moved_BP3=moved_BP3))
    return found, moved_B


def _without_last(own: Places) -> tuple[Places, Tensor]:
    """Take the last real place of each row out; places that are real in no row any more are dropped."""
    numbers_Q = torch.arange(own.real_BP.shape[1], device=own.real_BP.device)
    last_X = (own.real_BP * numbers_Q).argmax(1)
    last_XH = own.x_BPH[torch.arange(len(last_X), device=last_X.device), last_X]
    real_XQ = own.real_BP & (numbers_Q != last_X.unsqueeze(1))
    kept_Q = real_XQ.any(0)
    return replace(own, real_BP=real_XQ).at((slice(None), kept_Q)), last_XH


def _span(blocks: Sequence[Places], one: Places) -> slice:
    """Return where one of several blocks stands."""
    at = 0
    for block in blocks:
        length = block.x_BPH.shape[1]
        if block is one:
            return slice(at, at + length)
        at += length
    return slice(0, 0)
