"""Every fusion takes any modalities, does without missing ones, and learns what it says it can."""

import itertools

import pytest
import torch
from torch import nn

from stages.models.encoders.base import Encoded
from stages.models.fusions import FUSIONS

MODALITIES = ("image", "text", "audio")
PLACES = {"image": 6, "text": 4, "audio": 2}
BATCH, DIM, OUT = 5, 16, 12
SUBSETS = [subset for n in (1, 2, 3) for subset in itertools.combinations(MODALITIES, n)]
EVERY_FUSION = pytest.mark.parametrize("name", FUSIONS)
EVERY_SUBSET = pytest.mark.parametrize("modalities", SUBSETS, ids="-".join)


def build(name, modalities=MODALITIES, dim=DIM, out=OUT, dropout=0.0):
    torch.manual_seed(0)
    return FUSIONS[name](modalities, dim, out, dropout)


def batch(modalities=MODALITIES, missing=(), seed=1):
    """Return encoded modalities, the last place of longer sequences not real; `missing` are pairs (modality, row)."""
    generator = torch.Generator().manual_seed(seed)
    encoded = {}
    for modality in MODALITIES:
        x = torch.randn(BATCH, PLACES[modality], DIM, generator=generator)
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        real[::2, -1] = False
        for _, row in (pair for pair in missing if pair[0] == modality):
            real[row] = False
        encoded[modality] = Encoded(x, real)
    return {modality: encoded[modality] for modality in modalities}


def filled(encoded, value):
    return {m: Encoded(e.x_BLD.masked_fill(~e.real_BL.unsqueeze(-1), value), e.real_BL) for m, e in encoded.items()}


def without_gradient(fusion):
    return [name for name, p in fusion.named_parameters() if p.grad is None or not p.grad.abs().sum()]


@EVERY_SUBSET
@EVERY_FUSION
def test_any_modalities_become_one_vector_of_any_width(name, modalities):
    for out in (OUT, 1, 7):
        fused = build(name, modalities, out=out).eval()(batch(modalities))
        assert fused.shape == (BATCH, out) and fused.isfinite().all()


@EVERY_SUBSET
@EVERY_FUSION
def test_every_parameter_learns(name, modalities):
    fusion = build(name, modalities, dropout=0.1)
    missing = [(modality, row) for row, modality in enumerate(modalities)] if len(modalities) > 1 else []
    (fusion(batch(modalities, missing)) * torch.randn(BATCH, OUT)).sum().backward()
    assert [n for n, p in fusion.named_parameters() if p.grad is None] == []  # else training on several GPUs fails
    # A score's bias shifts all scores alike; one modality alone has no other to be weighed against.
    idle = ("score.bias",)
    if len(modalities) == 1:
        idle += ("absent_MD", "gates.weight", "gates.bias", "similar.weight", "similar.bias", "weight_M")
        idle += ("block.attention.query.weight", "block.attention.query.bias")
    assert [n for n in without_gradient(fusion) if not n.endswith(idle)] == []


@EVERY_SUBSET
@EVERY_FUSION
def test_what_stands_at_unreal_places_has_no_influence(name, modalities):
    missing = [(modality, row) for row, modality in enumerate(modalities)] if len(modalities) > 1 else []
    encoded = batch(modalities, missing)
    results = []
    for value in (0.0, 1e30, torch.nan):
        fusion = build(name, modalities)
        given = filled(encoded, value)
        for e in given.values():
            e.x_BLD.requires_grad_()
        fused = fusion(given)
        fused.square().sum().backward()
        gradients = [p.grad for p in fusion.parameters()] + [e.x_BLD.grad for e in given.values()]
        assert all(gradient.isfinite().all() for gradient in gradients)
        results.append([fused, *gradients])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("modality", MODALITIES)
@EVERY_FUSION
def test_a_missing_modality_is_told_from_a_present_one_in_its_row_alone(name, modality):
    fusion = build(name).eval()
    present, absent = fusion(batch()), fusion(batch(missing=[(modality, 2)]))
    assert absent.isfinite().all()
    differs = ~torch.isclose(present, absent, atol=1e-4).all(1)
    assert differs.tolist() == [row == 2 for row in range(BATCH)]


@EVERY_FUSION
def test_each_modality_alone_of_three_is_enough(name):
    fusion = build(name).eval()
    fused = [
        fusion(batch(missing=[(m, row) for m in MODALITIES if m != kept for row in range(BATCH)]))
        for kept in MODALITIES
    ]
    assert all(one.isfinite().all() for one in fused)
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(fused, 2))


@EVERY_FUSION
def test_the_order_of_a_batch_s_keys_has_no_influence(name):
    fusion, encoded = build(name).eval(), batch()
    turned = {modality: encoded[modality] for modality in reversed(MODALITIES)}
    assert torch.equal(fusion(encoded), fusion(turned))


@EVERY_FUSION
def test_a_sample_does_not_see_the_others_of_its_batch(name):
    fusion, encoded = build(name).eval(), batch()
    alone = fusion({m: Encoded(e.x_BLD[1:2], e.real_BL[1:2]) for m, e in encoded.items()})
    torch.testing.assert_close(alone, fusion(encoded)[1:2])


@EVERY_FUSION
def test_the_same_seed_gives_the_same_training_step(name):
    runs = []
    for _ in range(2):
        fusion = build(name, dropout=0.3)
        fused = fusion(batch())
        fused.square().sum().backward()
        runs.append([fused, *(p.grad for p in fusion.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@EVERY_FUSION
def test_dropout_acts_in_training_alone(name):
    fusion = build(name, dropout=0.5)
    assert not torch.equal(fusion(batch()), fusion(batch()))
    fusion.eval()
    assert torch.equal(fusion(batch()), fusion(batch()))


@EVERY_FUSION
def test_saved_weights_give_the_same_fusion_back(name):
    fusion = build(name).eval()
    torch.manual_seed(9)
    other = FUSIONS[name](MODALITIES, DIM, OUT, 0.0).eval()
    assert not torch.equal(other(batch()), fusion(batch()))
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(other(batch()), fusion(batch()))


@EVERY_SUBSET
@EVERY_FUSION
def test_bfloat16_comes_near_to_float32(name, modalities):
    fusion = build(name, modalities)
    missing = [(modality, row) for row, modality in enumerate(modalities)] if len(modalities) > 1 else []
    encoded = filled(batch(modalities, missing), torch.nan)
    exact = fusion(encoded)
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(encoded)
    torch.testing.assert_close(fused.float(), exact, atol=0.1, rtol=0.1)
    fused.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters())


def learned_accuracy(name, label, steps=60):
    """Train fusion and linear head on two bits, one in each of two modalities; return the share of right answers."""
    torch.manual_seed(0)
    directions = torch.randn(2, DIM)
    bits = torch.tensor(list(itertools.product([0, 1], repeat=2)))  # all four cases, so that chance is known
    encoded = {}
    for i, modality in enumerate(("image", "text")):
        x = torch.randn(1, 3, DIM).repeat(4, 1, 1)
        x[:, 1] += (2 * bits[:, i, None] - 1) * directions[i]
        encoded[modality] = Encoded(x, torch.ones(4, 3, dtype=torch.bool))
    fusion, head = FUSIONS[name](("image", "text"), DIM, OUT, 0.0), nn.Linear(OUT, 2)
    optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    targets = label(bits[:, 0], bits[:, 1])
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(head(fusion(encoded)), targets).backward()
        optimiser.step()
    return (head(fusion(encoded)).argmax(1) == targets).float().mean().item()


@EVERY_FUSION
def test_what_both_modalities_must_agree_on_is_learnt_but_by_late_fusion(name):
    assert learned_accuracy(name, lambda a, b: a & b) == 1.0
    accuracy = learned_accuracy(name, lambda a, b: a ^ b)
    # A sum of one function of each bit gets three cases of an exclusive or right at most.
    assert accuracy <= 0.75 if name == "late" else accuracy == 1.0


def test_attention_finds_the_place_in_the_image_that_a_question_is_about():
    """Images hold three objects in random places, each a shape with a colour; a question names the shape."""
    torch.manual_seed(0)
    shapes, colours = torch.randn(3, DIM), torch.randn(4, DIM)
    fusion, head = FUSIONS["attention"](("image", "question"), DIM, OUT, 0.0), nn.Linear(OUT, 4)
    optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    for step in range(150):
        colour_B3 = torch.randint(4, (64, 3))
        asked_B = torch.randint(3, (64,))
        x_B3D = shapes + colours[colour_B3]
        order_B3 = torch.rand(64, 3).argsort(1)
        image = Encoded(x_B3D.gather(1, order_B3.unsqueeze(-1).expand_as(x_B3D)), torch.ones(64, 3, dtype=torch.bool))
        question = Encoded(shapes[asked_B].unsqueeze(1), torch.ones(64, 1, dtype=torch.bool))
        targets_B = colour_B3[torch.arange(64), asked_B]
        logits = head(fusion({"image": image, "question": question}))
        if step == 149:
            assert (logits.argmax(1) == targets_B).float().mean() > 0.9  # chance is 0.25
        optimiser.zero_grad()
        nn.functional.cross_entropy(logits, targets_B).backward()
        optimiser.step()
