"""What other views see of a mesh, which pixels count, and what lies beyond the initial depth."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from bump_scene import COLS, HEIGHT, ROWS, SIDE, bump, bump_scene  # noqa: E402

from refbench import DSM, Context  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.geometry.depth import render_depth  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.losses.photometric import photometric_terms  # noqa: E402
from refbench_diffrender.mesh.grid_mesh import facing, grid_points, grid_triangles  # noqa: E402
from refbench_diffrender.mesh.mesh_state import MeshState  # noqa: E402
from refbench_diffrender.mesh.visibility import depth_of, solid_triangles, unhidden  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.rasteriser.rasteriser import rasteriser  # noqa: E402
from refbench_diffrender.views.gl_cameras import Intrinsics  # noqa: E402
from refbench_diffrender.views.initial_depth import beyond_known  # noqa: E402

AT = Intrinsics(30.0, 30.0, 16.0, 12.0, 32, 24)
PLANES = 2.0, 40.0


def mesh_of(depth, stride=1):
    points = grid_points(depth, (AT.fx, AT.fy, AT.cx, AT.cy), stride)
    triangles = torch.from_numpy(grid_triangles(depth.shape[0] // stride, depth.shape[1] // stride))
    projection = torch.from_numpy(AT.projection(*PLANES))
    return MeshState.of_view(torch.from_numpy(points).float(), triangles, projection, PLANES, stride, depth.shape)


def step(low=10.0, high=20.0):
    depth = np.full((24, 32), low)
    depth[:, 16:] = high
    return depth


def test_depth_is_read_from_what_was_rasterised():
    depth = 10 + 0.2 * np.mgrid[:24, :32][1]
    mesh = mesh_of(depth)
    view = mesh.view()
    clip = (view @ mesh.projection.float().T)[None]
    rast, drawn = rasteriser("torch").render(clip, mesh.triangles, -view[None, :, 2:3], (24, 32))
    found = depth_of(rast, mesh.projection)
    torch.testing.assert_close(found, drawn[..., 0], rtol=1e-5, atol=0)
    assert float(found[0, -1, -1]) == 0  # the grid ends before the last pixel


def test_a_pixel_counts_unless_something_known_lies_well_before_it():
    depth = torch.tensor([[[10.0, 10.0, 10.0, 10.0]]]).repeat(2, 1, 1)
    held = torch.tensor([[8.0, 9.95, 12.0, 0.0]])
    found = unhidden(depth, [held, None], 0.01)[..., 0]
    assert found.tolist() == [[[0, 1, 1, 1]], [[1, 1, 1, 1]]]


def test_triangles_across_a_step_are_not_shown():
    mesh = mesh_of(step())
    assert len(solid_triangles(mesh, None, None)) == len(mesh.triangles)
    shown = solid_triangles(mesh, 80.0, None)
    assert len(mesh.triangles) - len(shown) == 2 * 23  # a column of cells
    column = shown % 32
    assert not ((column.amin(dim=1) == 15) & (column.amax(dim=1) == 16)).any()
    gentle = mesh_of(step(10.0, 10.1))
    assert len(solid_triangles(gentle, 80.0, None)) == len(gentle.triangles)


def test_the_angle_is_that_between_ray_and_normal():
    # A plane through the axis at 10 m that falls away by 45 degrees.
    points = np.array([[0, 0, -10], [0.01, 0, -10.01], [0, 0.01, -10]])
    triangle = np.array([[0, 1, 2]])
    assert facing(points, triangle, 45.1).all() and not facing(points, triangle, 44.9).any()


def test_nothing_is_shown_beyond_what_is_known():
    mesh = mesh_of(np.full((24, 32), 10.0), stride=2)
    beyond = torch.zeros(24, 32, dtype=torch.bool)
    beyond[:, 24:] = True
    shown = solid_triangles(mesh, None, beyond)
    assert int((shown % 16).max()) == 11  # vertex 12 lies on pixel 24
    assert len(shown) == 2 * 11 * 11


def test_small_holes_are_no_end_of_what_is_known():
    known = np.ones((40, 50), bool)
    known[10:13, 10:13] = False
    assert not beyond_known(known).any()
    known[20:30, 20:30] = False  # 5 %
    known[:4, 40:] = False
    expected = np.zeros_like(known)
    expected[20:30, 20:30] = expected[:4, 40:] = True
    np.testing.assert_array_equal(beyond_known(known), expected)


@pytest.mark.parametrize("penalty", ["charbonnier", "huber"])
def test_a_hidden_pixel_costs_nothing_and_a_wild_one_little(penalty):
    generator = torch.Generator().manual_seed(1)
    wanted = torch.rand(1, 8, 9, 3, generator=generator)
    found = wanted + 0.01
    visible, edges = torch.ones(1, 8, 9, 1), torch.ones(1, 8, 9, 1)
    spoiled = found.clone()
    spoiled[:, 2, 2] = wanted[:, 2, 2] + 5
    config = LossConfig(photometric=penalty)
    clean, wild = (photometric_terms(x, wanted, visible, edges, (1.0, 0.0), config) for x in (found, spoiled))
    assert list(clean) == ["colour"]
    squared = LossConfig()
    ratio = [
        float(photometric_terms(spoiled, wanted, visible, edges, (1.0, 0.0), c)["colour"])
        / float(photometric_terms(found, wanted, visible, edges, (1.0, 0.0), c)["colour"])
        for c in (config, squared)
    ]
    assert ratio[0] < 0.05 * ratio[1]
    visible[:, 2, 2] = 0
    hidden = photometric_terms(spoiled, wanted, visible, edges, (1.0, 0.0), config)["colour"]
    torch.testing.assert_close(hidden, clean["colour"], rtol=1e-4, atol=0)
    assert float(wild["colour"]) > float(hidden)


def test_patches_are_a_term_of_their_own():
    wanted = torch.rand(1, 12, 12, 3, generator=torch.Generator().manual_seed(2))
    ones = torch.ones(1, 12, 12, 1)
    terms = photometric_terms(0.8 * wanted + 0.1, wanted, ones, ones, (0.0, 3.0), LossConfig(patch_kind="ncc"))
    assert list(terms) == ["patch"] and float(terms["patch"]) < 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_fraction": -0.1},
        {"cut_deg": 0.0},
        {"cut_deg": 91.0},
        {"compat": True, "loss": LossConfig(patch=1.0)},
        {"compat": True, "loss": LossConfig(photometric="huber")},
    ],
)
def test_bad_values_are_refused(change):
    with pytest.raises(ValueError, match=r"hidden_fraction|cut_deg|compat"):
        DiffrenderConfig(**change)


# --- as a method ------------------------------------------------------------------------------------------------------

CONFIG = DiffrenderConfig(
    steps=60, init_steps=0, lr=1e-3, batch=3, stride=2, neighbours=3, tensorboard=False, outputs=(),
    views=("v1",), min_views=1, loss=LossConfig(colour=300, poisson=1.0),
)  # fmt: skip


def true_depth(scene, name):
    return render_depth(bump(), scene.views[name].camera, (ROWS, COLS))


def error(config, scene=None):
    scene = scene or bump_scene()
    found = Diffrender(config).refine(scene, Context()).depths["v1"]
    return float(np.nanmean(np.abs(found - true_depth(scene, "v1"))[12:36, 16:48]))


@pytest.mark.parametrize(
    "loss",
    [
        {"photometric": "charbonnier", "colour": 30.0},
        {"photometric": "huber", "colour": 30.0},
        {"colour": 0.0, "patch": 3.0},
        {"colour": 100.0, "patch": 2.0, "patch_kind": "ncc"},
    ],
)
def test_robust_terms_find_the_bump_too(loss):
    start = error(replace(CONFIG, steps=0))
    assert error(replace(CONFIG, loss=replace(CONFIG.loss, **loss))) < 0.75 * start


def test_cutting_and_visibility_change_nothing_where_nothing_is_hidden():
    plain = error(replace(CONFIG, steps=10, hidden_fraction=None))
    assert error(replace(CONFIG, steps=10, hidden_fraction=0.2, cut_deg=89.0)) == plain


def test_a_depth_map_ends_where_the_dsm_does():
    scene = bump_scene()
    whole = scene.dsm.read()
    window = slice(0, SIDE // 2 + 4)  # the eastern part of the plain is not known
    transform = whole.grid.transform
    grid = type(whole.grid)(SIDE // 2 + 4, SIDE, transform, whole.grid.crs)
    half = replace(scene, dsm=ArraySource(DSM(np.ascontiguousarray(whole.heights[:, window]), grid)))
    found = Diffrender(replace(CONFIG, steps=3)).refine(half, Context())
    depth = found.depths["v1"]
    unknown = np.isnan(render_depth(half.dsm.read(), scene.views["v1"].camera, (ROWS, COLS)))
    assert 0.3 < unknown.mean() < 0.6
    np.testing.assert_array_equal(np.isnan(depth), unknown)
    assert np.abs(depth[~unknown] - HEIGHT).max() < 3
    x, _ = scene.grid.centres()
    east = x > x.min() + SIDE // 2 + 6
    assert not found.dsm.valid[east].any()
