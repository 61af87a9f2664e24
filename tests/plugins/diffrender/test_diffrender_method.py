"""Differentiable rendering as a method: a known surface is found again, official configurations run."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from makers import centred_grid, pinhole_above  # noqa: E402
from run_refbench import refbench  # noqa: E402

from refbench import DSM, Context, Image, InputError, Scene, View  # noqa: E402
from refbench.contracts.errors import ConfigError, UnsupportedError  # noqa: E402
from refbench.contracts.points import PointCloud  # noqa: E402
from refbench.formats.cloud import HeldPoints  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.geometry.depth import render_depth  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.depth_mode.refinement import _to_rim  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402
from refbench_diffrender.official.config import read_official  # noqa: E402
from refbench_diffrender.official.files import Files  # noqa: E402
from refbench_diffrender.official.view_folder import read_view_folder  # noqa: E402
from refbench_diffrender.views.gl_cameras import find_view  # noqa: E402
from refbench_diffrender.views.views import scene_views  # noqa: E402

ROWS, COLS, FOCAL, HEIGHT, SIDE = 60, 80, 90.0, 60.0, 80
GRID = centred_grid(SIDE)


def surface():
    x, y = GRID.centres()
    return DSM((3 * np.exp(-(x**2 + y**2) / 120)).astype(np.float32), GRID)


def texture(x, y):
    return np.stack([0.5 + 0.2 * np.sin(x / 1.5 + k) + 0.2 * np.cos(y / (1.7 + 0.3 * k) + x / 5) for k in range(3)])


def camera(x, y):
    return pinhole_above(x, y, HEIGHT, focal=FOCAL, size=(ROWS, COLS))


def image_of(pinhole):
    depth = render_depth(surface(), pinhole, (ROWS, COLS))
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    ground = pinhole.unproject(col, row, depth)
    return np.rint(255 * np.nan_to_num(texture(ground[..., 0], ground[..., 1]))).astype(np.uint8)


def scene(with_dsm=True):
    views = {}
    for number, (x, y) in enumerate(((-6, 0), (0, 0), (6, 0), (0, 6))):
        pinhole = camera(x, y)
        views[f"v{number}"] = View(f"v{number}", ArraySource(Image(image_of(pinhole))), pinhole)
    flat = DSM(np.zeros((SIDE, SIDE), np.float32), GRID)
    return Scene("bump", grid=GRID, dsm=ArraySource(flat) if with_dsm else None, views=views)


CONFIG = DiffrenderConfig(
    steps=150, init_steps=0, lr=1e-3, batch=3, stride=2, neighbours=3, loss=LossConfig(colour=300, poisson=1.0)
)


def middle(values):
    return values[SIDE // 2 - 6 : SIDE // 2 + 6, SIDE // 2 - 6 : SIDE // 2 + 6]


def test_a_bump_is_found_from_a_flat_start():
    prediction = Diffrender(replace(CONFIG, views=("v1",), min_views=1)).refine(scene(), Context())
    found, expected = (middle(dsm.heights) for dsm in (prediction.dsm, surface()))
    before, after = np.abs(expected).mean(), np.nanmean(np.abs(found - expected))
    assert after < 0.6 * before
    assert prediction.depths["v1"].shape == (ROWS, COLS)
    assert np.isfinite(prediction.depths["v1"]).mean() > 0.97  # the rim is covered
    stage = prediction.notes["views"]["v1"]["stage_2"]
    assert stage["last"] < stage["first"] and stage["steps"] == 150


def test_the_same_seed_gives_the_same_numbers():
    short = replace(CONFIG, steps=5, views=("v0",))
    first, second = (Diffrender(short).refine(scene(), Context(seed=2)).depths["v0"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_learning_rates_fall_along_half_a_cosine(tmp_path):
    config = replace(CONFIG, steps=4, init_steps=2, schedule="cosine", views=("v1",), tensorboard=False, outputs=())
    Diffrender(config).refine(scene(), Context(scratch=tmp_path))
    rows = [line.split(",") for line in (tmp_path / "log" / "v1.csv").read_text().splitlines()]
    rates = [float(row[rows[0].index("lr")]) for row in rows[1:]]
    fractions = [1, 0.5, 1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]
    expected = [fraction * (config.init_lr if n < 2 else config.lr) for n, fraction in enumerate(fractions)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_stage_1_and_the_tonemapper_run():
    config = replace(CONFIG, steps=3, init_steps=3, tonemapper=True, views=("v1",))
    notes = Diffrender(config).refine(scene(), Context()).notes["views"]["v1"]
    assert notes["stage_1"]["steps"] == notes["stage_2"]["steps"] == 3


def test_a_stage_may_end_before_its_steps():
    config = replace(CONFIG, steps=400, lr=1e-12, patience=10, views=("v1",))
    assert Diffrender(config).refine(scene(), Context()).notes["views"]["v1"]["stage_2"]["steps"] < 100


def test_without_a_dsm_sparse_points_are_the_start():
    x, y = np.meshgrid(np.linspace(-25, 25, 12), np.linspace(-20, 20, 12))
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    bare = replace(scene(with_dsm=False), points=HeldPoints(PointCloud(points)), grid=None)
    views = scene_views(bare, None)
    assert np.abs(views[0].depth - HEIGHT).max() < 1e-3
    prediction = Diffrender(replace(CONFIG, steps=2)).refine(bare, Context())
    assert prediction.dsm is None and len(prediction.depths) == 4


def test_the_rim_is_half_a_pixel_beyond_the_image():
    places = _to_rim(torch.arange(10.0) * 3, 30)
    assert float(places[0]) == -0.5 and float(places[-1]) == 29.5 and (places.diff() > 0).all()


def test_what_cannot_run_is_said():
    lonely = replace(scene(), views=dict(list(scene().views.items())[:1]))
    with pytest.raises(UnsupportedError, match="1 views"):
        Diffrender(CONFIG).refine(lonely, Context())
    with pytest.raises(UnsupportedError, match="anything to start from"):
        Diffrender(CONFIG).refine(scene(with_dsm=False), Context())
    with pytest.raises(InputError, match="names abc"):
        Diffrender(replace(CONFIG, views=("abc",))).refine(scene(), Context())


# --- official files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    import cv2

    frames = []
    for number, (x, y) in enumerate(((-3, 0), (3, 0), (0, 3))):
        pinhole = camera(x, y)
        (tmp_path / "color").mkdir(exist_ok=True)
        (tmp_path / "depth_marigold").mkdir(exist_ok=True)
        image = image_of(pinhole).transpose(1, 2, 0)[..., ::-1]
        cv2.imwrite(str(tmp_path / "color" / f"f{number}.png"), np.ascontiguousarray(image))
        depth = render_depth(surface(), pinhole, (ROWS, COLS))
        cv2.imwrite(str(tmp_path / "depth_marigold" / f"f{number}.png"), np.rint(depth * 1000).astype(np.uint16))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = pinhole.R.T, pinhole.centre
        frames.append({"file_path": f"color/f{number}.png", "transform_matrix": pose.tolist()})
    facts = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": COLS / 2, "cy": ROWS / 2, "w": COLS, "h": ROWS, "camera_angle_x": 0.8}
    (tmp_path / "transforms.json").write_text(json.dumps({**facts, "frames": frames}))
    content = {
        "base_dir": str(tmp_path), "input_dir": ".", "view_name": "f1.png", "lr": 1e-3, "init_lr": 1e-3, "batch": 2,
        "max_iter": 7, "init_max_iter": 1, "cam_resolution": [ROWS, COLS], "cam_near_far": [10, 100],
        "cam_use_flip_mat": 1, "init_depth_mode": "absolute", "adaptive_mesh_simplification_ratio": 1.0, "mine": 3,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(content))
    return tmp_path


def test_an_official_configuration_runs_from_the_command_line(folder):
    refbench(folder, "run", "--method", "diffrender", "--config", "config.json", "--out", "out", "--no-report")
    result = json.loads((folder / "out" / "result.json").read_text())
    assert result["outputs"]["depth_f1"] == "depth_f1.tif"
    assert result["notes"]["views"]["f1"]["stage_2"]["steps"] == 4
    assert any("mine is unknown" in text for text in result["warnings"])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("batch", "four", "batch must be a whole number"),
        ("lr", None, "lr has no default"),
        ("cam_near_far", 3, "cam_near_far must be a list of numbers"),
        ("use_tonemapper", "yes", "use_tonemapper must be true or false"),
    ],
)
def test_mistakes_in_a_configuration_are_named(folder, key, value, words):
    content = json.loads((folder / "config.json").read_text())
    content[key] = value
    (folder / "config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(ConfigError, match=words):
        read_official(folder / "config.json")


def test_only_official_files_are_taken_for_them(tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    assert Files().read_config(tmp_path / "other.json") is None
    (tmp_path / "broken.json").write_text("{")
    assert Files().read_config(tmp_path / "broken.json") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("fl_x"), "lacks the key fl_x"),
        (lambda c: c["frames"][1].update(transform_matrix=[[1, 2]]), r"frames\[1\].transform_matrix"),
        (lambda c: c.update(frames=[]), "one view or more"),
        (lambda c: c.update(w="wide"), "w must be a number"),
    ],
)
def test_broken_folders_are_named(folder, change, words):
    path = folder / "transforms.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read_view_folder(folder)


def test_views_are_found_by_name():
    names = ["color/frame_1.png", "color/frame_10.png", "other/my_frame_1.png"]
    assert find_view(names, "frame_1") == 0
    assert find_view(names, "frame_10.png") == 1
    assert find_view(names, "FRAME_1.png", compat=True) == 0
    with pytest.raises(InputError, match="no single view"):
        find_view(names, "frame_2")
