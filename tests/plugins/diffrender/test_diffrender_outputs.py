"""What a run of the differentiable rendering leaves: confidence, PLY points and meshes, the fused DSM, its log."""

import csv
import importlib.util
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import rasterio  # noqa: E402
from bump_scene import (  # noqa: E402
    COLS,
    EAST,
    HEIGHT,
    NORTH,
    ROWS,
    bump,
    bump_camera,
    bump_grid,
    bump_image,
    bump_scene,
    refine,
    settings,
    written_scene,
)

from refbench import Context, InputError  # noqa: E402
from refbench.engine.sweeps.check import result_faults  # noqa: E402
from refbench.geometry.depth import render_depth  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.depth_mode.loop import has_settled  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.outputs.confidence import DepthView, agreement, confidences, correlation  # noqa: E402
from refbench_diffrender.outputs.fusion import fused, fused_dsm, normals_of  # noqa: E402
from refbench_diffrender.outputs.ply import write_ply  # noqa: E402
from refbench_diffrender.outputs.surface_mesh import cell_colours, dsm_mesh  # noqa: E402
from refbench_diffrender.running.run_log import TERMS, RunLog  # noqa: E402

SHORT = settings(
    steps=6, init_steps=3, lr=1e-3, init_lr=3e-3, batch=2, stride=2, neighbours=2, schedule="constant",
    loss__colour=300, loss__poisson=1.0,
)  # fmt: skip
KINDS = {"double": "<f8", "float": "<f4", "uchar": "u1"}


def read_ply(path):
    """Return the vertices as a table and the triangles [T, 3], by the header alone."""
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode().splitlines()]
    assert lines[0] == ["ply"] and lines[1] == ["format", "binary_little_endian", "1.0"]
    counts = {line[1]: int(line[2]) for line in lines if line[0] == "element"}
    kind = np.dtype([(line[2], KINDS[line[1]]) for line in lines if line[0] == "property" and line[1] != "list"])
    vertices = np.frombuffer(body, kind, counts["vertex"])
    rest = body[kind.itemsize * counts["vertex"] :]
    if "face" not in counts:
        assert not rest
        return vertices, None, head.decode()
    faces = np.frombuffer(rest, [("n", "u1"), ("v", "<i4", (3,))])
    assert len(faces) == counts["face"] and (faces["n"] == 3).all()
    return vertices, faces["v"], head.decode()


def xyz_of(vertices):
    return np.stack([vertices[name] for name in "xyz"], axis=1)


def true_views(noise=0.0, places=((-12, 0), (-4, 0), (4, 0), (12, 0)), seed=0):
    rng, views = np.random.default_rng(seed), []
    for number, place in enumerate(places):
        pinhole = bump_camera(*place)
        depth = render_depth(bump(), pinhole, (ROWS, COLS))
        depth = (depth + noise * rng.standard_normal(depth.shape)).astype(np.float32)
        image = np.moveaxis(bump_image(pinhole), 0, -1).astype(np.float32) / 255
        views.append(DepthView(f"v{number}", image, pinhole, depth))
    return views


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bump")
    refine(written_scene(folder / "scene"), folder / "out", *SHORT)
    return folder / "out"


def test_a_run_lists_all_that_it_leaves(run_folder):
    result = json.loads((run_folder / "result.json").read_text())
    expected = {"points": "points.ply", "mesh": "mesh.ply", "log": "log", "photo_consistency": "photo_consistency.tif"}
    expected |= {f"confidence_v{n}": f"confidence_v{n}.tif" for n in range(4)}
    expected |= {f"depth_v{n}": f"depth_v{n}.tif" for n in range(4)} | {"dsm": "dsm.tif"}
    assert result["outputs"] == expected
    assert all((run_folder / name).exists() for name in expected.values())
    assert set(result["hashes"]["outputs"]) == set(expected.values()) - {"log"}
    assert list(result_faults(run_folder)) == []


def test_points_keep_the_millimetres_of_utm(run_folder):
    vertices, triangles, header = read_ply(run_folder / "points.ply")
    assert triangles is None and "crs EPSG:32632" in header
    xyz = xyz_of(vertices)
    own = []
    for number, place in enumerate(((-6, 0), (0, 0), (6, 0), (0, 6))):
        with rasterio.open(run_folder / f"depth_v{number}.tif") as file:
            depth = file.read(1).astype(float)
        row, col = np.mgrid[:ROWS, :COLS].astype(float)
        own.append(bump_camera(*place).unproject(col, row, depth).reshape(-1, 3))
    possible = {tuple(point) for point in np.rint(np.concatenate(own) * 1e4)}
    assert {tuple(point) for point in np.rint(xyz * 1e4)} <= possible
    assert np.abs(xyz[:, 0] - EAST).max() < 40 and np.abs(xyz[:, 1] - NORTH).max() < 40
    assert len(xyz) > 0.5 * 4 * ROWS * COLS
    assert vertices["confidence"].min() >= 0 and vertices["confidence"].max() <= 1
    assert (vertices["nz"] > 0.5).mean() > 0.95  # seen from above
    assert 60 < vertices["red"].mean() < 200


def test_the_mesh_is_the_dsm(run_folder):
    vertices, triangles, _ = read_ply(run_folder / "mesh.ply")
    with rasterio.open(run_folder / "dsm.tif") as file:
        heights, valid = file.read(1), file.read_masks(1) > 0
        row, col = (np.asarray(v) for v in rasterio.transform.rowcol(file.transform, vertices["x"], vertices["y"]))
    assert valid[row, col].all() and len(vertices) > 0.9 * valid.sum()
    np.testing.assert_allclose(vertices["z"], heights[row, col], atol=1e-6)
    corners = xyz_of(vertices)[triangles]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_confidence_of_cells_and_pixels(run_folder):
    with rasterio.open(run_folder / "photo_consistency.tif") as file, rasterio.open(run_folder / "dsm.tif") as dsm:
        values, known = file.read(1), dsm.read_masks(1) > 0
    assert (values[known] > 0).mean() > 0.9 and (values[~known] == 0).all() and values.max() <= 1
    with rasterio.open(run_folder / "confidence_v1.tif") as file:
        assert file.shape == (ROWS, COLS) and 0.3 < file.read(1).mean() <= 1


def test_curves_of_every_term(run_folder):
    rows = list(csv.DictReader((run_folder / "log" / "v2.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    assert [row["stage"] for row in rows] == ["1"] * 3 + ["2"] * 6
    notes = json.loads((run_folder / "result.json").read_text())["notes"]["views"]["v2"]
    assert float(rows[2]["total"]) == notes["stage_1"]["last"] and float(rows[-1]["total"]) == notes["stage_2"]["last"]
    for row in rows:
        assert sum(float(row[term]) for term in TERMS if row[term]) == pytest.approx(float(row["total"]), rel=1e-5)
    assert float(rows[0]["lr"]) == 3e-3 and float(rows[-1]["lr"]) == 1e-3


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_reads_the_log(run_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_folder / "log" / "tensorboard" / "v2")).Reload()
    tags = events.Tags()
    assert {"stage_1/total", "stage_2/colour", "stage_2/poisson", "stage_2/lr"} <= set(tags["scalars"])
    rows = list(csv.DictReader((run_folder / "log" / "v2.csv").open()))[3:]
    seen = events.Scalars("stage_2/total")
    np.testing.assert_allclose([one.value for one in seen], [float(row["total"]) for row in rows], rtol=1e-6)
    assert [one.step for one in seen] == [4, 5, 6, 7, 8, 9]
    image = events.Images("stage_2/depth")[-1]
    assert (image.height, image.width) == (ROWS, COLS)


def test_without_a_grid_every_view_has_a_mesh(tmp_path):
    scene = written_scene(tmp_path / "scene", with_grid=False)
    refine(scene, tmp_path / "out", *SHORT, "--set", "tensorboard=false", "--set", 'views=["v0","v1"]')
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"mesh_v0.ply", "mesh_v1.ply", "points.ply", "confidence_v0.tif"} <= files and "mesh.ply" not in files
    assert not (tmp_path / "out" / "log" / "tensorboard").exists()
    vertices, triangles, _ = read_ply(tmp_path / "out" / "mesh_v1.ply")
    pinhole = bump_camera(0, 0)
    col, row, depth = pinhole.project(xyz_of(vertices))
    assert abs(col.min() + 0.5) < 0.1 and abs(col.max() - COLS + 0.5) < 0.1 and abs(np.median(depth) - HEIGHT) < 3
    inner = (col > 1) & (col < COLS - 2) & (row > 1) & (row < ROWS - 2)
    seen = bump_image(pinhole)[:, np.rint(row[inner]).astype(int), np.rint(col[inner]).astype(int)]
    off = np.abs(seen.T.astype(float) - np.stack([vertices[c][inner] for c in ("red", "green", "blue")], axis=1))
    assert np.median(off) < 8
    corners = xyz_of(vertices)[triangles]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).mean() > 0.99


def test_a_step_in_depth_has_no_triangles(tmp_path):
    start = np.zeros((64, 64), np.float32)
    start[24:40, 24:40] = 25  # a tower
    scene = written_scene(tmp_path / "scene", with_grid=False, start=start)
    refine(scene, tmp_path / "out", *settings(steps=0, init_steps=0, stride=1, tensorboard="false", views='["v1"]'))
    vertices, triangles, _ = read_ply(tmp_path / "out" / "mesh_v1.ply")
    heights = xyz_of(vertices)[triangles][..., 2]
    assert heights.max() > 20 and heights.min() < 5
    assert np.ptp(heights, axis=1).max() < 12.5  # no wall from ground to roof


def test_only_what_is_asked_for_is_written(tmp_path):
    scene = written_scene(tmp_path / "scene")
    refine(scene, tmp_path / "out", *settings(steps=1, init_steps=0, outputs='["points"]', tensorboard="false"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "points.ply" in names and not {"mesh.ply", "photo_consistency.tif", "confidence_v0.tif"} & names
    assert "confidence" not in read_ply(tmp_path / "out" / "points.ply")[0].dtype.names
    text = refine(scene, tmp_path / "none", *settings(outputs='["cloud"]'), code=2)
    assert "outputs" in text


# --- parts ------------------------------------------------------------------------------------------------------------


def test_true_depths_are_trusted_and_false_ones_are_not():
    views = true_views()
    wrong = views[1].depth.copy()
    wrong[10:30, 20:40] += 8
    views[1] = DepthView(views[1].name, views[1].image, views[1].camera, wrong)
    found = confidences(views, [], agreement(views, 0.5), 0.5)
    assert found[1][14:26, 24:36].max() < 0.35
    assert np.median(found[1][10:40, 42:60]) > 0.9 and np.median(found[2][34:44, 10:50]) > 0.9


def test_what_another_surface_hides_is_not_held_against_a_point():
    views = true_views()
    roofed = views[0].depth - 20
    hidden = [*views[1:], DepthView("roof", views[0].image, views[0].camera, roofed)]
    plain = confidences(views[1:], [], agreement(views[1:], 0.5), 0.5)[0]
    found = confidences(hidden, [], agreement(hidden, 0.5), 0.5)
    # The roof's map says nothing of points below it; its own points are contradicted by all maps that look through.
    seen = plain > 0.9
    assert np.median(found[0][seen]) > 0.85
    assert np.median(found[3]) < 0.05


def test_a_lone_depth_map_is_scored_by_images():
    view, *others = true_views()
    images = [DepthView(other.name, other.image, other.camera) for other in others]
    found = confidences([view], images, agreement([view], 0.5), 0.5)[0]
    assert found.max() <= 0.5 and np.median(found[:, 20:]) > 0.4
    shifted = DepthView(view.name, view.image, view.camera, view.depth - 12)
    assert np.median(confidences([shifted], images, agreement([shifted], 0.5), 0.5)[0][:, 20:]) < 0.3


def test_correlation_is_that_of_the_patch():
    rng = np.random.default_rng(4)
    a, b = rng.random((2, 9, 9))
    known = np.ones((9, 9), bool)
    known[3, 3] = False
    found = correlation(a, np.where(known, b, np.nan), known)
    patch = known[2:7, 2:7]
    pairs = np.stack([a[2:7, 2:7][patch], b[2:7, 2:7][patch]])
    covariance = np.cov(pairs, bias=True) + (2 / 255) ** 2
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert found[4, 4] == pytest.approx(max(expected, 0), abs=1e-9)
    np.testing.assert_allclose(correlation(a, 0.5 * a + 0.2, np.ones((9, 9), bool)), 1, atol=0.01)


def test_normals_are_those_of_the_surface():
    view = true_views()[1]
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    x, y, z = np.moveaxis(view.camera.unproject(col, row, view.depth.astype(float)), -1, 0)
    slope = np.stack([(x - EAST) / 60 * z, (y - NORTH) / 60 * z, np.ones_like(z)], axis=-1)
    expected = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    inner = (slice(4, -4), slice(4, -4))
    angle = np.degrees(np.arccos(np.clip((normals_of(view) * expected).sum(-1), -1, 1)))[inner]
    assert np.median(angle) < 1.5 and np.percentile(angle, 95) < 5


def test_fused_cells_take_the_mean_confidence_of_their_points():
    result = fused(true_views(noise=0.05), [], min_views=2, absolute=0.5)
    dsm, confidence = fused_dsm(result.points, bump_grid())
    known = np.isfinite(dsm.heights)
    assert np.abs(dsm.heights - bump().heights)[known].mean() < 0.1
    column = np.floor(result.points.xyz[:, 0] - bump_grid().transform.c).astype(int)
    row = np.floor(bump_grid().transform.f - result.points.xyz[:, 1]).astype(int)
    inside = (row == 30) & (column == 31)
    assert confidence[30, 31] == pytest.approx(result.points.confidence[inside].mean(), abs=1e-5)
    mesh = dsm_mesh(dsm, cell_colours(result.points, dsm.grid))
    assert len(mesh.vertices) <= known.sum() and mesh.triangles.max() == len(mesh.vertices) - 1
    bare = fused(true_views(), [], min_views=2, absolute=0.5, with_confidence=False)
    assert bare.confidence == {} and fused_dsm(bare.points, bump_grid())[1] is None


def test_ply_files_open_elsewhere(tmp_path):
    open3d = pytest.importorskip("open3d")
    xyz = np.array([[EAST, NORTH, 1.001], [EAST + 0.001, NORTH, 2.0], [EAST, NORTH + 0.001, 3.0]])
    write_ply(tmp_path / "m.ply", xyz, colour=np.array([[255, 0, 3]] * 3, np.uint8), triangles=np.array([[0, 1, 2]]))
    mesh = open3d.io.read_triangle_mesh(str(tmp_path / "m.ply"))
    np.testing.assert_array_equal(np.asarray(mesh.vertices), xyz)
    assert np.asarray(mesh.triangles).tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(np.asarray(mesh.vertex_colors)[0], [1, 0, 3 / 255], atol=1e-6)
    with pytest.raises(InputError, match="needs points"):
        write_ply(tmp_path / "none.ply", xyz[:0])
    with pytest.raises(InputError, match="Cannot write"):
        write_ply(tmp_path / "nowhere" / "m.ply", xyz)


def test_every_loss_term_has_a_column():
    seen = set()

    class Spy(RunLog):
        def add_step(self, report, rates):
            seen.update(report.terms)

    weights = LossConfig(init_colour=1.0, median=1.0, smooth=1.0)
    config = DiffrenderConfig(steps=1, init_steps=1, stride=2, views=("v1",), tonemapper=True, loss=weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refbench_diffrender.depth_mode.loop.RunLog", Spy)
        Diffrender(config).refine(bump_scene(), Context())
    assert {"colour", "poisson", "median", "smooth", "edge_map"} <= seen <= set(TERMS)


def test_a_stage_has_settled_where_the_mean_loss_stays():
    assert not has_settled([3, 2, 1, 0.5], 2) and has_settled([1, 1, 1, 1], 2)
    assert not has_settled([1, 1, 1], 2) and not has_settled([1] * 50, 0)
