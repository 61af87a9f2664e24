"""The rasteriser's kernels for meshes of about as many triangles as pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench_diffrender.rasteriser import functions_mesh
from refbench_diffrender.rasteriser.rasteriser import rasteriser


@given(st.integers(0, 2**31), st.integers(1, 24), st.integers(1, 700), st.floats(0.02, 1.5))
@settings(max_examples=20, deadline=None)
def test_meshes_with_and_without_planes(seed, rows, cols, spread):
    """Dense meshes have kernels of their own: the same pixels, values and gradients, on any number of threads."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1.2, 1.2, (400, 1, 2)) + rng.normal(0, spread, (400, 3, 2)) * 8 / max(rows, cols)
    w = rng.uniform(0.5, 2, (1200, 1)) * np.where(rng.random((1200, 1)) < 0.02, -1, 1)  # a few behind the camera
    clip = np.concatenate([corners.reshape(-1, 2) * w, rng.uniform(-1.1, 1.1, (1200, 1)) * w, w], 1, dtype=np.float32)
    colours = rng.uniform(0, 1, (1, 1200, 3)).astype(np.float32)
    triangles = torch.arange(1200, dtype=torch.int32).reshape(-1, 3)
    triangles[::50, 1] = 1200  # no such vertex
    weight, before, found = (
        torch.randn(1, rows, cols, 3, generator=torch.Generator().manual_seed(seed)),
        torch.get_num_threads(),
        [],
    )
    try:
        for pixels, threads in ((0, 1), (rows * cols, 1), (rows * cols, 2)):
            torch.set_num_threads(threads)
            pos = torch.tensor(clip[None], requires_grad=True)
            attributes = torch.tensor(colours, requires_grad=True)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(functions_mesh, "DENSE", pixels)
                rast, seen = rasteriser("numba").render(pos, triangles, attributes, (rows, cols))
                total = (seen * weight).sum() + (rast[..., :2] ** 2).sum()
                found.append([rast.detach(), seen.detach(), *torch.autograd.grad(total, (pos, attributes))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found[1:], strict=True))
    assert torch.equal(found[0][0][..., 3], found[1][0][..., 3])
    for plain, dense in zip(*found[:2], strict=True):
        torch.testing.assert_close(dense, plain, rtol=0, atol=1e-4 * max(float(plain.abs().max()), 1.0))
