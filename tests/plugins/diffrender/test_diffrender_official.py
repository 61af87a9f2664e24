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
    configure,
    started,
    steps,
    truth,
    write_wall_folder,
)

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, UnsupportedError  # noqa: E402
from refbench_diffrender.official.config import MODES, read_official  # noqa: E402
from refbench_diffrender.official.run import run_official  # noqa: E402
from refbench_diffrender.official.view import config_of  # noqa: E402
from refbench_diffrender.outputs.metrics import cloud_metrics, thinned  # noqa: E402
from refbench_diffrender.views.depth_png import (  # noqa: E402
    codes_of_normals,
    depths_of,
    normals_of_codes,
    read_codes,
    write_depth,
    write_picture,
)
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
