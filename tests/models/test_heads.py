"""Every caption decoder keeps the protocol, and beam search is what its definition says."""

import itertools
import math

import pytest
import torch

from stages.media.text import END, PAD, START, UNKNOWN
from stages.models.heads import HEADS
from stages.models.heads.search import Search, search

VOCABULARY, DIM, CELLS, MAX_WORDS = 11, 16, 6, 5


@pytest.fixture(params=sorted(HEADS))
def decoder(request):
    torch.manual_seed(0)
    return HEADS[request.param](VOCABULARY, DIM, layers=2, attention_heads=2, dropout=0.3, max_words=MAX_WORDS).eval()


def grid(images=3):
    return torch.randn(images, CELLS, DIM, generator=torch.Generator().manual_seed(1))


def captions(images=3, per_image=2):
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(4, VOCABULARY, (images, per_image, MAX_WORDS + 1), generator=generator)
    tokens[..., 0] = START
    real = torch.ones_like(tokens, dtype=torch.bool)
    real[0, 1, 3:] = False
    tokens[0, 1, 4:] = PAD
    return tokens, real


def test_all_words_at_once_and_a_word_at_a_time_agree(decoder):
    tokens, real = captions()
    with torch.inference_mode():
        at_once = torch.full((*real.shape, DIM), math.nan)
        at_once[real] = decoder(grid(), tokens, real)
        state = decoder.start(grid(), beams=tokens.shape[1])
        for place in range(tokens.shape[-1]):
            hidden, attention, state = decoder.step(tokens[..., place], place, state)
            here = real[..., place]
            torch.testing.assert_close(hidden[here], at_once[:, :, place][here], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:2]))


def test_a_word_does_not_see_later_words_nor_other_images(decoder):
    tokens, real = captions()
    real[:] = True
    changed = tokens.clone()
    changed[1, 0, 3] = 4 + (tokens[1, 0, 3] - 3) % (VOCABULARY - 4)
    assert changed[1, 0, 3] != tokens[1, 0, 3]
    before = decoder(grid(), tokens, real).view(*real.shape, DIM)
    after = decoder(grid(), changed, real).view(*real.shape, DIM)
    same = torch.ones(real.shape, dtype=torch.bool)
    same[1, 0, 3:] = False
    torch.testing.assert_close(before[same], after[same])
    assert not torch.allclose(before[1, 0, 3], after[1, 0, 3])


def test_every_parameter_gets_a_gradient(decoder):
    tokens, real = captions()
    decoder.train()
    hidden = decoder(grid(), tokens, real)
    decoder.logits(hidden).logsumexp(-1).sum().backward()
    without = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # A key's bias shifts all scores of a query alike, so softmax leaves it without a gradient.
    assert [name for name in without if not name.endswith("attend_score.weight")] == []


def naive_beam_search(decoder, grid_1LD, width, max_words, penalty):
    """Search with plain lists, one hypothesis at a time, the whole prefix read anew for each word."""

    def log_probs(prefix):
        tokens = torch.tensor([[[START, *prefix]]])
        hidden = decoder(grid_1LD, tokens, torch.ones_like(tokens, dtype=torch.bool))[-1]
        logits = decoder.logits(hidden)
        logits[[PAD, START, UNKNOWN]] = -torch.inf
        return logits.log_softmax(-1).tolist()

    beams = [((), 0.0)]
    for place in range(max_words + 1):
        grown = []
        for words, total in beams:
            if words and words[-1] == END:
                grown.append((words, total))
                continue
            scores = log_probs(words)
            allowed = [END] if place == max_words else [i for i in range(VOCABULARY) if scores[i] > -math.inf]
            grown += [((*words, i), total + scores[i]) for i in allowed]
        grown.sort(key=lambda beam: -beam[1] / len(beam[0]) ** penalty)
        beams = grown[:width]
    return beams[0]


@pytest.mark.parametrize(("width", "penalty"), [(1, 0.0), (3, 0.0), (3, 0.7), (4, 1.0)])
@torch.inference_mode()
def test_batched_beam_search_finds_what_a_naive_one_finds(decoder, width, penalty):
    torch.nn.init.normal_(decoder.embedding.weight, std=1.0)  # sharp scores, no near ties
    found = search(decoder, grid(), Search(width, MAX_WORDS, penalty))
    for image, caption in enumerate(found):
        words, total = naive_beam_search(decoder, grid()[image : image + 1], width, MAX_WORDS, penalty)
        assert caption.ids == [i for i in words if i != END]
        assert caption.score == pytest.approx(total / len(words) ** penalty, abs=1e-4)
        assert len(caption.log_probs) == len(caption.attention) == len(caption.ids)


@torch.inference_mode()
def test_a_beam_as_wide_as_all_sentences_finds_the_best_of_them(decoder):
    torch.nn.init.normal_(decoder.embedding.weight, std=1.0)
    words = [i for i in range(4, VOCABULARY)]
    [best] = search(decoder, grid(1), Search(beam_size=len(words) ** 2 + 8, max_words=2, length_penalty=0.0))

    def total(sentence):
        tokens = torch.tensor([[[START, *sentence]]])
        logits = decoder.logits(decoder(grid(1), tokens, torch.ones_like(tokens, dtype=torch.bool)))
        logits[:, [PAD, START, UNKNOWN]] = -torch.inf
        scores = logits.log_softmax(-1)
        chosen = [*sentence, END]
        # The last word of a full sentence is followed by a forced end, which costs what the model says.
        return sum(scores[i, word].item() for i, word in enumerate(chosen))

    sentences = [s for n in range(3) for s in itertools.product(words, repeat=n)]
    assert tuple(best.ids) == max(sentences, key=total)


@torch.inference_mode()
def test_captions_do_not_depend_on_the_batch_they_are_in(decoder):
    together = search(decoder, grid(), Search(3, MAX_WORDS, 0.7))
    alone = [search(decoder, grid()[i : i + 1], Search(3, MAX_WORDS, 0.7))[0] for i in range(3)]
    assert [caption.ids for caption in together] == [caption.ids for caption in alone]


@torch.inference_mode()
def test_special_words_are_never_generated(decoder):
    decoder.bias[[PAD, START, UNKNOWN]] = 50.0
    for caption in search(decoder, grid(), Search(2, MAX_WORDS, 0.7)):
        assert not {PAD, START, UNKNOWN} & set(caption.ids)
        assert len(caption.ids) <= MAX_WORDS
