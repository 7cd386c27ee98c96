"""A GRU caption decoder with additive attention over the grid (Xu et al. 2015, "Show, attend and tell").

Soft attention with the gate on the context (section 4.2.1) and the deep output layer (section 3.1.2).
Shapes: B images, C captions or K beams of an image, T words, L grid cells, D dim, V vocabulary.
"""

import torch
from torch import Tensor, nn

from stages.models.heads.base import CaptionDecoder, State


class GRUDecoder(CaptionDecoder):
    """One or more GRU layers; the first reads the word and the attended grid."""

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        layers: int,
        attention_heads: int,
        dropout: float,
        max_words: int,
    ) -> None:
        """Build it; additive attention has one head, so `attention_heads` is not used."""
        super().__init__(vocabulary_size, dim, layers, attention_heads, dropout, max_words)
        self.first = nn.Linear(dim, layers * dim)
        self.attend_grid, self.attend_state = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.attend_score = nn.Linear(dim, 1, bias=False)
        self.gate = nn.Linear(dim, dim)
        self.cells = nn.ModuleList(nn.GRUCell(2 * dim if i == 0 else dim, dim) for i in range(layers))
        self.read = nn.Linear(3 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, grid_BLD: Tensor, tokens_BCT: Tensor, real_BCT: Tensor) -> Tensor:
        """Return (N, D) for the N real places."""
        state = self.start(grid_BLD, tokens_BCT.shape[1])
        outputs = []
        for place in range(tokens_BCT.shape[-1]):
            hidden, _, state = self.step(tokens_BCT[..., place], place, state)
            outputs.append(hidden)
        return torch.stack(outputs, dim=2)[real_BCT]

    def start(self, grid_BLD: Tensor, beams: int) -> State:
        """Begin from the mean of the grid; project the grid for attention once."""
        first = torch.tanh(self.first(grid_BLD.mean(1))).chunk(len(self.cells), dim=-1)
        beams_BKD = [state.unsqueeze(1).expand(-1, beams, -1) for state in first]
        return State([grid_BLD, self.attend_grid(grid_BLD)], beams_BKD)

    def step(self, tokens_BK: Tensor, place: int, state: State) -> tuple[Tensor, Tensor, State]:
        """Take one word of each beam; `place` is not needed."""
        grid_BLD, projected_BLD = state.memory
        top_BKD = state.beams[-1]
        query_BKD = self.attend_state(top_BKD)
        mixed_BKLD = torch.tanh(projected_BLD.unsqueeze(1) + query_BKD.unsqueeze(2))
        attention_BKL = self.attend_score(mixed_BKLD).squeeze(-1).softmax(-1)
        context_BKD = torch.sigmoid(self.gate(top_BKD)) * (attention_BKL @ grid_BLD)
        word_BKD = self.dropout(self.embedding(tokens_BK))
        x = torch.cat([word_BKD, context_BKD], dim=-1).flatten(0, 1)
        states = []
        for cell, hidden_BKD in zip(self.cells, state.beams, strict=True):
            x = cell(x, hidden_BKD.flatten(0, 1))
            states.append(x.view_as(top_BKD))
            x = self.dropout(x)
        out_BKD = self.read(self.dropout(torch.cat([states[-1], context_BKD, word_BKD], dim=-1)))
        return self.dropout(torch.tanh(out_BKD)), attention_BKL, State(state.memory, states)
