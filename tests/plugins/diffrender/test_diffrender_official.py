"""The official side of diffrender: output files, metrics, and what is optimised."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import cv2  # noqa: E402
from run_refbench import refbench  # noqa: E402
from wall_folder import (  # noqa: E402
    COLS,
    ROWS,
    change_folder,
    configure,
    started,
    steps,
    wall_depth,
    write_wall_folder,
)

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, UnsupportedError  # noqa: E402
from refbench.files.hashing import hash_file  # noqa: E402
from refbench.formats.raster_write import write_band  # noqa: E402
from refbench_diffrender.official.config import MODES, read_official  # noqa: E402
from refbench_diffrender.official.files import Files  # noqa: E402
from refbench_diffrender.official.run import run_official  # noqa: E402
from refbench_diffrender.official.view import config_of  # noqa: E402
from refbench_diffrender.official.view_folder import read_view_folder  # noqa: E402
from refbench_diffrender.outputs.metrics import cloud_metrics, thinned  # noqa: E402
from refbench_diffrender.views.depth_png import (  # noqa: E402
    codes_of_normals,
    depths_of,
    normals_of_codes,
    read_codes,
    write_depth,
    write_pixels,
)
from refbench_diffrender.views.gl_cameras import model_view  # noqa: E402
from refbench_diffrender.views.image_sampling import linear_of  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_wall_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    path = write_pixels(tmp_path / "n.png", codes_of_normals(normals))
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
    write_depth(folder / "depth_marigold" / "f1.png", 1.2 * wall_depth())
    run = started(
        folder, init_depth_dir="depth_marigold", input_colmap_sparse="from_ref_dm", train_mode="scale", lr=5e-3,
        loss_point_weight=10.0, loss_color_weight=0.0, sparse_pcd_from_ref_outlier_ratio=0.0,
    )  # fmt: skip
    before = np.abs(run.depth().numpy() - wall_depth()).mean()
    steps(run, 2, 120)
    assert np.abs(run.depth().numpy() - wall_depth()).mean() < 0.1 * before


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
        # As published, the image on the mesh stays encoded.
        torch.testing.assert_close(run.own.image, encoded if compat else linear_of(encoded))
    with pytest.raises(ConfigError, match=r"use_tonemapper compares encoded colours"):
        started(folder, srgb=True, use_tonemapper=True)


def test_poisson_without_its_filter(folder):
    with_filter, without = (
        float(started(folder, loss_poisson_blur_window=size, init_depth_dir="depth").losses(2, [0])["poisson"].detach())
        for size in (5, 0)
    )
    assert with_filter != without


# --- the scene of a configuration -------------------------------------------------------------------------------------


def run_official_configuration(folder, *more):
    words = ("run", "--method", "diffrender", "--config", "config.json", "--out", "out", "--no-report", *more)
    refbench(folder, *words)
    return json.loads((folder / "out" / "result.json").read_text())


def test_the_result_names_and_hashes_the_scene_of_the_configuration(folder):
    result = run_official_configuration(folder)
    assert result["scene"] == f"{folder.name}-f1"
    # Images of all views, the initial and the reference depth map of the one that is refined.
    assert set(result["hashes"]["inputs"]) == {"color/f0.png", "color/f1.png", "color/f2.png", "depth/f1.png"}
    assert result["hashes"]["inputs"]["color/f1.png"] == hash_file(folder / "color" / "f1.png")
    assert result["bridges"] == [] and result["outputs"]["depth_f1"] == "depth_f1.tif"
    assert set(result["metrics"]["depth"]) == {"f1"}  # scored by the reference that the configuration names


def test_a_scene_of_ones_own_runs_with_the_settings_alone(folder):
    configure(folder, max_iter=3, init_max_iter=0, depth_image_downsample=2)
    own = folder / "own"
    scene = Files().scene_from_config(Files().read_config(folder / "config.json"))
    (own / "views").mkdir(parents=True)
    for name, view in scene.views.items():
        (own / "views" / f"{name}.png").write_bytes((folder / "color" / f"{name}.png").read_bytes())
        camera = {"K": view.camera.K.tolist(), "R": view.camera.R.tolist(), "t": view.camera.t.tolist()}
        (own / "views" / f"{name}.yaml").write_text(json.dumps(camera))
        write_band(own / "views" / f"{name}_depth.tif", wall_depth().astype(np.float32), None, "depth")
    views = {
        name: {"image": f"views/{name}.png", "camera": f"views/{name}.yaml", "depth": f"views/{name}_depth.tif"}
        for name in scene.views
    }
    (own / "scene.yaml").write_text(json.dumps({"refbench_scene": 1, "id": "mine", "views": views}))
    result = run_official_configuration(folder, "own")
    assert result["scene"] == "mine"
    assert set(result["notes"]["views"]) == {"f0", "f1", "f2"}  # every view of it, not the one of the configuration
    assert result["notes"]["views"]["f1"]["stage_2"]["steps"] == 2
    assert result["config"]["stride"] == 2
    assert all(name.startswith("views/") for name in result["hashes"]["inputs"])
    assert "official" not in result["outputs"]


@pytest.mark.parametrize("flip", [0, 1])
def test_cameras_of_the_scene_see_what_the_official_ones_see(folder, flip):
    scene = Files().scene_from_config(Files().read_config(changed(folder, cam_use_flip_mat=flip)))
    views = read_view_folder(folder)
    rng = np.random.default_rng(0)
    for place, view in enumerate(scene.views.values()):
        matrix = model_view(views.camera_to_world[place], flip=bool(flip), turn=False)
        seen = np.concatenate([rng.uniform(-1, 1, (20, 2)), -rng.uniform(3, 6, (20, 1)), np.ones((20, 1))], axis=1)
        world = (seen @ np.linalg.inv(matrix).T)[:, :3]
        col, row, depth = view.camera.project(world)
        at = views.intrinsics
        # OpenGL looks along -z with y up; refbench's pixels have their origin at a centre.
        np.testing.assert_allclose(depth, -seen[:, 2])
        np.testing.assert_allclose(col, at.fx * seen[:, 0] / -seen[:, 2] + at.cx - 0.5)
        np.testing.assert_allclose(row, -at.fy * seen[:, 1] / -seen[:, 2] + at.cy - 0.5)


def test_depths_of_the_scene_are_metres_where_the_codes_are(folder):
    scene = Files().scene_from_config(Files().read_config(folder / "config.json"))
    depth = scene.views["f1"].depth.read()
    np.testing.assert_allclose(depth.pixels[0], wall_depth(), atol=5.1e-4)
    assert scene.views["f0"].depth is None and set(scene.reference.depths) == {"f1"}
    relative = Files().read_config(changed(folder, init_depth_mode="relative_to_abspcd"))
    assert Files().scene_from_config(relative).views["f1"].depth is None


def test_views_of_one_stem_keep_their_folders(folder):
    for place in (0, 2):
        target = folder / f"cam{place}" / "color"
        target.mkdir(parents=True)
        (folder / "color" / f"f{place}.png").rename(target / "same.png")

    def renamed(content):
        for place in (0, 2):
            content["frames"][place]["file_path"] = f"cam{place}/color/same.png"

    change_folder(folder, renamed)
    scene = Files().scene_from_config(Files().read_config(folder / "config.json"))
    assert list(scene.views) == ["cam0_color_same", "f1", "cam2_color_same"]


def changed(folder, **changes):
    configure(folder, **changes)
    return folder / "config.json"
