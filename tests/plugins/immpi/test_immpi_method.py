"""ImMPI as a method: nadir views, planes of any size, optimisation, fusion, the verbs. Networks are tiny."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from run_refbench import refbench

torch = pytest.importorskip("torch")

from makers import centred_grid, pinhole_above  # noqa: E402

from refbench import DSM, Context, Image, Scene, View  # noqa: E402
from refbench.contracts.errors import (  # noqa: E402
    CancelledError,
    InputError,
    SkippedError,
    UnsupportedError,
    WeightsError,
)
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench_immpi.baseline import warped_by_plane  # noqa: E402
from refbench_immpi.config import (  # noqa: E402
    ImMPIConfig,
    LossConfig,
    NetworkConfig,
    OptimiseConfig,
    PlanesConfig,
    TrainingConfig,
)
from refbench_immpi.method import ImMPI  # noqa: E402
from refbench_immpi.official.checkpoints import write_official  # noqa: E402
from refbench_immpi.planes.mpi import MultiplaneImage, Networks, crops, multiplane_image, padded, ramp  # noqa: E402
from refbench_immpi.training.loss_terms import plane_depths  # noqa: E402
from refbench_immpi.training.scene_fit import SceneFit, pairs_of  # noqa: E402
from refbench_immpi.views.nadir_view import inscribed, nadir  # noqa: E402
from refbench_immpi.views.pairs import neighbours, split, spread_references  # noqa: E402
from refbench_immpi.views.posed import posed_views  # noqa: E402

TINY = NetworkConfig("resnet18", (4, 4, 6, 8, 8), (8, 6, 6), (4, 4, 6, 6, 8), 2, "sane")
ROWS, COLS, HEIGHT, FOCAL = 48, 64, 100.0, 150.0


def texture(x, y):
    return np.stack([0.5 + 0.4 * np.sin(x / 3 + k) * np.cos(y / (4 + k)) for k in range(3)])


def camera(x, tilt=0.0):
    """A camera 100 m up that looks down, tilted about the y axis, at the scene's middle."""
    return pinhole_above(x, 0.0, HEIGHT, focal=FOCAL, size=(ROWS, COLS), tilt=tilt)


def image_of(pinhole):
    """The texture on flat ground, 8 bits."""
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    near = pinhole.unproject(col, row, np.ones_like(col))
    centre = pinhole.centre
    fraction = centre[2] / (centre[2] - near[..., 2])
    ground = centre + fraction[..., None] * (near - centre)
    return np.rint(255 * texture(ground[..., 0], ground[..., 1])).astype(np.uint8)


def flat_scene(tilts=(0.0, 0.0, 0.0), with_grid=True):
    views = {}
    for number, tilt in enumerate(tilts):
        pinhole = camera(-6.0 + 6.0 * number, tilt)
        views[f"v{number}"] = View(f"v{number}", ArraySource(Image(image_of(pinhole))), pinhole, depth_range=(95, 105))
    on = centred_grid(40)
    heights = DSM(np.zeros(on.shape, np.float32), on)
    return Scene("flat", grid=on if with_grid else None, dsm=ArraySource(heights) if with_grid else None, views=views)


def method(**changes):
    optimise = OptimiseConfig(steps=changes.pop("steps", 2), references=0, neighbours=2, half_pixel=True)
    config = ImMPIConfig(planes=PlanesConfig(4), optimise=optimise, **changes)
    found = ImMPI(replace(config, network=TINY))
    found.is_trained = True
    return found


def test_a_run_gives_depths_dsm_and_held_out_views(tmp_path):
    prediction = method(holdout=3).refine(flat_scene(), Context(scratch=tmp_path))
    assert set(prediction.depths) == {"v0", "v1", "v2"}
    assert prediction.depths["v0"].shape == (ROWS, COLS)
    assert set(prediction.views) == {"v2"}
    assert prediction.dsm.grid == flat_scene().grid
    known = np.isfinite(prediction.dsm.heights)
    assert known.mean() > 0.3 and np.abs(prediction.dsm.heights[known]).max() < 10
    assert (prediction.layers["view_count"][known] > 0).all()
    assert prediction.notes["views"]["v2"]["baseline"]["psnr_db"] > 15
    assert prediction.files["networks"].is_file()


def test_the_same_seed_gives_the_same_numbers():
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(method(steps=2).refine(flat_scene(), Context()).dsm.heights)
    np.testing.assert_array_equal(*runs)


def test_optimisation_lowers_the_loss():
    torch.manual_seed(0)
    from refbench_immpi.training.loss_terms import Comparer

    found = method()
    views = list(posed_views(flat_scene()))
    config = OptimiseConfig(steps=30, lr=3e-3, half_pixel=True, milestones=())
    _, pairs = pairs_of(views, config)
    comparer = Comparer.of(LossConfig(), PlanesConfig(4), half_pixel=True)
    fit = SceneFit(Networks(found.nets.encoder, found.nets.generator), pairs, comparer, config)
    losses = [fit.step().total for _ in range(30)]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_a_nadir_view_sees_horizontal_planes():
    scene = flat_scene((0.3, 0.0, -0.3))
    scene = replace(scene, views={n: replace(v, depth_range=None) for n, v in scene.views.items()})
    view = posed_views(scene)[0]
    level = nadir(view, scene, 0.05)
    assert level.far - level.near < 0.2 * (view.far - view.near)
    np.testing.assert_allclose(level.camera.centre, view.camera.centre, atol=1e-9)
    np.testing.assert_allclose(level.E[2, :3], [0, 0, -1], atol=1e-12)
    row, col = np.mgrid[2 : level.shape[0] - 2 : 5, 2 : level.shape[1] - 2 : 5].astype(float)
    ground = level.camera.unproject(col, row, np.full(col.shape, HEIGHT))
    expected = texture(ground[..., 0], ground[..., 1])
    found = level.image[:, row.astype(int), col.astype(int)]
    assert np.abs(found - expected).max() < 0.04


def test_a_nadir_view_without_a_dsm_takes_its_range_from_the_view(tmp_path):
    """Every point that the view sees within its own range is within that of the levelled view, and not by much."""
    scene = replace(flat_scene((0.3, 0.0, -0.3)), dsm=None)
    view = posed_views(scene)[0]
    level = nadir(view, scene, 0.05)
    rows, cols = view.shape
    row, col = (end.ravel().astype(float) for end in np.mgrid[0 : rows : rows - 1, 0 : cols : cols - 1])
    depths = [level.camera.project(view.camera.unproject(col, row, np.full(4, end)))[2] for end in (95.0, 105.0)]
    np.testing.assert_allclose((level.near, level.far), (np.min(depths[0]), np.max(depths[1])), rtol=1e-6)
    assert method().refine(scene, Context(scratch=tmp_path)).dsm is not None


def test_the_largest_rectangle_of_a_square_is_nearly_the_square():
    left, top, right, bottom = inscribed(np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]))
    assert (right - left) * (bottom - top) > 0.9


def test_planes_at_the_ground_show_the_other_image():
    """One opaque plane at the true depth: geometry end to end, without any network."""
    first, second = posed_views(flat_scene())[:2]
    warped, seen = warped_by_plane(first, second, HEIGHT)
    assert seen.mean() > 0.8
    inner = seen & np.roll(seen, 1, 1) & np.roll(seen, -1, 1)
    assert np.abs(warped - second.image)[:, inner].mean() < 0.02


@pytest.mark.parametrize("length", [100, 256, 300, 700])
def test_ramps_of_crops_cover_a_side(length):
    places = crops(length, 256, 64)
    total = torch.zeros(length)
    for number, (first, last) in enumerate(places):
        total[first:last] += ramp(places, number)
    assert (total > 0).all() and places[-1][1] == length
    assert total.max() <= 1.6


def test_crops_of_a_image_are_blended_without_a_seam():
    torch.manual_seed(0)
    found = method()
    networks = Networks(found.nets.eval().encoder, found.nets.generator, batch_norms=False)
    view = posed_views(flat_scene())[0]
    wide = replace(view, image=np.tile(view.image, (1, 6, 5)))
    depths = plane_depths(view, PlanesConfig(4))
    whole = multiplane_image(networks, wide, depths, tile=1024, overlap=64)
    cut = multiplane_image(networks, wide, depths, tile=256, overlap=64)
    assert cut.rgb.shape == whole.rgb.shape == (4, 3, *wide.shape)
    step = (cut.rgb[..., 1:] - cut.rgb[..., :-1]).abs().mean((0, 1, 2))
    assert step.max() < 4 * step.median()


def test_padding_reaches_what_the_network_halves():
    for rows, cols in ((48, 64), (128, 128), (130, 300), (20, 600)):
        found = padded(torch.rand(1, 3, rows, cols))
        assert found.shape[2] % 128 == found.shape[3] % 128 == 0
        assert found.shape[2] * found.shape[3] > 128 * 128


def test_which_views_are_taken():
    views = posed_views(flat_scene((0.0,) * 8))
    learnt, held = split(views, 4)
    assert [view.name for view in held] == ["v3", "v7"] and len(learnt) == 6
    assert split(views[:3], 4) == (list(views[:3]), [])
    assert [view.name for view in spread_references(views, 2)] == ["v0", "v4"]
    assert [view.name for view in neighbours(views[3], views, 2)] == ["v2", "v4"]


def test_a_prior_learns_and_resumes(tmp_path):
    pytest.importorskip("lightning_fabric")
    scenes = [flat_scene(), replace(flat_scene(), id="other")]
    training = TrainingConfig(lr=2e-3, milestones=(), validate_every=5, checkpoint_every=5)
    learner = method(training=training)
    learner.is_trained = False
    whole = learner.fit(scenes, Context(seed=1), steps=10, folder=tmp_path / "a")
    learner.fit(scenes, Context(seed=1), steps=5, folder=tmp_path / "b")
    parts = learner.fit(scenes, Context(seed=1), steps=10, folder=tmp_path / "b", resume=True)
    facts = whole.provenance
    assert facts["steps"] == 10 and facts["data"] == ["flat"] and facts["validated_on"] == ["other"]
    for name, value in whole.tensors.items():
        torch.testing.assert_close(value, parts.tensors[name], atol=1e-4, rtol=0)
    whole.save(tmp_path / "weights", half=True)
    assert ImMPI(None, tmp_path / "weights").nets.generator.config == TINY


def planes_of(seed=3, steps=6, checkpoints=None, stop_after=None, scene=None, **changes):
    """A run of a method whose weights are those of the seed, stopped after so many steps where that is said."""
    torch.manual_seed(seed)
    asked = itertools.count(1)
    context = Context(
        checkpoints=checkpoints, is_cancelled=lambda: stop_after is not None and next(asked) >= stop_after
    )
    return method(steps=steps, **changes).refine(scene or flat_scene(), context)


def test_a_stopped_optimisation_is_resumed_with_the_same_numbers(tmp_path):
    through = planes_of()
    with pytest.raises(CancelledError):
        planes_of(checkpoints=tmp_path, stop_after=4)
    rows = (tmp_path / "log" / "planes.csv").read_text().splitlines()
    assert rows[0].startswith("step,total,lr,") and [row.split(",")[0] for row in rows[1:]] == list("1234")
    resumed = planes_of(checkpoints=tmp_path)
    assert resumed.notes["checkpoint"] == "Resumed from step 4."
    np.testing.assert_array_equal(resumed.dsm.heights, through.dsm.heights)
    assert resumed.notes["loss_last"] == through.notes["loss_last"] and resumed.notes["steps"] == 6
    again = planes_of(checkpoints=tmp_path)  # nothing is left to do
    assert again.notes["checkpoint"] == "Resumed from step 6."
    np.testing.assert_array_equal(again.dsm.heights, through.dsm.heights)
    rows = (tmp_path / "log" / "planes.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == list("123456")


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"steps": 7}, {"loss": LossConfig(l2=1.0)}, {"scene": flat_scene((0.0, 0.1, 0.0))}]
)
def test_a_checkpoint_of_another_problem_is_left(tmp_path, change):
    planes_of(checkpoints=tmp_path, steps=2)
    other = planes_of(**{"checkpoints": tmp_path, "steps": 2, **change})
    assert other.notes["checkpoint"].endswith("starting from scratch.")
    np.testing.assert_array_equal(other.dsm.heights, planes_of(**{"steps": 2, **change}).dsm.heights)


def test_a_damaged_checkpoint_is_named(tmp_path):
    planes_of(checkpoints=tmp_path, steps=2)
    (tmp_path / "planes.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"planes\.pt is damaged"):
        planes_of(checkpoints=tmp_path, steps=2)


def test_a_method_refines_twice_alike():
    found = method(steps=2)
    first, second = (found.refine(flat_scene(), Context()).dsm.heights for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_cannot_run_is_said():
    with pytest.raises(SkippedError, match="no weights"):
        ImMPI(ImMPIConfig(network=TINY)).refine(flat_scene(), Context())
    lonely = replace(flat_scene(), views=dict(list(flat_scene().views.items())[:1]))
    with pytest.raises(UnsupportedError, match="1 views"):
        method().refine(lonely, Context())
    blind = flat_scene(with_grid=False)
    blind = replace(blind, views={n: replace(v, depth_range=None) for n, v in blind.views.items()})
    with pytest.raises(UnsupportedError, match="cannot determine a depth range"):
        method().refine(blind, Context())
    with pytest.raises(InputError, match="goes through the camera centre"):
        views = list(posed_views(flat_scene()))
        pose = views[1].E.copy()
        pose[:3, 3] = 0
        through = replace(views[1], E=pose)
        from refbench_immpi.planes.homography import check_planes
        from refbench_immpi.views.posed import relative_pose

        check_planes(torch.tensor([HEIGHT]), relative_pose(views[0], through), "v1")


def test_weights_of_other_widths_are_refused(tmp_path):
    found = method()
    write_official(tmp_path / "w.ckpt", found.nets.encoder, found.nets.generator, 3, {})
    assert ImMPI(None, tmp_path / "w.ckpt").facts["epoch"] == 3
    with pytest.raises(WeightsError, match="asks for"):
        ImMPI(ImMPIConfig(network=NetworkConfig()), tmp_path / "w.ckpt")


def test_an_image_of_planes_knows_its_spacing():
    view = posed_views(flat_scene())[0]
    image = MultiplaneImage(view, torch.zeros(3, 3, 4, 4), torch.zeros(3, 1, 4, 4), torch.tensor([1.0, 2.0, 4.0]))
    assert image.spacing == 1.0


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levir(tmp_path_factory):
    from refbench_immpi.official.folder_export import export_scene

    folder = tmp_path_factory.mktemp("levir")
    export_scene(flat_scene(with_grid=False), folder)
    torch.manual_seed(0)
    found = method()
    write_official(folder / "w.ckpt", found.nets.encoder, found.nets.generator, 0, {})
    return folder


def test_render_writes_views_planes_and_a_video(levir, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    track = levir / "scene_000" / "Cams"
    refbench(
        tmp_path,
        *("render", "--scene", levir, "--weights", levir / "w.ckpt", "--track", track, "--planes", 3),
        *("--size", "33x45", "--layers", "--out", "out"),
    )
    out = tmp_path / "out"
    assert len(list((out / "Images_SYN").glob("*.png"))) == 3
    assert (
        len(list((out / "layers").glob("rgb_*.png"))) == len((out / "layers" / "depths.txt").read_text().split()) == 3
    )
    assert (out / "track.mp4").stat().st_size > 500
    said = refbench(tmp_path, "render", "--scene", levir, "--weights", levir / "w.ckpt", "--out", "out", code=2)
    assert "not empty" in said and "Traceback" not in said


def test_an_official_configuration_runs(levir, tmp_path):
    (tmp_path / "mine.txt").write_text(
        f"dataset = levir_nvs\ndataset_dirpath = {levir}\nscene_id = scene_000\nepoch = 1\ndepth_sample_num = 4\n"
        f"ckpt_filepath = {levir / 'w.ckpt'}\nlr_ds_epoch_idx = 5:2\nloss_lpips_weight = 0\n"
    )
    options = ("--set", "optimise.views=['000', '001']", "--set", "optimise.steps=2")
    refbench(tmp_path, "run", "--method", "immpi", "--config", "mine.txt", *options, "--out", "out", "--no-report")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["notes"]["held_out"] == ["002"] and result["notes"]["steps"] == 2
    assert result["metrics"]["views"]["002"]["psnr_db"] > 5
    bad = refbench(
        tmp_path,
        "run",
        "--method",
        "immpi",
        "--config",
        "mine.txt",
        "--set",
        "optimise.views=[abc]",
        "--out",
        "b",
        code=2,
    )
    assert "names abc" in bad and "Traceback" not in bad
