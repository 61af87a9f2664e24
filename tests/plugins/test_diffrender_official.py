"""The official side of diffrender: configuration keys, initial depths, output files, metrics, bad input."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import cv2  # noqa: E402

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError, UnsupportedError  # noqa: E402
from refbench_diffrender.depth_png import (  # noqa: E402
    codes_of_normals,
    depths_of,
    normals_of_codes,
    read_codes,
    write_depth,
    write_picture,
)
from refbench_diffrender.metrics import cloud_metrics, thinned  # noqa: E402
from refbench_diffrender.official import read_config  # noqa: E402
from refbench_diffrender.official_config import MODES, read_official  # noqa: E402
from refbench_diffrender.official_run import run_official  # noqa: E402
from refbench_diffrender.official_source import read_source  # noqa: E402
from refbench_diffrender.official_view import config_of, prepared  # noqa: E402
from refbench_diffrender.picture import linear_of  # noqa: E402
from refbench_diffrender.view_folder import sampled_points  # noqa: E402

ROWS, COLS, FOCAL, NEAR, FAR = 48, 64, 60.0, 0.5, 20.0
BEGIN = {
    "input_dir": ".", "view_name": "f1.png", "lr": 1e-3, "init_lr": 1e-3, "batch": 2, "max_iter": 7,
    "init_max_iter": 2, "cam_resolution": [ROWS, COLS], "cam_near_far": [NEAR, FAR], "cam_use_flip_mat": 1,
    "init_depth_mode": "absolute", "init_depth_dir": "depth", "adaptive_mesh_simplification_ratio": 1.0,
    "depth_image_downsample": 4, "log_interval": 3, "log_hparams": ["lr"], "input_normal_dir": "None",
}  # fmt: skip


def depth_at(col, row):
    """A slanted wall with a bump, metres."""
    x, y = col / COLS - 0.5, row / ROWS - 0.5
    return 4 + x + 0.5 * y - 0.8 * np.exp(-(x**2 + y**2) / 0.05)


def picture(number):
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    return np.stack([0.5 + 0.3 * np.sin(col / (3 + k) + number) * np.cos(row / (4 - k)) for k in range(3)], axis=-1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("color", "depth", "depth_marigold", "normals"):
        (tmp_path / name).mkdir()
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    depth = depth_at(col, row)
    frames = []
    for number in range(3):
        write_picture(tmp_path / "color" / f"f{number}.png", np.rint(255 * picture(number)).astype(np.uint8))
        pose = np.eye(4)
        pose[0, 3] = 0.2 * (number - 1)
        frames.append({"file_path": f"color/f{number}.png", "transform_matrix": pose.tolist()})
    write_depth(tmp_path / "depth" / "f1.png", depth)
    relative = (depth - depth.min()) / np.ptp(depth)
    write_picture(tmp_path / "depth_marigold" / "f1.png", np.rint(1 + 60000 * relative).astype(np.uint16))
    angle = 2 * np.arctan(COLS / 2 / FOCAL)
    facts = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": COLS / 2, "cy": ROWS / 2, "w": COLS, "h": ROWS}
    content = {**facts, "camera_angle_x": angle, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    configure(tmp_path)
    return tmp_path


def configure(folder, **changes):
    content = {"base_dir": str(folder), **BEGIN, **changes}
    (folder / "config.json").write_text(json.dumps(content))
    return read_official(folder / "config.json")


def started(folder, *, compat=False, **changes):
    official = configure(folder, **changes)
    torch.manual_seed(0)
    return prepared(official, config_of(official, compat=compat))


def steps(run, stage, number):
    reports = list(run.run(stage, [[0, 2]] * number))
    return [report.total for report in reports], reports[-1].terms


def truth():
    return depth_at(*np.meshgrid(np.arange(COLS), np.arange(ROWS)))


def change_folder(folder, change):
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refbench(where, *arguments, code=0):
    run = subprocess.run(
        [sys.executable, "-m", "refbench.cli.main", *map(str, arguments)],
        cwd=where,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    return run.stdout + run.stderr


# --- the files and metrics of a run -----------------------------------------------------------------------------------


def test_a_run_leaves_the_official_files(folder):
    configure(folder, use_tonemapper=True, input_colmap_sparse="from_ref_dm", sparse_pcd_from_ref_num_points=200)
    refbench(folder, "run", "--method", "diffrender", "--config", "config.json", "--out", "out", "--no-report")
    official = folder / "out" / "official"
    maps = {path.name for path in (official / "dm").iterdir()}
    assert maps == {
        "depth.png", "depth_init.png", "depth_1.png", "depth_2.png", "depth_abs.png", "depth_ref.png", "edge_map.png",
        "uv.png", "tris.png", "wireframe.png", "normals.png", "depth_colored_6.png",
    }  # fmt: skip
    assert json.loads((official / "config.json").read_text())["loss_poisson_weight"] == 400
    assert np.loadtxt(official / "exposure.txt").shape == (3,) and np.loadtxt(official / "response.txt").shape == (3,)
    lines = (official / "log.txt").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["iteration 0", "iteration 3", "iteration 6"]
    assert cv2.imread(str(official / "pcd_aligned.png")) is not None
    found = read_codes(official / "dm" / "depth.png")
    written = cv2.imread(str(folder / "out" / "depth_f1.tif"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depths_of(found), written, atol=5.1e-4)
    assert (found > 0).all()  # the rim stays covered over both stages
    result = json.loads((folder / "out" / "result.json").read_text())
    metrics = result["notes"]["official_metrics"]
    assert metrics == json.loads((official / "metrics.json").read_text())
    assert metrics["initial"]["depth_mae (consider up to 15.0m)"] < 0.03
    assert (
        metrics["best"]["MIN_depth_mae (consider up to 15.0m)"] <= metrics["final"]["depth_mae (consider up to 15.0m)"]
    )
    assert metrics["final"]["completion_ratio"] > 0.5


def test_without_scratch_and_reference_there_is_the_depth_alone(folder):
    configure(folder, init_ref_depth_dir="elsewhere")
    config = replace(
        config_of(read_official(folder / "config.json"), compat=False), official=str(folder / "config.json")
    )
    prediction = run_official(config, Context())
    assert prediction.depths["f1"].shape == (ROWS, COLS)
    assert not prediction.files and "official_metrics" not in prediction.notes


def test_the_tonemapper_goes_on_from_an_earlier_run(folder):
    np.savetxt(folder / "exposure.txt", [0.1, 0.2, 0.3])
    np.savetxt(folder / "response.txt", [1.1, 1.2, 1.3])
    run = started(folder, use_tonemapper=True)
    np.testing.assert_allclose(run.tonemapper.exposure.detach(), [0.1, 0.2, 0.3], rtol=1e-6)
    np.savetxt(folder / "exposure.txt", [0.1, 0.2])
    with pytest.raises(InputError, match=r"2 exposures for 3 views"):
        started(folder, use_tonemapper=True)


def test_depths_that_do_not_fit_become_tiff(tmp_path):
    depth = np.array([[1.2345, 70.0], [0.0, np.nan]])
    assert write_depth(tmp_path / "a.png", depth).name == "a.tif"
    np.testing.assert_allclose(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED), [[1.2345, 70], [0, 0]])
    assert write_depth(tmp_path / "b.png", depth, compat=True).name == "b.png"
    assert read_codes(tmp_path / "b.png")[0].tolist() == [1234, 70000 - 65536]
    assert read_codes(write_depth(tmp_path / "c.png", depth[:, :1])).tolist() == [[1234], [0]]


def test_normals_come_back_from_their_codes(tmp_path):
    normals = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5)).astype(np.float32)
    path = write_picture(tmp_path / "n.png", codes_of_normals(normals))
    np.testing.assert_allclose(normals_of_codes(read_codes(path, 3)), normals, atol=2e-5)


def test_metrics_of_clouds():
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 1, (300, 3))
    same = cloud_metrics(reference, reference)
    assert same == {"completion_ratio": 1.0, "accuracy_mean": 0.0, "accuracy_median": 0.0}
    beside = cloud_metrics(reference[:150] + np.array([0, 0, 1e-3]), reference)
    assert 0.4 < beside["completion_ratio"] < 0.7
    assert beside["accuracy_median"] == pytest.approx(1e-3, rel=0.2)
    beyond = cloud_metrics(reference + 5, reference)  # nothing within the reference's box
    assert beyond["completion_ratio"] == 0 and np.isnan(beyond["accuracy_mean"])
    twice = np.array([[0.0001, 0, 0], [0.0003, 0, 0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(thinned(twice), [[0.0002, 0, 0], [0.5, 0.5, 0.5]])


# --- what is optimised ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_moves_what_it_names(folder, mode):
    run = started(folder, train_mode=mode, init_train_mode=mode, input_colmap_sparse="from_ref_dm")
    for stage in (1, 2):
        losses, terms = steps(run, stage, 4)
        assert losses[-1] < losses[0]
        assert ("transfer" in terms) == (stage == 1 and "transfer_func" in mode)
        assert (run.offset is not None) == ("uv" in mode)
        assert (run.factor is not None) == ("depth" in mode)
        assert (run.scale is not None) == (mode == "scale")
        moved = [each for each in (run.offset, run.scale) if each is not None]
        moved += [] if run.factor is None else [run.factor - 1]
        assert all(float(each.detach().abs().max()) > 0 for each in moved)


def test_the_scale_mode_finds_a_wrong_scale(folder):
    write_depth(folder / "depth_marigold" / "f1.png", 1.2 * truth())
    run = started(
        folder, init_depth_dir="depth_marigold", input_colmap_sparse="from_ref_dm", train_mode="scale", lr=5e-3,
        loss_point_weight=10.0, loss_color_weight=0.0, sparse_pcd_from_ref_outlier_ratio=0.0,
    )  # fmt: skip
    before = np.abs(run.depth().numpy() - truth()).mean()
    steps(run, 2, 120)
    assert np.abs(run.depth().numpy() - truth()).mean() < 0.1 * before


def test_published_stage_1_of_no_steps_bakes_noise(folder):
    start = started(folder, init_max_iter=0).depth().numpy()
    for compat, far in ((True, True), (False, False)):
        run = started(folder, compat=compat, init_max_iter=0)
        assert run.config.init_steps == 0
        run.begin(2)
        found = run.depth().numpy()
        assert (np.median(np.abs(found - start)[found > 0]) > 1e-2) == far


@pytest.mark.parametrize("key", ["train_mode", "init_train_mode"])
def test_modes_without_a_meaning_are_refused(folder, key):
    with pytest.raises(UnsupportedError, match=f"{key} 'color' is not offered"):
        configure(folder, **{key: "color"})


@pytest.mark.parametrize("shape", [[ROWS + 3, COLS - 1], [30, 41]])
def test_a_size_that_the_stride_does_not_divide(folder, shape):
    run = started(folder, cam_resolution=shape)
    for stage in (1, 2):
        steps(run, stage, 3)
    assert run.depth().shape == tuple(shape) and (run.depth() > 0).all()
    published = started(folder, compat=True, cam_resolution=shape)
    assert (published.depth()[0] > 0).any() and not (published.depth()[-1] > 0).any()


def test_srgb_compares_linear_light(folder):
    encoded = started(folder).own.image
    for compat in (True, False):
        run = started(folder, compat=compat, srgb=True)
        torch.testing.assert_close(run.targets[1].image, linear_of(encoded))
        # As published, the picture on the mesh stays encoded.
        torch.testing.assert_close(run.own.image, encoded if compat else linear_of(encoded))
    with pytest.raises(ConfigError, match=r"use_tonemapper compares encoded colours"):
        started(folder, srgb=True, use_tonemapper=True)


def test_poisson_without_its_filter(folder):
    with_filter, without = (
        float(started(folder, loss_poisson_blur_window=size, init_depth_dir="depth").losses(2, [0])["poisson"].detach())
        for size in (5, 0)
    )
    assert with_filter != without


# --- initial depths ---------------------------------------------------------------------------------------------------


def test_initial_depths_of_every_mode(folder):
    synthetic = {"input_colmap_sparse": "from_ref_dm", "sparse_pcd_from_ref_perturb_std": 0.0}
    relative = {"init_depth_dir": "depth_marigold", "depth_image_downsample": 1}
    found = {
        "absolute": started(folder),
        "offset_scale": started(folder, init_depth_mode="offset_scale", init_offset_scale=[3.0, 2.0]),
        "relative_to_absdm": started(folder, init_depth_mode="relative_to_absdm", **relative),
        "relative_to_abspcd": started(folder, init_depth_mode="relative_to_abspcd", **relative, **synthetic),
    }
    within = {"relative_to_absdm": 0.3, "relative_to_abspcd": 0.1}  # published formulas, and a median of 5 x 5
    for mode, run in found.items():
        assert np.abs(run.initial.absolute.numpy() - truth()).mean() < within.get(mode, 1e-3), mode
    assert (found["offset_scale"].initial.offset, found["offset_scale"].initial.scale) == (3.0, 2.0)
    with pytest.raises(ConfigError, match=r"needs init_offset_scale"):
        started(folder, init_depth_mode="offset_scale")
    with pytest.raises(UnsupportedError, match=r"init_depth_mode 'render' is not offered"):
        configure(folder, init_depth_mode="render")


def test_points_drawn_from_the_reference(folder):
    official = configure(folder, input_colmap_sparse="nowhere/from_ref_dm", sparse_pcd_from_ref_num_points=900)
    config = config_of(official, compat=False)
    sources = [read_source(official, config, Context(seed=seed).rng("points")).seen for seed in (1, 1, 2)]
    np.testing.assert_array_equal(sources[0].xyz, sources[1].xyz)
    assert (sources[0].xyz != sources[2].xyz).any()
    seen = sources[0]
    assert seen.xyz.shape == (900, 4) and seen.places.shape == (900, 2) and seen.rgb.shape == (900, 3)
    col, row = ((seen.places + 1) / 2 * (COLS, ROWS) - 0.5).T
    error = -seen.xyz[:, 2] - depth_at(col, row)
    assert np.median(np.abs(error)) == pytest.approx(0.02 * 0.6745, rel=0.15)
    assert 0.005 < (np.abs(error) > 0.1).mean() < 0.03
    np.testing.assert_allclose(seen.xyz[:, 0], (col + 0.5 - COLS / 2) * -seen.xyz[:, 2] / FOCAL, atol=1e-9)
    np.testing.assert_allclose(seen.rgb / 255, picture(1)[row.round().astype(int), col.round().astype(int)], atol=3e-3)


def test_no_more_points_than_depths(folder):
    depth = np.zeros((4, 5))
    depth[1, 2] = 3.0
    folder_of = read_source(configure(folder), config_of(read_official(folder / "config.json")), None).folder
    seen = sampled_points(
        depth, folder_of.intrinsics, folder_of.picture(0), np.random.default_rng(0), number=10, outliers=0, noise=0
    )
    np.testing.assert_allclose(seen.places, [[2 * 2.5 / 5 - 1, 2 * 1.5 / 4 - 1]])


# --- normals ----------------------------------------------------------------------------------------------------------


def write_normals(folder, run, certainty=65535):
    found = run.own_normals(run.view_points(2)).detach()[0].numpy()
    write_picture(folder / "normals" / "f1.png", codes_of_normals(found))
    write_picture(folder / "normals" / "f1_certainty.png", np.full((ROWS, COLS), certainty, np.uint16))


def test_normals_shape_the_surface(folder):
    write_normals(folder, started(folder))
    write_depth(folder / "depth_marigold" / "f1.png", 4 + 0.001 * truth())  # nearly flat
    only = {
        "init_depth_dir": "depth_marigold", "input_normal_dir": "normals", "loss_normal_weight": 1.0, "lr": 1e-3,
        "loss_color_weight": 0.0, "loss_poisson_weight": 0.0, "loss_edge_map_weight": 0.0,
        "loss_uv_edginess_weight": 0.0,
    }  # fmt: skip
    run = started(folder, **only)

    def shape_error():
        depth = run.depth().numpy()[8:-8, 8:-8]
        wanted = truth()[8:-8, 8:-8]
        return np.abs(depth / np.median(depth) - wanted / np.median(wanted)).mean()

    before = shape_error()
    losses, terms = steps(run, 2, 100)
    assert list(terms) == ["normal"]
    assert losses[-1] < losses[0] and shape_error() < 0.7 * before
    assert "normal" not in started(folder, **(only | {"loss_normal_weight": 0.0, "loss_color_weight": 1.0})).losses(
        2, [0]
    )


def test_normals_that_are_uncertain_do_not_count(folder):
    write_normals(folder, started(folder), certainty=0)
    run = started(folder, input_normal_dir="normals")
    assert float(run.losses(2, [0])["normal"].detach()) == 0


def test_where_normals_are_looked_for(folder):
    with pytest.raises(MissingFileError, match=r"f1.png is missing: input_normal_dir must hold"):
        started(folder, input_normal_dir="normals")
    write_normals(folder, started(folder))
    (folder / "normals" / "f1_certainty.png").rename(folder / "normals" / "away.png")
    with pytest.raises(MissingFileError, match=r"f1_certainty.png is missing"):
        started(folder, input_normal_dir="normals")
    with pytest.raises(InputError, match=r"for pictures of the suffix .JPG only"):
        started(folder, compat=True, input_normal_dir="normals")
    write_picture(folder / "normals" / "f1_certainty.png", np.full((ROWS, COLS), 255, np.uint8))
    with pytest.raises(InputError, match=r"1 bands of 8 bits, expected 1 of 16"):
        started(folder, input_normal_dir="normals")


# --- bad input --------------------------------------------------------------------------------------------------------


def sparse_model(folder, points, name="f1.png"):
    """A COLMAP model of text files: view f1 sees ``points`` (u, v, depth)."""
    model = folder / "sparse"
    model.mkdir()
    (model / "cameras.txt").write_text(f"1 PINHOLE {COLS} {ROWS} {FOCAL} {FOCAL} {COLS / 2} {ROWS / 2}\n")
    seen = " ".join(f"{u} {v} {number}" for number, (u, v, _) in enumerate(points))
    (model / "images.txt").write_text(f"1 1 0 0 0 0 0 0 1 {name}\n{seen}\n")
    lines = [
        f"{n} {(u - COLS / 2) * d / FOCAL} {(v - ROWS / 2) * d / FOCAL} {d} 1 2 3 0.1"
        for n, (u, v, d) in enumerate(points)
    ]
    (model / "points3D.txt").write_text("\n".join(lines) + "\n")


def places(number):
    return [(3.5 + 5 * n, 2.5 + 3 * n, depth_at(3 + 5 * n, 2 + 3 * n)) for n in range(number)]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "no point that the view color/f1.png sees farther away than 1 m"),
        ([(9.5, 9.5, -4.0)] * 12, "no point that the view"),
        (places(9), "only 9 sparse points"),
    ],
)
def test_too_few_points_in_the_view(folder, points, words):
    sparse_model(folder, points)
    with pytest.raises(InputError, match=words):
        started(
            folder, input_colmap_sparse="sparse", init_depth_mode="relative_to_abspcd", init_depth_dir="depth_marigold"
        )


def test_enough_points_align_the_map(folder):
    sparse_model(folder, places(12))
    run = started(
        folder, input_colmap_sparse="sparse", init_depth_mode="relative_to_abspcd", init_depth_dir="depth_marigold"
    )
    assert np.abs(run.initial.absolute.numpy() - truth()).mean() < 0.05


def test_a_model_without_the_view(folder):
    sparse_model(folder, places(12), name="other.png")
    with pytest.raises(InputError, match=r"no picture of the view color/f1.png"):
        started(folder, input_colmap_sparse="sparse")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(fl_x=2 * FOCAL), "fl_x 120 does not belong to w 64"),
        (lambda c: c.update(fl_x=-1), "fl_x must be positive"),
        (lambda c: c.update(h=2 * ROWS), "64 x 48 pixels, which is no size of the 64 x 96"),
        (lambda c: c["frames"].append({**c["frames"][0], "file_path": "color/gone.png"}), "gone.png is missing"),
        (lambda c: c["frames"][1].update(file_path="pictures/f1.png"), "does not contain 'color'"),
    ],
)
def test_pictures_that_do_not_fit_their_file(folder, change, words):
    change_folder(folder, change)
    with pytest.raises(InputError, match=words):
        started(folder)


def test_pictures_of_another_size_with_the_same_proportions(folder):
    change_folder(folder, lambda c: c.update({key: 2 * c[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")}))
    run = started(folder)
    assert run.intrinsics.fx == pytest.approx(FOCAL) and run.own.image.shape == (ROWS, COLS, 3)


CODES = 4000 + np.arange(ROWS * COLS).reshape(ROWS, COLS) % 100


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((CODES + 50000).astype(np.uint16), r"holds 54 to 54.1 m, cam_near_far is 0.5 to 20 m"),
        ((CODES // 1000).astype(np.uint16), r"holds no two different depths"),
        ((CODES % 100 + 1).astype(np.uint16), r"holds 0.001 to 0.1 m"),
        (np.zeros((ROWS, COLS), np.uint16), r"holds no two different depths"),
        ((CODES // 20).astype(np.uint8), r"1 bands of 8 bits"),
        (np.stack([CODES] * 3, axis=-1).astype(np.uint16), r"3 bands of 16 bits"),
    ],
)
def test_depth_maps_of_another_scale(folder, values, words):
    write_picture(folder / "depth" / "f1.png", values)
    with pytest.raises(InputError, match=words):
        started(folder)


def test_a_missing_depth_map(folder):
    with pytest.raises(MissingFileError, match=r"color/f1.png has no depth map in elsewhere"):
        started(folder, init_depth_dir="elsewhere")
    with pytest.raises(MissingFileError, match=r"has no depth map in init_ref_depth_dir elsewhere"):
        started(folder, init_depth_mode="relative_to_absdm", init_ref_depth_dir="elsewhere")
    with pytest.raises(MissingFileError, match=r"draws points from the reference depth map"):
        started(folder, input_colmap_sparse="from_ref_dm", init_ref_depth_dir="elsewhere")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cam_resolution": [3]}, "cam_resolution must hold two numbers"),
        ({"cam_near_far": [5, 1]}, "near plane before the far one"),
        ({"cam_near_far": [-1, 1]}, "cam_near_far must hold positive numbers"),
        ({"transfer_func_hlayers": [0]}, "transfer_func_hlayers must hold positive numbers"),
        ({"scale_init_percentile": 0.7}, r"must lie in \[0, 0.5\)"),
        ({"batch": 0}, "batch must be positive"),
        ({"max_iter": -1}, "must not be negative"),
        ({"log_hparams": [3]}, "log_hparams must be a list of texts"),
    ],
)
def test_values_that_no_run_could_use(folder, changes, words):
    with pytest.raises(ConfigError, match=words):
        configure(folder, **changes)


def test_a_view_must_be_named(folder):
    with pytest.raises(ConfigError, match=r"give input_dir .* and view_name"):
        started(folder, view_name=None)


def test_sources_are_switched_off_by_their_flags_without_a_base(folder):
    official = configure(folder, input_colmap_sparse="from_ref_dm", pcd_available=False)
    assert official.folder("input_colmap_sparse") is not None  # base_dir is given: the flag does not count
    official = configure(folder, base_dir=None, input_colmap_sparse="from_ref_dm", pcd_available=False)
    assert official.folder("input_colmap_sparse") is None
    assert official.folder("input_dir") == Path()


def test_known_keys_are_not_called_unknown(folder):
    configure(folder, optim_stage_starts=[1, 2], mine=1)
    notes = read_config(folder / "config.json")["notes"]
    assert [note for note in notes if "unknown" in note] == ["mine is unknown to the official program and is left out."]
