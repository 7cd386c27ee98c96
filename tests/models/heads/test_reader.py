"""What a caption decoder reads of a text: its own words, in their order, and how well each was expected."""

import pytest
import torch

from stages.media.text import END, PAD
from stages.models.heads import HEADS
from stages.models.heads.reader import Reading

WORDS, DIM, CELLS, LONGEST = 11, 16, 6, 5


@pytest.fixture(params=sorted(HEADS))
def decoder(request):
    torch.manual_seed(0)
    return HEADS[request.param](WORDS, DIM, layers=2, attention_heads=2, dropout=0.3, max_words=LONGEST).eval()


@pytest.fixture
def reading():
    torch.manual_seed(1)
    return Reading(DIM).eval()


def grids(samples):
    return torch.randn(samples, CELLS, DIM, generator=torch.Generator().manual_seed(2))


def texts():
    """Two samples of three texts: of three words, of one, of as many as fit; of two words; none; of four."""
    some = [[[5, 6, 7], [8], [4, 5, 6, 7, 8]], [[9, 10], [], [4, 4, 9, 6]]]
    return torch.tensor([[text + [PAD] * (LONGEST - len(text)) for text in sample] for sample in some])


def test_a_text_is_read_alike_alone_and_among_others_of_other_lengths(decoder, reading):
    words_BKT, grid_BLD = texts(), grids(2)
    together_BKD = reading(decoder, grid_BLD, words_BKT)
    for sample, text in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]:
        alone = reading(decoder, grid_BLD[sample : sample + 1], words_BKT[sample : sample + 1, text : text + 1])
        torch.testing.assert_close(alone[0, 0], together_BKD[sample, text], atol=1e-5, rtol=1e-5)
        assert together_BKD[sample, text].abs().max() < 100, "padding has no part in a maximum"


def test_a_text_of_no_words_becomes_zeros_even_beside_no_other(decoder, reading):
    words_BKT = texts()
    read_BKD = reading(decoder, grids(2), words_BKT)
    assert not read_BKD[1, 1].any()
    assert read_BKD[1, 0].any()
    assert not reading(decoder, grids(1), words_BKT[1:, 1:2]).any()


def test_order_counts_as_the_words_of_a_relation_do(decoder, reading):
    words_BKT = torch.tensor([[[5, 6, 7], [7, 6, 5]]])
    one, other = reading(decoder, grids(1), words_BKT)[0]
    assert not torch.allclose(one, other, atol=1e-3)


def test_how_likely_a_word_was_is_among_what_is_read(decoder, reading):
    """With the projection of likelihoods alone, the maximum is that of the likeliest word."""
    words_BKT, grid_BLD = torch.tensor([[[5, 6, 7]]]), grids(1)
    with torch.no_grad():
        reading.fit.weight.zero_()
        reading.fit.bias.zero_()
        reading.fit.weight[0, -1] = 1.0
    state = decoder.start(grid_BLD, beams=1)
    likelihoods = []
    for place, (word, following) in enumerate([(1, 5), (5, 6), (6, 7)]):
        hidden, _, state = decoder.step(torch.tensor([[word]]), place, state)
        likelihoods.append(decoder.logits(hidden)[0, 0].log_softmax(-1)[following])
    read_D = reading(decoder, grid_BLD, words_BKT)[0, 0]
    torch.testing.assert_close(read_D[2 * DIM], torch.stack(likelihoods).max(), atol=1e-5, rtol=1e-5)
    assert not read_D[2 * DIM + 1 :].any()


def test_all_of_the_decoder_that_reads_gets_a_gradient(decoder, reading):
    words_BKT = texts()
    assert END not in words_BKT
    reading.train()(decoder.train(), grids(2), words_BKT).square().sum().backward()
    parts = [*decoder.named_parameters(), *reading.named_parameters()]
    without = [name for name, p in parts if p.grad is None or not p.grad.abs().sum()]
    assert [name for name in without if not name.endswith("attend_score.weight")] == []
