import numpy as np
import pytest

from refbench.geometry import sample

torch = pytest.importorskip("torch")
from refbench.geometry import torch_scatter_ops  # noqa: E402
from refbench.geometry.torch_sample import bilinear  # noqa: E402
from refbench.geometry.torch_scatter_ops import scatter_max, scatter_mean  # noqa: E402


def test_sampling_equals_numpy_also_at_holes_and_borders():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2, 7, 9))
    array[:, 3, 4] = np.nan
    col, row = rng.uniform(-1, 9, 400), rng.uniform(-1, 7, 400)
    col[:100], row[50:150] = np.rint(col[:100]), np.rint(row[50:150])
    col[0] = np.nan
    got = bilinear(*(torch.tensor(a) for a in (array, col, row)))
    np.testing.assert_allclose(got.numpy(), sample.bilinear(array, col, row), atol=1e-12)


def test_sampling_is_differentiable():
    rng = np.random.default_rng(1)
    array = torch.tensor(rng.normal(size=(5, 6)), requires_grad=True)
    col, row = (torch.tensor(rng.uniform(0.1, 0.9, 8) + rng.integers(0, 4, 8), requires_grad=True) for _ in "xy")
    assert torch.autograd.gradcheck(bilinear, (array, col, row))


def test_no_gradient_of_nan_flows_from_holes():
    array = torch.ones(4, 4, dtype=torch.float64)
    array[1, 1] = torch.nan
    array.requires_grad_()
    col = torch.tensor([0.5, 2.5, 9.0], dtype=torch.float64, requires_grad=True)
    out = bilinear(array, col, torch.tensor([0.5, 2.5, 0.0], dtype=torch.float64))
    assert torch.isnan(out).tolist() == [True, False, True]
    out[1].backward()
    assert torch.isfinite(array.grad).all()
    assert torch.isfinite(col.grad).all()


def test_pooling_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 3, generator=generator) - 5  # a maximum below 0 must not become 0
    index = torch.randint(0, 30, (200,), generator=generator) * 2
    highest, mean = scatter_max(values, index, 61), scatter_mean(values, index, 61)
    for cell in range(61):
        own = values[index == cell]
        assert torch.equal(highest[cell], own.max(0).values if len(own) else torch.zeros(3))
        assert torch.allclose(mean[cell], own.mean(0) if len(own) else torch.zeros(3))


def test_pooling_of_flat_and_of_no_points():
    assert scatter_max(torch.tensor([1.0, 3.0]), torch.tensor([1, 1]), 3).tolist() == [0, 3, 0]
    assert scatter_mean(torch.tensor([1.0, 3.0]), torch.tensor([1, 1]), 3).tolist() == [0, 2, 0]
    none = torch.zeros(0, 4, requires_grad=True)
    for pool in (scatter_max, scatter_mean):
        assert torch.equal(pool(none, torch.zeros(0, dtype=torch.int64), 2), torch.zeros(2, 4))


def test_gradients_go_to_the_first_of_equal_maxima():
    values = torch.tensor([[1.0], [2.0], [2.0], [5.0]], requires_grad=True)
    out = scatter_max(values, torch.tensor([0, 0, 0, 2]), 4)
    assert out.detach().ravel().tolist() == [2, 0, 5, 0]
    out.sum().backward()
    assert values.grad.ravel().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("pool", [scatter_max, scatter_mean])
def test_pooling_passes_gradcheck(pool):
    values = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 5, (12,))
    assert torch.autograd.gradcheck(lambda v: pool(v, index, 6), values)


@pytest.mark.skipif(torch_scatter_ops.backend is None, reason="torch-scatter is not installed")
@pytest.mark.parametrize("pool", [scatter_max, scatter_mean])
def test_torch_scatter_gives_the_same_numbers(pool, monkeypatch):
    values = torch.randint(0, 5, (300, 4)).float().requires_grad_()
    index, weight = torch.randint(0, 40, (300,)), torch.randn(50, 4)
    theirs = pool(values, index, 50)
    (their_slope,) = torch.autograd.grad((theirs * weight).sum(), values)
    monkeypatch.setattr(torch_scatter_ops, "backend", None)
    ours = pool(values, index, 50)
    (our_slope,) = torch.autograd.grad((ours * weight).sum(), values)
    assert torch.allclose(ours, theirs)
    assert torch.allclose(our_slope, their_slope)
