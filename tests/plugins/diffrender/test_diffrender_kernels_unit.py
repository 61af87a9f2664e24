"""Compiled kernels of the losses against torch in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench_diffrender.losses.colour_loss import blended_loss, colour_loss
from refbench_diffrender.losses.edge_map import EdgeMapTerm
from refbench_diffrender.losses.poisson import PoissonTerm
from refbench_diffrender.losses.robust_loss import patch_loss

SHAPE = (14, 17)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(7)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def both_ways(loss, *inputs):
    """Loss and gradients, with compiled kernels in float32 and without in float64."""
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        value = loss(*leaves)
        results.append((value.detach().double(), [g.double() for g in torch.autograd.grad(value, leaves)]))
    return results


def same(results, fraction=1e-4):
    (one, gradients_1), (two, gradients_2) = results
    torch.testing.assert_close(one, two, rtol=fraction, atol=1e-9)
    for first, second in zip(gradients_1, gradients_2, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=fraction * float(second.abs().max()) + 1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.booleans(), st.integers(0, 10**6))
def test_poisson_kernel(rows, cols, blur, seed):
    pytest.importorskip("numba")
    random = generator(seed)
    source, target = torch.rand(2, rows, cols, generator=random)
    source = source * (torch.rand(rows, cols, generator=random) > 0.05)
    valid = (torch.rand(rows, cols, generator=random) > 0.1).float()

    def loss(image):
        return 3 * PoissonTerm(source.to(image), blur=blur)(image, valid.to(image))

    same(both_ways(loss, target))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(0, 10**6))
def test_edge_kernel(rows, cols, seed):
    pytest.importorskip("numba")
    random = generator(seed)
    depth = 2 + 0.2 * torch.rand(rows, cols, generator=random)
    depth[0, 0] = 0
    wanted = torch.rand(rows, cols, generator=random)
    same(both_ways(lambda image: 3 * EdgeMapTerm(wanted.to(image))(image), depth))


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("size", [(1, 3, 2), (3, 14, 17)])
def test_colour_kernel(random, compat, size):
    pytest.importorskip("numba")
    wanted = torch.rand(*size, 3, generator=random)
    mask = (torch.rand(*size, 1, generator=random) > 0.3).float()

    def loss(found, edges):
        return 3 * colour_loss(found, wanted.to(found), mask.to(found), edges, compat=compat)

    same(both_ways(loss, torch.rand(*size, 3, generator=random), torch.rand(*size, 1, generator=random)))


@pytest.mark.parametrize("compat", [False, True])
def test_blended_kernel(random, compat):
    """The edge map is clamped: beyond [0, 1] it has no gradient."""
    pytest.importorskip("numba")
    size = (3, 14, 17)
    wanted, blended = torch.rand(*size, 3, generator=random), 1.5 * torch.rand(*size, 4, generator=random) - 0.2
    mask = (torch.rand(*size, 1, generator=random) > 0.3).float()
    same(both_ways(lambda x: 3 * blended_loss(x, list(wanted.to(x)), mask.to(x), compat=compat), blended))
    blended = blended.detach()
    parts = blended[..., :3], wanted, mask, blended[..., 3:].clamp(0, 1)
    assert float(blended_loss(blended, wanted, mask, compat=compat)) == float(colour_loss(*parts, compat=compat))


@pytest.mark.parametrize("patch", ["ssim", "ncc"])
@pytest.mark.parametrize("size", [(1, 3, 2), (3, 14, 17)])
def test_patch_kernel(random, patch, size):
    pytest.importorskip("numba")
    found, wanted = torch.rand(2, *size, 3, generator=random)
    visible = (torch.rand(*size, 1, generator=random) > 0.2).float()
    same(both_ways(lambda x: 3 * patch_loss(x, wanted.to(x), visible.to(x), patch=patch, size=5), found))


def test_kernels_take_views_of_other_tensors(random):
    """A transposed tensor is not contiguous."""
    pytest.importorskip("numba")
    image = 2 + torch.rand(*SHAPE[::-1], generator=random).T
    wanted = torch.rand(*SHAPE[::-1], generator=random).T
    same(both_ways(lambda x: EdgeMapTerm(wanted.to(x))(x) + PoissonTerm(wanted.to(x))(x, wanted.to(x) * 0 + 1), image))
    found, edges = torch.rand(2, 3, *SHAPE, generator=random).movedim(1, -1), torch.rand(2, *SHAPE, 1)
    same(both_ways(lambda x, e: colour_loss(x, found.to(x).flip(0), torch.ones_like(e), e), found, edges))


def test_colour_sums_do_not_depend_on_threads(random):
    pytest.importorskip("numba")
    images = [torch.rand(2, 40, 50, channels, generator=random) for channels in (3, 3, 1, 1)]
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(float(colour_loss(*images)))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize("blur", [False, True])
def test_poisson_axes_do_not_depend_on_earlier_masks(random, blur):
    """Where a mask changes little only its surroundings are made anew."""
    source = torch.rand(*SHAPE, generator=random) + 0.1
    source[2:4, 5:7] = 0
    term, valid = PoissonTerm(source, blur=blur), torch.ones(SHAPE)
    for place in ((-1, 3), (0, 0), (4, -1), (6, 6)):
        term.axes(valid)
        valid = valid.clone()
        valid[place] = 0
    for found, fresh, plain in zip(
        term.axes(valid), PoissonTerm(source, blur=blur).axes(valid),
        PoissonTerm(source.double(), blur=blur).axes(valid.double()), strict=True,
    ):  # fmt: skip
        for name in ("weight", "source", "counted", "inverse"):
            assert torch.equal(getattr(found, name), getattr(fresh, name))
            torch.testing.assert_close(getattr(found, name).double(), getattr(plain, name), rtol=1e-4, atol=1e-5)
