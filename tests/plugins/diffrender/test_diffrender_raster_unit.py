"""The rasteriser's backends: closed forms, agreement, gradients against finite differences, bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from refbench.contracts.errors import ConfigError, InputError, UnsupportedError
from refbench_diffrender.rasteriser import rasteriser as module
from refbench_diffrender.rasteriser.buffers import Buffers
from refbench_diffrender.rasteriser.rasteriser import nvdiffrast_problem, rasteriser
from refbench_diffrender.rasteriser.topology import opposite_vertices

BACKENDS = ("numba", "torch")


def grid_mesh(rows, cols, step=1.0, diagonal=True):
    """Clip positions [1, V, 4] whose vertices lie on every ``step``-th pixel centre of a (rows, cols) view."""
    y, x = torch.meshgrid(torch.arange(0, rows, step), torch.arange(0, cols, step), indexing="ij")
    height, width = x.shape
    flat = torch.stack([(2 * x + 1) / cols - 1, (2 * y + 1) / rows - 1, 0 * x, 0 * x + 1], -1).reshape(1, -1, 4)
    i = (torch.arange(height)[:, None] * width + torch.arange(width))[:-1, :-1].reshape(-1)
    upper, lower = ([i, i + 1, i + width], [i + 1, i + 1 + width, i + width])
    return flat.float(), torch.stack([torch.stack(upper, 1), torch.stack(lower, 1)], 1).reshape(-1, 3).int()


def in_perspective(pos, depth):
    """The same positions seen at ``depth`` [V] through a camera: nothing moves in the image."""
    return torch.cat([pos[..., :2] * depth[:, None], (depth - 0.5)[:, None][None], depth[:, None][None]], -1)


def bumpy(seed, views=2, size=6, dtype=torch.float64):
    """A connected surface seen by several views, steps and folds included."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1.2 : 1.2 : size * 1j, -1.2 : 1.2 : size * 1j]
    depth = rng.uniform(1.5, 3.0, x.shape)
    points = np.stack([x * depth, y * depth, depth - 1.0, depth], -1).reshape(1, -1, 4)
    pos = points + rng.normal(0, 0.15, (views, *points.shape[1:]))
    i = (np.arange(size)[:, None] * size + np.arange(size))[:-1, :-1].ravel()
    triangles = np.concatenate([np.stack([i, i + 1, i + size], 1), np.stack([i + 1, i + size + 1, i + size], 1)])
    return torch.tensor(pos, dtype=dtype), torch.tensor(triangles, dtype=torch.int32)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_triangle_over_half_the_view(backend):
    """Left edges own their samples, right ones do not; the diagonal through pixel centres belongs to one side."""
    pos = torch.tensor([[[-1.0, -1, 0.2, 1], [1, -1, 0.4, 1], [-1, 1, 0.6, 1]]])
    rast = rasteriser(backend).rasterise(pos, torch.tensor([[0, 1, 2]]), (8, 8))[0]
    rows, cols = np.mgrid[:8, :8]
    covered = rows + cols < 7  # the diagonal itself is a right edge
    np.testing.assert_array_equal(rast[..., 3].numpy() > 0, covered)
    x, y = (2 * cols + 1) / 8 - 1, (2 * rows + 1) / 8 - 1
    wanted = np.stack([-(x + y) / 2, (x + 1) / 2, 0.2 + 0.1 * (x + 1) + 0.2 * (y + 1)], -1)
    np.testing.assert_allclose(rast[..., :3].numpy()[covered], wanted[covered], atol=1e-6)
    assert not rast.numpy()[~covered].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_grid_on_pixel_centres_has_no_holes(backend, step):
    """Rounding noise of a projection does not matter; the last row and column belong to nobody."""
    rows, cols = 33, 41
    flat, triangles = grid_mesh(rows, cols, step)
    pos = in_perspective(flat, torch.rand(flat.shape[1], generator=torch.Generator().manual_seed(step)) * 3 + 0.7)
    rast = rasteriser(backend).rasterise(pos, triangles, (rows, cols))[0]
    wanted = torch.zeros(rows, cols, dtype=torch.bool)
    wanted[: rows - 1, : cols - 1] = True
    assert torch.equal(rast[..., 3] > 0, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_pixel_belongs_to_one_of_two_neighbours(backend):
    """Two triangles of one square cover it without gap; drawn alone they do not overlap."""
    generator = torch.Generator().manual_seed(0)
    draw = rasteriser(backend)
    for _ in range(20):
        corners = torch.rand(4, 2, generator=generator) * 0.6 + torch.tensor(
            [[-0.9, -0.9], [0.3, -0.9], [-0.9, 0.3], [0.3, 0.3]]
        )
        pos = torch.cat([corners, torch.zeros(4, 1), torch.ones(4, 1)], 1)[None]
        alone = [draw.rasterise(pos, torch.tensor([t]), (40, 44))[..., 3] > 0 for t in ((0, 1, 2), (1, 3, 2))]
        both = draw.rasterise(pos, torch.tensor([(0, 1, 2), (1, 3, 2)]), (40, 44))[..., 3] > 0
        assert not (alone[0] & alone[1]).any()
        assert torch.equal(alone[0] | alone[1], both)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearest_wins_and_equal_ones_by_number(backend):
    square = torch.tensor([[-1.0, -1], [3, -1], [-1, 3]])

    def at(*depths):
        z = torch.tensor(depths).repeat_interleave(3)[:, None]
        pos = torch.cat([square.repeat(len(depths), 1), z, torch.ones_like(z)], 1)[None]
        triangles = torch.arange(3 * len(depths)).reshape(-1, 3)
        return rasteriser(backend).rasterise(pos, triangles, (3, 3))[..., 3].unique().tolist()

    assert at(0.5, -0.5, 0.0) == [2]
    assert at(0.3, 0.3) == [1]
    assert at(1.5, -1.5) == [0]  # beyond the far plane, before the near one


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropped_triangles(backend):
    pos, triangles = grid_mesh(9, 9, 4)
    bad = torch.tensor([[-1, -1, -1], [0, 1, 99], [2, 2, 2]], dtype=torch.int32)
    draw = rasteriser(backend)
    rast = draw.rasterise(pos, torch.cat([bad, triangles]), (9, 9))
    alone = draw.rasterise(pos, triangles, (9, 9))
    assert torch.equal(rast[..., 3], torch.where(alone[..., 3] > 0, alone[..., 3] + 3, 0))
    lost = torch.where(torch.arange(len(pos[0]))[:, None] == 4, torch.nan, pos[0])[None]
    seen = draw.rasterise(lost, triangles, (9, 9))
    touching = (triangles == 4).any(1)[alone[..., 3].long() - 1] & (alone[..., 3] > 0)
    assert torch.equal(seen[..., 3], torch.where(touching, 0, alone[..., 3]))
    assert draw.rasterise(pos, triangles[:0], (4, 5)).shape == (1, 4, 5, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_floor_that_runs_below_the_camera(backend):
    """A triangle with a vertex behind the camera covers all below the horizon, up to the far plane, in true depth."""
    near, far, height = 0.1, 50.0, 1.0
    ground = torch.tensor([[-500.0, height, 200], [500, height, 200], [0, height, -300]])
    z = ((far + near) * ground[:, 2] - 2 * far * near) / (far - near)
    pos = torch.stack([ground[:, 0], ground[:, 1], z, ground[:, 2]], 1)[None]
    rows = 60
    rast, found = rasteriser(backend).render(pos, torch.tensor([[0, 1, 2]]), ground[None], (rows, 20))
    slope = (2 * np.arange(rows) + 1) / rows - 1
    distance = np.where(slope > 0, height / np.where(slope > 0, slope, 1), np.inf)
    for col in (0, 9, 19):
        np.testing.assert_array_equal(rast[0, :, col, 3].numpy() > 0, distance < far)
        np.testing.assert_allclose(found[0, :, col, 2].numpy()[distance < far], distance[distance < far], rtol=1e-4)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 3.0))
@settings(max_examples=40, deadline=None)
def test_backends_agree(seed, rows, cols, spread):
    """Random soups, partly behind the camera: the same pixels, weights and depths."""
    rng = np.random.default_rng(seed)
    pos = torch.tensor(rng.normal([0, 0, 0, spread], 1, (2, 30, 4)), dtype=torch.float32)
    triangles = torch.tensor(rng.integers(-1, 31, (40, 3)), dtype=torch.int32)
    attributes = torch.tensor(rng.uniform(0, 1, (1, 30, 3)), dtype=torch.float32)
    texture = torch.tensor(rng.uniform(0, 1, (1, 5, 7, 2)), dtype=torch.float32)
    (one, *first), (two, *second) = (
        rasteriser(name).shade(pos, triangles, attributes, texture, (rows, cols), masked=1) for name in BACKENDS
    )
    assert torch.equal(one[..., 3], two[..., 3])
    torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


@pytest.mark.slow
@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=15, deadline=None)
def test_gradients_of_backends_agree(seed, epsilons):
    """Everything of a step, texture and topology included."""
    pos, triangles = bumpy(seed, views=3, size=7)
    generator = torch.Generator().manual_seed(seed)
    leaves = [
        pos,
        torch.rand(1, pos.shape[1], 3, generator=generator, dtype=torch.float64),
        torch.rand(1, 6, 5, 4, generator=generator, dtype=torch.float64),
    ]
    weight = torch.randn(3, 24, 30, 4, generator=generator, dtype=torch.float64)
    found = []
    for name in BACKENDS:
        draw = rasteriser(name, epsilons=epsilons)
        given_leaves = [leaf.clone().requires_grad_() for leaf in leaves]
        rast, seen, sampled = draw.shade(given_leaves[0], triangles, *given_leaves[1:], (24, 30), masked=3)
        mixed = draw.antialias(sampled, rast, given_leaves[0], triangles, draw.topology(triangles), channels=3)
        total = (mixed * weight).sum() + (seen**2).sum() + (rast[..., :2] ** 3).sum()
        found.append([total.detach(), *torch.autograd.grad(total, given_leaves)])
    for one, two in zip(*found, strict=True):
        scale = max(float(two.abs().max()), 1.0)
        torch.testing.assert_close(one, two, rtol=0, atol=1e-8 * scale)


def away_from_clamps(rast):
    """Pixels whose weights no rounding of a triangle has clamped."""
    u, v = rast[..., :1].detach(), rast[..., 1:2].detach()
    return ((u > 0) & (v > 0) & (u + v < 1)).to(rast.dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_drawing(backend):
    """Against finite differences, float64, coverage held by the mask of pixels away from edges."""
    draw = rasteriser(backend, epsilons=False)
    pos, triangles = bumpy(3, views=2, size=5)
    attributes = torch.rand(1, 25, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def shaded(p, a):
        rast, found = draw.render(p, triangles, a, (9, 8))
        return found * away_from_clamps(rast), rast[..., :2] * away_from_clamps(rast)

    assert gradcheck(shaded, (pos.requires_grad_(), attributes.requires_grad_()), eps=1e-7, atol=1e-4)
    rast = draw.rasterise(pos.detach(), triangles, (9, 8)).requires_grad_()
    fixed = rast.detach()

    def interpolated(a, weights):
        return draw.interpolate(a, torch.cat([weights, fixed[..., 2:]], 3), triangles)

    weights = fixed[..., :2].clone().requires_grad_()
    keep = (fixed[..., 3:] > 0).double()
    assert gradcheck(lambda a, w: interpolated(a, w * keep), (attributes.detach().requires_grad_(), weights))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("views", [1, 2])
def test_gradients_of_textures(backend, views):
    generator = torch.Generator().manual_seed(5)
    texture = torch.rand(views, 4, 5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    texels = torch.rand(2, 3, 4, 2, generator=generator, dtype=torch.float64) * 0.8 + 0.1  # away from texel centres
    uv = ((torch.randint(-4, 9, texels.shape, generator=generator) + 0.5 + texels) / torch.tensor([5.0, 4.0])).detach()
    assert gradcheck(rasteriser(backend).texture, (texture, uv.requires_grad_()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_antialiasing(backend):
    """A lone tilted triangle: where its silhouette crosses between two centres, the colours tell by how much."""
    draw = rasteriser(backend, epsilons=False)
    pos = torch.tensor(
        [[[-0.7, -0.52, 0.1, 1.1], [0.83, -0.31, 0.3, 1.4], [0.05, 0.87, 0.2, 1.2]]], dtype=torch.float64
    )
    triangles = torch.tensor([[0, 1, 2]])
    rast = draw.rasterise(pos, triangles, (12, 13))
    colour = torch.rand(1, 12, 13, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pos, colour = pos.requires_grad_(), colour.requires_grad_()
    assert gradcheck(lambda c, p: draw.antialias(c, rast, p, triangles), (colour, pos), eps=1e-7, atol=1e-4)
    moved = torch.autograd.grad(draw.antialias(colour, rast, pos, triangles).sum(), pos)[0]
    assert moved.abs().max() > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_antialiasing_measures_the_covered_fraction(backend):
    """A vertical edge at a quarter of a pixel: the pixel it cuts gets that share, and no other pixel changes."""
    edge = 2 * (3 + 0.75) / 8 - 1  # three quarters of column 3 are covered, its centre too
    pos = torch.tensor([[[-3.0, -3, 0, 1], [edge, -3, 0, 1], [-3, 9, 0, 1], [edge, 9, 0, 1]]])
    triangles = torch.tensor([[0, 1, 2], [1, 3, 2]])
    draw = rasteriser(backend)
    rast = draw.rasterise(pos, triangles, (6, 8))
    white = (rast[..., 3:] > 0).float()
    assert torch.equal(white[0, 2, :, 0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]))
    mixed = draw.antialias(white.repeat(1, 1, 1, 2), rast, pos, triangles, channels=1)
    torch.testing.assert_close(mixed[0, 2, :, 0], torch.tensor([1, 1, 1, 0.75, 0, 0, 0, 0]))
    assert torch.equal(mixed[..., 1], white[..., 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_masked_channels(backend):
    pos, triangles = grid_mesh(9, 9, 4)
    texture = torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    uv = pos[..., :2] * 0.5 + 0.5
    rast, _, plain = rasteriser(backend).shade(pos, triangles, uv, texture, (9, 9))
    _, _, masked = rasteriser(backend).shade(pos, triangles, uv, texture, (9, 9), masked=3)
    empty = rast[..., 3] == 0
    corner = texture[0, [0, 0, 2, 2], [0, 2, 0, 2]].mean(0)  # (0, 0) lies between the four corners, wrapped around
    torch.testing.assert_close(plain[empty], corner.expand(int(empty.sum()), 4))
    assert not masked[empty][:, :3].any()
    assert torch.equal(masked[..., 3], plain[..., 3])
    assert torch.equal(masked[~empty], plain[~empty])


def test_gradients_do_not_depend_on_threads():
    pos, triangles = bumpy(7, views=1, size=40, dtype=torch.float32)
    attributes = torch.rand(1, pos.shape[1], 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pos = pos.requires_grad_()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            draw = rasteriser("numba")
            rast, seen = draw.render(pos, triangles, attributes, (50, 60))
            mixed = draw.antialias(seen, rast, pos, triangles)
            found.append([rast, *torch.autograd.grad((mixed**2).sum(), (pos, attributes))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_opposite_vertices():
    triangles = np.array([[0, 1, 2], [1, 3, 2], [-1, -1, -1], [4, 5, 6]], np.int32)
    wanted = [[3, -1, -1], [-1, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    np.testing.assert_array_equal(opposite_vertices(triangles), wanted)
    fan = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], np.int32)
    np.testing.assert_array_equal(opposite_vertices(fan)[:, 2], [3, 4, 2])
    assert opposite_vertices(np.empty((0, 3), np.int32)).shape == (0, 3)


def test_choice_of_a_backend(monkeypatch):
    assert rasteriser().name == "numba"
    assert rasteriser(epsilons=False).epsilons is False
    with pytest.raises(ConfigError, match="take one of auto, nvdiffrast, numba, torch"):
        rasteriser("opengl")
    with pytest.raises(UnsupportedError, match="--device cuda"):
        rasteriser("nvdiffrast")
    with pytest.raises(UnsupportedError, match="no exact backward"):
        rasteriser("nvdiffrast", "cuda", epsilons=False)
    with pytest.raises(UnsupportedError, match="on the CPU only"):
        rasteriser("numba", "cuda:0")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert rasteriser().name == "torch"
    assert rasteriser(device="cuda").name == "torch"
    with pytest.raises(UnsupportedError, match=r"refbench\[diffrender\]"):
        rasteriser("numba")
    with pytest.raises(UnsupportedError, match="NVlabs/nvdiffrast"):
        rasteriser("nvdiffrast", "cuda")
    assert "not installed" in nvdiffrast_problem()


@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_input(backend):
    draw = rasteriser(backend)
    pos, triangles = grid_mesh(9, 9, 4)
    uv = pos[..., :2]
    rast = draw.rasterise(pos, triangles, (4, 4))
    for match, call in (
        ("clip positions must be", lambda: draw.rasterise(pos[0], triangles, (4, 4))),
        ("triangles must be integers", lambda: draw.rasterise(pos, triangles.float(), (4, 4))),
        ("both at least 1", lambda: draw.render(pos, triangles, uv, (0, 4))),
        ("attributes must be", lambda: draw.render(pos, triangles, uv[:, :5], (4, 4))),
        ("at least 2 channels", lambda: draw.shade(pos, triangles, uv[..., :1], torch.ones(1, 2, 2, 1), (4, 4))),
        ("a texture must be", lambda: draw.shade(pos, triangles, uv, torch.ones(2, 2, 1), (4, 4))),
        ("masked must lie between", lambda: draw.shade(pos, triangles, uv, torch.ones(1, 2, 2, 1), (4, 4), masked=2)),
        ("uv must be", lambda: draw.texture(torch.ones(1, 2, 2, 1), rast)),
        ("colour must be", lambda: draw.antialias(rast[0], rast, pos, triangles)),
        ("channels must lie between", lambda: draw.antialias(rast, rast, pos, triangles, channels=5)),
    ):
        with pytest.raises(InputError, match=match):
            call()


def test_kernels_compile_without_a_writable_cache():
    """Where numba finds no place for machine code the kernels work all the same."""
    code = (
        "import numba.core.caching as c\n"
        "for locator in c.CacheImpl._locator_classes: locator.from_function = classmethod(lambda *_: None)\n"
        "import numpy as np\n"
        "from refbench_diffrender.rasteriser.kernels_cover import snap\n"
        "xy = np.zeros((1, 2), np.int32)\n"
        "snap(np.array([[0, 0, 0, 1.0]], np.float32), 4, 6, 0, 1, xy)\n"
        "print(xy.tolist(), type(snap._cache).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[[48, 32]] NullCache", found.stderr


def test_buffers_are_used_again_once_nobody_needs_them():
    buffers = Buffers(most=2**21)
    first = buffers.take((512, 512), np.float32)
    place = first.ctypes.data
    kept = torch.from_numpy(first)[3:]
    del first
    second = buffers.take((512, 512), np.float32)
    assert second.ctypes.data != place  # a view of the tensor still looks at it
    del kept
    assert buffers.take((256, 1024), np.int32).ctypes.data == place
    assert buffers.take((2, 3), np.float64).shape == (2, 3)
    held = [buffers.take((2**20 + n,), np.uint8) for n in range(4)]
    del held, second
    buffers.take((2**21,), np.uint8)
    assert sum(raw.nbytes for raw in buffers._kept) <= 2**21 + 2**21


def test_drawings_of_different_calls_do_not_share_memory():
    pos, triangles = bumpy(1, views=1, size=20, dtype=torch.float32)
    draw = rasteriser("numba")
    one = draw.rasterise(pos, triangles, (200, 300))
    before = one.clone()
    two = draw.rasterise(pos * torch.tensor([0.5, 0.5, 1, 1]), triangles, (200, 300))
    assert torch.equal(one, before)
    assert not torch.equal(one, two)
