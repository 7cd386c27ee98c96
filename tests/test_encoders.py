"""Every encoder turns features into a grid, learns, and mirrors as it says."""

import pytest
import torch

from stages.encoders import ENCODERS

DIM = 16
SHAPES = {"cnn": [(64, 64, 3), (32, 32, 3), (100, 100, 3)], "projection": [(49, 24), (24,)]}
CASES = [(name, shape) for name in sorted(ENCODERS) for shape in SHAPES[name]]


def features(shape, batch=4):
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 3:
        return torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, generator=generator)
    return torch.randn(batch, *shape, generator=generator).half()


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_grid_has_the_dim_and_every_parameter_learns(name, shape):
    encoder = ENCODERS[name](shape, DIM, 0.1)
    grid = encoder(features(shape))
    assert grid.shape[0] == 4 and grid.shape[2] == DIM and grid.dtype == torch.float32
    (grid * torch.randn(grid.shape)).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_same_seed_gives_the_same_encoder(name, shape):
    grids = []
    for _ in range(2):
        torch.manual_seed(3)
        grids.append(ENCODERS[name](shape, DIM, 0.1).eval()(features(shape)))
    assert torch.equal(*grids)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_mirrored_twice_is_the_same(name, shape):
    encoder = ENCODERS[name](shape, DIM, 0.1)
    x = features(shape)
    assert torch.equal(encoder.mirror(encoder.mirror(x)), x)
    if len(shape) > 1:
        assert not torch.equal(encoder.mirror(x), x)


def test_the_projection_mirrors_rows_of_cells():
    encoder = ENCODERS["projection"]((4, 2), DIM, 0.0)
    cells = torch.arange(8).view(1, 4, 2)
    assert encoder.mirror(cells)[0, :, 0].tolist() == [2, 0, 6, 4]


def test_the_cnn_ends_with_about_eight_by_eight_cells():
    assert ENCODERS["cnn"]((64, 64, 3), DIM, 0.1)(features((64, 64, 3))).shape[1] == 64
