"""What the official side of diffrender reads: initial depths, sparse points, normals, bad input."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from wall_folder import (  # noqa: E402
    COLS,
    FOCAL,
    ROWS,
    change_folder,
    configure,
    depth_at,
    image,
    started,
    steps,
    wall_depth,
    write_wall_folder,
)

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError, UnsupportedError  # noqa: E402
from refbench_diffrender.official.config import read_official  # noqa: E402
from refbench_diffrender.official.files import Files  # noqa: E402
from refbench_diffrender.official.source import read_source  # noqa: E402
from refbench_diffrender.official.view import config_of  # noqa: E402
from refbench_diffrender.official.view_folder import sampled_points  # noqa: E402
from refbench_diffrender.views.depth_png import (  # noqa: E402
    codes_of_normals,
    write_depth,
    write_pixels,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_wall_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
        assert np.abs(run.initial.absolute.numpy() - wall_depth()).mean() < within.get(mode, 1e-3), mode
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
    np.testing.assert_allclose(seen.rgb / 255, image(1)[row.round().astype(int), col.round().astype(int)], atol=3e-3)


def test_no_more_points_than_depths(folder):
    depth = np.zeros((4, 5))
    depth[1, 2] = 3.0
    folder_of = read_source(configure(folder), config_of(read_official(folder / "config.json")), None).folder
    seen = sampled_points(
        depth, folder_of.intrinsics, folder_of.image(0), np.random.default_rng(0), number=10, outliers=0, noise=0
    )
    np.testing.assert_allclose(seen.places, [[2 * 2.5 / 5 - 1, 2 * 1.5 / 4 - 1]])


# --- normals ----------------------------------------------------------------------------------------------------------


def write_normals(folder, run, certainty=65535):
    found = run.own_normals(run.view_points(2)).detach()[0].numpy()
    write_pixels(folder / "normals" / "f1.png", codes_of_normals(found))
    write_pixels(folder / "normals" / "f1_certainty.png", np.full((ROWS, COLS), certainty, np.uint16))


def test_normals_shape_the_surface(folder):
    write_normals(folder, started(folder))
    write_depth(folder / "depth_marigold" / "f1.png", 4 + 0.001 * wall_depth())  # nearly flat
    only = {
        "init_depth_dir": "depth_marigold", "input_normal_dir": "normals", "loss_normal_weight": 1.0, "lr": 1e-3,
        "loss_color_weight": 0.0, "loss_poisson_weight": 0.0, "loss_edge_map_weight": 0.0,
        "loss_uv_edginess_weight": 0.0,
    }  # fmt: skip
    run = started(folder, **only)

    def shape_error():
        depth = run.depth().numpy()[8:-8, 8:-8]
        wanted = wall_depth()[8:-8, 8:-8]
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
    with pytest.raises(InputError, match=r"for images of the suffix .JPG only"):
        started(folder, compat=True, input_normal_dir="normals")
    write_pixels(folder / "normals" / "f1_certainty.png", np.full((ROWS, COLS), 255, np.uint8))
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
    assert np.abs(run.initial.absolute.numpy() - wall_depth()).mean() < 0.05


def test_a_model_without_the_view(folder):
    sparse_model(folder, places(12), name="other.png")
    with pytest.raises(InputError, match=r"no image of the view color/f1.png"):
        started(folder, input_colmap_sparse="sparse")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(fl_x=2 * FOCAL), "fl_x 120 does not belong to w 64"),
        (lambda c: c.update(fl_x=-1), "fl_x must be positive"),
        (lambda c: c.update(h=2 * ROWS), "64 x 48 pixels, which is no size of the 64 x 96"),
        (lambda c: c["frames"].append({**c["frames"][0], "file_path": "color/gone.png"}), "gone.png is missing"),
        (lambda c: c["frames"][1].update(file_path="images/f1.png"), "does not contain 'color'"),
    ],
)
def test_images_that_do_not_fit_their_file(folder, change, words):
    change_folder(folder, change)
    with pytest.raises(InputError, match=words):
        started(folder)


def test_images_of_another_size_with_the_same_proportions(folder):
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
    write_pixels(folder / "depth" / "f1.png", values)
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
    notes = Files().read_config(folder / "config.json").notes
    assert [note for note in notes if "unknown" in note] == ["mine is unknown to the official program and is left out."]
