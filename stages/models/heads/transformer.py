"""A Transformer caption decoder (Vaswani et al. 2017), pre-norm, attending to the grid in every layer.

Shapes: B images, C captions or K beams of an image, T words, L grid cells, H heads, D dim, V vocabulary.
"""

import torch
from torch import Tensor, nn

from stages.models.heads.base import CaptionDecoder, State, padded


class Attention(nn.Module):
    """Multi-head attention; keys and values are projected apart from queries so that they can be kept."""

    def __init__(self, dim: int, heads: int) -> None:
        """Make the projections."""
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def split(self, x_NTD: Tensor) -> Tensor:
        """Turn (N, T, D) into (N, H, T, D/H)."""
        return x_NTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def mix(self, query_NTD: Tensor, key_value_NSE: Tensor, causal: bool = False) -> tuple[Tensor, Tensor]:
        """Attend, (N, T, D); also return the weights (N, H, T, S).

        Written out: torch's fused kernel is several times slower backwards in bfloat16 on a CPU, and on a GPU its
        backward pass is not deterministic.
        """
        key, value = key_value_NSE.chunk(2, dim=-1)
        query = self.split(query_NTD)
        scores = query @ self.split(key).transpose(-1, -2) * query.shape[-1] ** -0.5
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        weights = scores.softmax(-1)
        return (weights @ self.split(value)).transpose(1, 2).flatten(2), weights


class SharedDropout(nn.Module):
    """Dropout with one mask for all words of a caption (Gal and Ghahramani 2016): as good, far cheaper to draw."""

    def __init__(self, rate: float) -> None:
        """Take the chance of a zero."""
        super().__init__()
        self.rate = rate

    def forward(self, x_ND: Tensor, caption_N: Tensor) -> Tensor:
        """Drop from packed words (N, D); `caption_N` numbers the caption of each word, in order."""
        if not self.training or not self.rate:
            return x_ND
        kept = torch.empty(int(caption_N[-1]) + 1, x_ND.shape[-1], dtype=x_ND.dtype, device=x_ND.device)
        return x_ND * kept.bernoulli_(1 - self.rate).div_(1 - self.rate)[caption_N]


class Layer(nn.Module):
    """Words attend to earlier words, then to the grid, then pass a feed-forward network."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        """Make the three parts."""
        super().__init__()
        self.words, self.grid = Attention(dim, heads), Attention(dim, heads)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.dropout = SharedDropout(dropout)

    def forward(self, x_ND: Tensor, grid_BLD: Tensor, real_BCT: Tensor, caption_N: Tensor) -> Tensor:
        """Process the real words of all captions, packed; padding exists only inside attention.

        Captions of one image read the one projection of its grid.
        """
        normed = self.norms[0](x_ND)
        query, key_value = padded(self.words.query(normed), real_BCT), padded(self.words.key_value(normed), real_BCT)
        mixed, _ = self.words.mix(query.flatten(0, 1), key_value.flatten(0, 1), causal=True)
        x_ND = x_ND + self.dropout(self.words.out(mixed.unflatten(0, real_BCT.shape[:2])[real_BCT]), caption_N)
        query = padded(self.grid.query(self.norms[1](x_ND)), real_BCT)
        mixed, _ = self.grid.mix(query.flatten(1, 2), self.grid.key_value(grid_BLD))
        x_ND = x_ND + self.dropout(self.grid.out(mixed.unflatten(1, real_BCT.shape[1:])[real_BCT]), caption_N)
        return x_ND + self.dropout(self.feed_forward(self.norms[2](x_ND)), caption_N)

    def step(self, x_BKD: Tensor, grid_BLE: Tensor, cache_BKSE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Process one word of each beam; return x, attention over the grid, and the longer cache."""
        normed = self.norms[0](x_BKD)
        cache_BKSE = torch.cat([cache_BKSE, self.words.key_value(normed).unsqueeze(2)], dim=2)
        query = self.words.query(normed).flatten(0, 1).unsqueeze(1)
        mixed, _ = self.words.mix(query, cache_BKSE.flatten(0, 1))
        x_BKD = x_BKD + self.words.out(mixed.view_as(x_BKD))
        mixed, weights = self.grid.mix(self.grid.query(self.norms[1](x_BKD)), grid_BLE)
        x_BKD = x_BKD + self.grid.out(mixed)
        return x_BKD + self.feed_forward(self.norms[2](x_BKD)), weights.mean(1), cache_BKSE


class TransformerDecoder(CaptionDecoder):
    """Word embeddings with learned places, then the layers."""

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        layers: int,
        attention_heads: int,
        dropout: float,
        max_words: int,
    ) -> None:
        """Build for captions of at most `max_words` words."""
        super().__init__(vocabulary_size, dim, layers, attention_heads, dropout, max_words)
        self.place = nn.Embedding(max_words + 1, dim)
        nn.init.normal_(self.place.weight, std=dim**-0.5)
        self.layers = nn.ModuleList(Layer(dim, attention_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.dropout = SharedDropout(dropout)
        self.scale = dim**0.5

    def forward(self, grid_BLD: Tensor, tokens_BCT: Tensor, real_BCT: Tensor) -> Tensor:
        """Return (N, D) for the N real places."""
        places_T = torch.arange(tokens_BCT.shape[-1], device=tokens_BCT.device)
        captions_BC1 = torch.arange(real_BCT[..., 0].numel(), device=tokens_BCT.device).view(*real_BCT.shape[:2], 1)
        caption_N = captions_BC1.expand_as(real_BCT)[real_BCT]
        embedded_ND = self.embedding(tokens_BCT[real_BCT]) + self.place(places_T.expand_as(real_BCT)[real_BCT])
        x_ND = self.dropout(embedded_ND * self.scale, caption_N)
        for layer in self.layers:
            x_ND = layer(x_ND, grid_BLD, real_BCT, caption_N)
        return self.norm(x_ND)

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def start(self, grid_BLD: Tensor, beams: int) -> State:
        """Project the grid for every layer once; the caches of words start empty."""
        memory = [layer.grid.key_value(grid_BLD) for layer in self._layers()]
        empty = grid_BLD.new_zeros(len(grid_BLD), beams, 0, 2 * grid_BLD.shape[-1])
        return State(memory, [empty for _ in self.layers])

    def step(self, tokens_BK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take one word of each beam."""
        x_BKD = (self.embedding(tokens_BK) + self.place.weight[place]) * self.scale
        attentions, caches = [], []
        for layer, grid_BLE, cache_BKSE in zip(self._layers(), state.memory, state.beams, strict=True):
            x_BKD, attention, cache = layer.step(x_BKD, grid_BLE, cache_BKSE)
            attentions.append(attention)
            caches.append(cache)
        return self.norm(x_BKD), torch.stack(attentions).mean(0), State(state.memory, caches)
