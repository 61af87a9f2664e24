import dataclasses
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml
from affine import Affine

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from refbench import DSM, Grid, Image, InputError, PointCloud, Scene  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError, WeightsError  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.formats.cloud import HeldPoints  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.training.schedules import CosineShare  # noqa: E402
from refbench.training.task import TrainState  # noqa: E402
from refbench_implicity.config import (  # noqa: E402
    DatasetConfig,
    DecoderConfig,
    ImageEncoderConfig,
    ImpliCityConfig,
    ModelConfig,
    PointEncoderConfig,
    SchedulerConfig,
    UNetConfig,
)
from refbench_implicity.network.network import build_model  # noqa: E402
from refbench_implicity.official.builder import BuildConfig, build_dataset  # noqa: E402
from refbench_implicity.official.checkpoints import read_training_checkpoint, write_training_checkpoint  # noqa: E402
from refbench_implicity.official.chunk_files import PlanarIndex, read_chunks, read_member  # noqa: E402
from refbench_implicity.official.closest_point import ClosestPoint  # noqa: E402
from refbench_implicity.official.files import Files  # noqa: E402
from refbench_implicity.official.mesh import Mesh, read_obj, voxel_centroids  # noqa: E402
from refbench_implicity.patch_frame import FLIPS, Augmentation, PatchFrame, z_origin  # noqa: E402
from refbench_implicity.patches import encode_patches  # noqa: E402
from refbench_implicity.training.city_items import CityItems, CityRules, PackedScene, pack_scene, packed_scene  # noqa: E402
from refbench_implicity.training.dataset import RandomCropItems, official_items, window_anchors  # noqa: E402
from refbench_implicity.training.scenes import small_model  # noqa: E402
from refbench_implicity.training.schedule import build_optimizer, build_scheduler  # noqa: E402

WEST, NORTH, GSD, SIDE = 700_000.0, 5_000_096.0, 0.5, 192
TINY = ModelConfig(
    PointEncoderConfig(hidden_dim=4, feature_dim=4, n_blocks=2, plane_resolution=16, unet=UNetConfig(2, start_filts=4)),
    None,
    DecoderConfig(feature_dim=4, hidden_size=4, n_blocks=2),
)


def block(seed=0):
    """A packed scene: sloping ground with one block of 10 m, noisy points, two scaled images."""
    rng = np.random.default_rng(seed)
    heights = np.full((SIDE, SIDE), 400, np.float32) + np.linspace(0, 2, SIDE, dtype=np.float32)
    heights[60:120, 50:130] += 10
    row, col = rng.integers(SIDE, size=(2, 20_000))
    x, y = WEST + (col + rng.random(20_000)) * GSD, NORTH - (row + rng.random(20_000)) * GSD
    points = np.stack([x, y, heights[row, col] + rng.normal(0, 0.5, 20_000)], axis=1)
    orthos = np.stack([heights - 405, rng.normal(size=heights.shape)]).astype(np.float32)
    return PackedScene(f"block-{seed}", points, orthos, heights, (WEST, NORTH), GSD, heights + np.float32(1))


# --- geometry -------------------------------------------------------------------------------------------------------


def brute_closest(points, triangles):
    """Closest points by a fine barycentric lattice: an upper bound of the distance, nearly tight."""
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60)))
    u, v = u[u + v <= 1], v[u + v <= 1]
    a, b, c = np.moveaxis(triangles, 1, 0)
    lattice = a[:, None] + u[:, None] * (b - a)[:, None] + v[:, None] * (c - a)[:, None]
    return np.sqrt(((points[:, None] - lattice.reshape(-1, 3)) ** 2).sum(axis=2).min(axis=1))


@pytest.mark.parametrize("count", [1, 3, 4, 5, 37, 200])
def test_closest_points_are_those_of_a_brute_search(count):
    rng = np.random.default_rng(count)
    corner = np.array([4e5, 5e6, 400])
    triangles = rng.uniform(0, 20, (count, 1, 3)) + rng.normal(0, 1.5, (count, 3, 3)) + corner
    points = rng.uniform(-5, 25, (60, 3)) + corner
    found = ClosestPoint(triangles)(points)
    distance = np.linalg.norm(points - found, axis=1)
    brute = brute_closest(points, triangles)
    assert (distance <= brute + 1e-9).all() and (brute - distance < 0.2).all()
    # What was found lies on the mesh: its own closest point is itself.
    np.testing.assert_allclose(ClosestPoint(triangles)(found), found, rtol=0, atol=1e-8)


def test_closest_points_of_degenerate_triangles_are_finite():
    triangles = np.array([[[0, 0, 0], [2, 0, 0], [1, 0, 0]], [[5, 5, 5]] * 3], np.float64)
    found = ClosestPoint(triangles)(np.array([[1.0, 3, 0], [6, 5, 5], [-1, 0, 0]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [5, 5, 5], [0, 0, 0]], atol=1e-12)


def test_a_mesh_without_triangles_has_no_closest_point():
    with pytest.raises(InputError, match="no closest point"):
        ClosestPoint(np.empty((0, 3, 3)))


def area(mesh):
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_clipping_cuts_triangles_at_the_rectangle():
    plane = Mesh(np.array([[[0, 0, 0], [10, 0, 10], [10, 10, 10]], [[0, 0, 0], [10, 10, 10], [0, 10, 0]]], np.float64))
    part = plane.clipped((2, 3), (5, 7))
    assert area(part) == pytest.approx(3 * 4 * np.sqrt(2))
    assert part.triangles[..., :2].min(axis=(0, 1)).tolist() == [2, 3]
    assert part.triangles[..., :2].max(axis=(0, 1)).tolist() == [5, 7]
    np.testing.assert_allclose(part.triangles[..., 2], part.triangles[..., 0])
    assert part.z_range == (2, 5)
    assert len(plane.clipped((20, 20), (30, 30))) == 0
    points = part.sampled(2000, np.random.default_rng(0))
    assert ((points[:, :2] >= (2, 3)) & (points[:, :2] <= (5, 7))).all()
    np.testing.assert_allclose(points.mean(axis=0)[:2], (3.5, 5), atol=0.1)


def test_obj_files(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("# x\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 2.5\nvn 0 0 1\nf 1/1/1 2//1 3 -1\n")
    assert read_obj(path).triangles.tolist() == [
        [[0, 0, 0], [1, 0, 0], [1, 1, 0]],
        [[0, 0, 0], [1, 1, 0], [0, 1, 2.5]],
    ]
    path.write_text("v 0 0 zero\n")
    with pytest.raises(InputError, match="line 1"):
        read_obj(path)
    path.write_text("v 0 0 0\nf 1 2 3\n")
    with pytest.raises(InputError, match="does not hold"):
        read_obj(path)
    with pytest.raises(MissingFileError):
        read_obj(tmp_path / "none.obj")


def test_voxel_centroids_are_means():
    points = np.array([[0, 0, 0], [0.2, 0.2, 0.2], [5, 5, 5]], np.float64)
    assert voxel_centroids(points, 1.0).tolist() == [[0.1, 0.1, 0.1], [5, 5, 5]]
    assert len(voxel_centroids(np.empty((0, 3)), 1.0)) == 0


@pytest.mark.parametrize("seed", range(8))
def test_the_index_finds_what_a_mask_finds(seed):
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(0, 30, (500, 3)), 1)  # many points on the edges
    index = PlanarIndex(points, float(rng.uniform(0.5, 20)))
    for _ in range(20):
        low = np.round(rng.uniform(-10, 30, 2), 1)
        high = low + np.round(rng.uniform(0, 25, 2), 1)
        inside = ((points[:, :2] > low) & (points[:, :2] < high)).all(axis=1)
        assert index.inside(low, high).tolist() == np.flatnonzero(inside).tolist()
    assert len(PlanarIndex(np.empty((0, 3)), 1.0).inside(np.zeros(2), np.ones(2))) == 0


# --- files ----------------------------------------------------------------------------------------------------------


def test_stored_arrays_are_mapped_and_compressed_ones_read(tmp_path):
    values = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.savez(tmp_path / "plain.npz", other=np.ones(3), pts=values)
    np.savez_compressed(tmp_path / "packed.npz", pts=values)
    np.savez(tmp_path / "column.npz", pts=np.asfortranarray(values))
    plain = read_member(tmp_path / "plain.npz", "pts")
    assert isinstance(plain, np.memmap)
    for name in ("plain", "packed", "column"):
        np.testing.assert_array_equal(read_member(tmp_path / f"{name}.npz", "pts"), values)


def test_damaged_chunk_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError):
        read_member(tmp_path / "none.npz", "pts")
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        read_member(tmp_path / "bad.npz", "pts")
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    with pytest.raises(InputError, match="no array 'pts'"):
        read_member(tmp_path / "a.npz", "pts")
    np.savez(tmp_path / "o.npz", pts=np.array([{}], object))
    with pytest.raises(InputError):
        read_member(tmp_path / "o.npz", "pts")
    with zipfile.ZipFile(tmp_path / "o.npz") as archive:
        assert archive.namelist() == ["pts.npy"]


def test_chunk_numbers_must_be_there(tmp_path):
    with pytest.raises(MissingFileError, match=r"chunk_info\.yaml"):
        read_chunks(tmp_path, [0])
    (tmp_path / "chunk_info.yaml").write_text("0: {name: a, min_bound: [0, 0, 0], max_bound: [1, 1, 1]}\n")
    assert read_chunks(tmp_path, [0])[0].high.tolist() == [1, 1]
    with pytest.raises(InputError, match="no chunk 3; it has 0"):
        read_chunks(tmp_path, [0, 3])


# --- items ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("turns", range(4))
def test_points_and_images_turn_together(flip, turns):
    pixels = np.zeros((1, 8, 8), np.float32)
    pixels[0, 1, 6] = 1  # north-east: x = 6.5 / 8, y = 6.5 / 8
    augmentation = Augmentation(turns, flip)
    frame = PatchFrame(np.array([100.0, 200.0]), np.array([8.0, 8.0]), 5.0, 2.0, augmentation)
    world = np.array([[106.5, 206.5, 9.0]])
    x, y, z = frame.normalise(world)[0]
    row, col = (int(v) for v in np.argwhere(augmentation.image(pixels)[0])[0])
    assert (x, y, z) == pytest.approx(((col + 0.5) / 8, 1 - (row + 0.5) / 8, 2.0))
    back = frame.to_world @ np.array([x, y, z, 1.0])
    assert back[:3] == pytest.approx(world[0], abs=1e-5)


def test_the_origin_of_heights():
    heights = np.array([4.0, 1, 3, 2])
    assert z_origin(heights, "median") == 2  # the lower of the two in the middle
    assert z_origin(heights, "mean") == 2.5
    assert z_origin(heights, "20quantile") == pytest.approx(1.6)
    assert np.isnan(z_origin(np.empty(0), "median"))
    with pytest.raises(InputError, match="z_shift"):
        z_origin(heights, "mode")


def test_windows_end_at_the_edge():
    low, high, size = np.zeros(2), np.array([10.0, 4.0]), np.full(2, 4.0)
    anchors = window_anchors(low, high, size, np.full(2, 4.0))
    assert anchors.tolist() == [[0, 0], [4, 0], [6, 0]]
    with pytest.raises(InputError, match="smaller than the patch"):
        window_anchors(low, np.array([3.0, 9.0]), size, size)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A data set built from meshes: flat ground at 400 m with a flat-roofed block of 10 m, two chunks of 24 m."""
    import rasterio

    root = tmp_path_factory.mktemp("build")
    ground = "v 0 0 400\nv 60 0 400\nv 60 36 400\nv 0 36 400\nf 1 2 3 4\n"
    roof = "v 20 10 410\nv 30 10 410\nv 30 20 410\nv 20 20 410\nf 1 2 3 4\n"
    wall = "v 20 10 400\nv 30 10 400\nv 30 10 410\nv 20 10 410\nf 1 2 3 4\n"
    meshes = {"terrain": ground, "roof": roof, "facade": wall, "buildings": roof}
    for kind, text in meshes.items():
        (root / f"{kind}.obj").write_text(text)
    heights = np.full((72, 120), 400, np.float32)
    heights[32:52, 40:60] = 410
    masks = {"gt": np.ones_like(heights), "building": heights > 405, "forest": 0 * heights, "water": 0 * heights}
    transform = Affine(0.5, 0, 0, 0, -0.5, 36)
    shape = {"driver": "GTiff", "height": 72, "width": 120, "count": 1, "transform": transform, "crs": "EPSG:32632"}
    for name, values in {"dsm": heights, **{f"m_{k}": m.astype(np.uint8) for k, m in masks.items()}}.items():
        with rasterio.open(root / f"{name}.tif", "w", dtype=values.dtype, **shape) as file:
            file.write(values, 1)
    (root / "pc").mkdir()
    np.save(root / "pc" / "a.npy", np.random.default_rng(0).uniform((0, 0, 400), (60, 36, 411), (9000, 3)))
    config = {
        "chunk": {
            **{"chunk_x": [6, 30, 54], "chunk_y": [6, 30], "chunk_safe_padding": 4, "sliding_window": [8, 8]},
            **{"sliding_step": 8, "padding_z": [5, 5], "min_z": 20},
        },
        "query_points": {
            **{"uniform_num": 80, "surface_count_max": 900, "roof_radius": 0.5, "facade_radius": 0.5},
            **{"terrain_radius": -1, "surface_offset_std": 0.3},
        },
        **{"gt_mesh_folder": ".", "gt_mesh_files": {kind: f"{kind}.obj" for kind in meshes}, "gt_dsm": "dsm.tif"},
        **{"mask_files": {kind: f"m_{kind}.tif" for kind in masks}, "input_pointcloud_folder": "pc"},
        **{"dilate_building": 2, "out_of_mask_value": 0},
    }
    build_dataset(BuildConfig.from_official(config, root), root / "set", np.random.default_rng(0))
    return root, config


def test_a_built_data_set_is_labelled_and_read(built):
    root, config = built
    info = yaml.safe_load((root / "set" / "chunk_info.yaml").read_text())
    assert [entry["name"] for entry in info.values()] == ["chunk_000", "chunk_001"]
    assert info[0]["min_bound"] == [6, 6, 400] and info[0]["max_bound"] == [30, 30, 420]
    assert not (root / "set" / "chunk_000" / "query--terrain.npz").exists()  # its radius switches it off
    with np.load(root / "set" / "chunk_000" / "query--uniform.npz") as file:
        points, labels, building = file["pts"], file["occ"], file["mask_building"]
    assert len(points) == 9 * 80
    x, y, z = points.T
    in_block = (x >= 20) & (x < 30) & (y >= 10) & (y < 20)
    np.testing.assert_array_equal(labels, np.where(z < 400, 2, np.where((z <= 410) & in_block, 1, 0)))
    assert building.dtype == bool and building.sum() > in_block.sum()  # grown
    with pytest.raises(InputError, match="already holds"):
        build_dataset(BuildConfig.from_official(config, root), root / "set", np.random.default_rng(0))


def test_the_verb_builds_what_the_builder_builds(built, tmp_path):
    from click.testing import CliRunner

    from refbench_implicity.chunks_verb import command

    root, config = built
    (root / "build.yaml").write_text(yaml.safe_dump(config))
    for name in ("one", "two"):
        done = CliRunner().invoke(command, [str(root / "build.yaml"), "--out", str(tmp_path / name), "--seed", "3"])
        assert done.exit_code == 0, done.output
    for kind in ("uniform", "roof", "facade"):
        read = []
        for folder in (root / "set", tmp_path / "one", tmp_path / "two"):
            with np.load(folder / "chunk_000" / f"query--{kind}.npz") as file:
                read.append(file["pts"])
        np.testing.assert_array_equal(read[1], read[2])  # a pure function of the seed
        assert read[0].shape != read[1].shape or (read[0] != read[1]).any()


def test_the_builders_configuration_is_checked(built):
    root, config = built
    with pytest.raises(ConfigError, match="chunk_x"):
        broken = {**config, "chunk": {k: v for k, v in config["chunk"].items() if k != "chunk_x"}}
        BuildConfig.from_official(broken, root)
    with pytest.raises(ConfigError, match="type"):
        BuildConfig.from_official({**config, "dilate_building": "much"}, root)


def crop_items(root, seed=0, **dataset):
    rules = {"path": str(root / "set"), "train_chunks": (0, 1), "use_surface": ("roof", "facade"), **dataset}
    config = ImpliCityConfig(patch_size=16.0, dataset=DatasetConfig(**rules))
    return RandomCropItems(official_items(config, "train"), seed)


def test_a_draw_is_a_function_of_seed_and_number(built):
    root, _ = built
    first, second, other = crop_items(root), crop_items(root), crop_items(root, seed=1)
    second[3]
    for number in (0, 7, len(first) + 2):
        ours, theirs = first[number], second[number]
        np.testing.assert_array_equal(ours.query, theirs.query)
        np.testing.assert_array_equal(ours.inputs, theirs.inputs)
    assert not np.array_equal(first[0].low, other[0].low)
    lows = np.array([first[number].low for number in range(40)])
    assert (lows[:, 0] < 14.001).any() and (lows[:, 0] >= 30).any()  # both chunks
    assert set(np.unique(first[0].labels)) <= {0, 1} and len(first[0].query) == len(first[0].masks["water"])


def test_subsamples_have_the_asked_size(built):
    root, _ = built
    item = crop_items(root, n_input_points=50, n_query_points=40)[0]
    assert len(item.inputs) == 50 and len(item.query) <= 40


def test_without_a_data_set_the_key_is_named():
    with pytest.raises(ConfigError, match=r"dataset\.path"):
        official_items(ImpliCityConfig(), "train")


# --- network, checkpoints -------------------------------------------------------------------------------------------


def test_patches_of_unequal_size_are_encoded_as_if_alone():
    torch.manual_seed(0)
    model = build_model(TINY).eval()
    parts = [torch.rand(count, 3) * 0.98 + 0.01 for count in (40, 7, 300)]
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor([len(part) for part in parts]))
    planes = encode_patches(model, torch.cat(parts), owner, 3, None)
    for index, part in enumerate(parts):
        torch.testing.assert_close(planes.xy[index], model.encode(part[None]).xy[0], rtol=1e-5, atol=1e-6)


def stepped(model, scheduler_config, steps):
    optimizer = build_optimizer(model, 1e-3)
    scheduler = build_scheduler(optimizer, scheduler_config)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.full((1, 5, 3), 0.5), torch.full((1, 4, 3), 0.5)).sum().backward()
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


def rates(optimizer, scheduler, count):
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_resumed_schedule_is_that_of_the_file_unless_it_is_to_start_anew(tmp_path):
    saved, configured = SchedulerConfig(step_size_up=4, step_size_down=6), SchedulerConfig(max_lr=5e-3, step_size_up=50)
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, saved, 3)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(3, 9.0, 0.25), model, optimizer, scheduler)
    expected = rates(optimizer, scheduler, 8)
    for resume_scheduler, wanted in ((True, expected), (False, None)):
        other = build_model(TINY)
        optimizer, scheduler = stepped(other, configured, 0)
        state = read_training_checkpoint(
            tmp_path / "m.pt", other, optimizer, scheduler, resume_scheduler=resume_scheduler
        )
        assert (state.step, state.seconds, state.best) == (3, 9.0, 0.25)
        for key, value in model.state_dict().items():
            assert value.shape == other.state_dict()[key].shape
        found = rates(optimizer, scheduler, 8)
        assert found == pytest.approx(wanted or rates(*stepped(build_model(TINY), configured, 0), 8))


def test_a_checkpoint_is_in_the_official_format(tmp_path):
    images = ImageEncoderConfig(in_channel=1, feature_dim=4, num_hourglass=1, num_stack=1)
    model = build_model(dataclasses.replace(TINY, image_encoder=images))
    optimizer = build_optimizer(model, 1e-3)
    scheduler = build_scheduler(optimizer, SchedulerConfig())
    write_training_checkpoint(tmp_path / "m.pt", TrainState(), model, optimizer, scheduler)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(content) == ["n_iter", "loss_val_best", "training_time", "model", "optimizer", "scheduler"]
    assert content["loss_val_best"] == -np.inf  # nothing was validated
    aliases = [key for key in content["model"] if ".downsample.0." in key]
    assert aliases and all(key.replace("downsample.0", "bn4") in content["model"] for key in aliases)
    parameters = content["optimizer"]["param_groups"][0]["params"]
    assert parameters == list(range(len(dict(model.named_parameters()))))  # aliases count once
    state = read_training_checkpoint(tmp_path / "m.pt", model, optimizer, scheduler)
    assert state.best is None and list(tmp_path.iterdir()) == [tmp_path / "m.pt"]


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, SchedulerConfig(), 1)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(1), model, optimizer, scheduler)
    steps = SchedulerConfig(type="MultiStepLR", milestones=(3,))
    with pytest.raises(WeightsError, match="resume_scheduler"):
        read_training_checkpoint(tmp_path / "m.pt", model, optimizer, build_scheduler(optimizer, steps))
    wider = build_model(dataclasses.replace(TINY, decoder=DecoderConfig(feature_dim=4, hidden_size=5, n_blocks=2)))
    with pytest.raises(WeightsError, match="another architecture"):
        read_training_checkpoint(tmp_path / "m.pt", wider, build_optimizer(wider, 1e-3), None)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no training checkpoint"):
        read_training_checkpoint(tmp_path / "other.pt", model, optimizer, scheduler)


def test_multi_step_schedules_resume(tmp_path):
    config = SchedulerConfig(type="MultiStepLR", gamma=0.1, milestones=(2, 5))
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, config, 3)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(3), model, optimizer, scheduler)
    other, fresh = stepped(model, config, 0)
    read_training_checkpoint(tmp_path / "m.pt", model, other, fresh)
    assert rates(other, fresh, 4) == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])


# --- training from scenes -------------------------------------------------------------------------------------------


def test_a_packed_scene_comes_back(tmp_path):
    scene = block()
    scene.write(tmp_path / "block-0.npz")
    again = PackedScene.read(tmp_path / "block-0.npz")
    for part in dataclasses.fields(PackedScene):
        np.testing.assert_array_equal(getattr(again, part.name), getattr(scene, part.name))
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(InputError, match="no packed scene"):
        PackedScene.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("number", range(6))
def test_labels_follow_the_vertical_test(number):
    scene = block()
    item = CityItems([scene], CityRules(patch_size=32.0, queries=3000), seed=2)[number]
    n = 64
    # Undo what the reading of columns does: pixel j's centre is asked for at j / (n - 1).
    xy = (item.query[:, :2].astype(np.float64) * (n - 1) + 0.5) / n
    world = item.transform @ np.stack([*xy.T, item.query[:, 2], np.ones(len(xy))])
    col, row = np.floor((world[0] - WEST) / GSD + 1e-4), np.floor((NORTH - world[1]) / GSD + 1e-4)
    truth = scene.dsm[row.astype(int), col.astype(int)]
    far = np.abs(world[2] - truth) > 1e-3
    centred = np.arange(len(xy)) % 2 == 0  # the others may lie on a pixel's edge
    clear = far & centred
    assert clear.sum() > 1400
    np.testing.assert_array_equal(item.labels[clear] == 1, world[2][clear] <= truth[clear])
    assert 0.2 < item.labels.mean() < 0.8
    assert item.image.shape == (2, n, n)


def test_city_items_are_a_function_of_seed_and_number():
    items = [CityItems([block(), block(1)], CityRules(patch_size=32.0, queries=100), seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(items[0][5].query, items[1][5].query)
    assert not np.array_equal(items[0][5].query, items[2][5].query)


def test_city_items_avoid_what_is_unknown():
    scene = block()
    heights = scene.dsm.copy()
    heights[:, :100] = np.nan
    item = CityItems([dataclasses.replace(scene, dsm=heights)], CityRules(patch_size=90.0, queries=500))[0]
    assert np.isfinite(item.query).all()
    empty = dataclasses.replace(scene, dsm=np.full_like(heights, np.nan))
    with pytest.raises(InputError, match="in a row"):
        CityItems([empty], CityRules(patch_size=32.0))[0]
    with pytest.raises(InputError, match="smaller than a patch"):
        CityItems([scene], CityRules(patch_size=200.0))
    with pytest.raises(InputError, match="orthos"):
        CityItems([dataclasses.replace(scene, orthos=scene.orthos[:1])], CityRules(patch_size=32.0))


def real_scene(**changes):
    packed = block()
    grid = Grid(SIDE, SIDE, Affine(GSD, 0, WEST, 0, -GSD, NORTH))
    counts = np.stack([(packed.orthos[0] * 40 + 900), (packed.orthos[0] * 20 + 300)]).astype(np.uint16)
    images = {"a": Image(counts, grid), "b": Image(counts[:1], grid)}
    parts = {
        "id": "real",
        "grid": grid,
        "points": HeldPoints(PointCloud(packed.points)),
        "orthos": {name: ArraySource(image) for name, image in images.items()},
        "reference": Reference(dsm=ArraySource(DSM(packed.dsm, grid))),
    }
    return Scene(**{**parts, **changes}), counts


def test_packing_scales_images_as_inference_does(tmp_path):
    scene, counts = real_scene()
    packed = PackedScene.read(pack_scene(scene, tmp_path / "real.npz"))
    band = counts.astype(np.float64).mean(axis=0)
    low, middle, high = np.percentile(band, (25, 50, 75))
    np.testing.assert_allclose(packed.orthos[0], (band - middle) / (high - low), rtol=1e-5, atol=1e-5)
    assert packed.gsd == GSD and packed.corner == (WEST, NORTH) and packed.initial is None


def test_scenes_that_cannot_train_are_refused():
    with pytest.raises(InputError, match="reference DSM"):
        packed_scene(real_scene(reference=None)[0])
    other = Grid(SIDE, SIDE, Affine(GSD, 0, WEST + 3, 0, -GSD, NORTH))
    shifted = {"a": ArraySource(Image(np.zeros((1, SIDE, SIDE), np.uint16), other))}
    with pytest.raises(InputError, match="Ortho a"):
        packed_scene(real_scene(orthos=shifted)[0])


def test_the_rate_rises_and_falls():
    share = CosineShare(200)
    values = [share(step) for step in range(201)]
    assert values[0] == pytest.approx(0.1) and max(values) == pytest.approx(1) and values[-1] == pytest.approx(0.01)
    assert np.argmax(values) in (9, 10)


@pytest.mark.parametrize("variant", ["0", "mono", "stereo"])
def test_built_in_networks_stay_small(variant):
    parameters = sum(p.numel() for p in build_model(small_model(variant)).parameters())
    assert 2 * parameters < 8e6  # bytes in half precision


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('rasterio', 'affine', 'pydantic', 'open3d', 'click', 'laspy', 'cv2'):
            raise ModuleNotFoundError(name, name=name.split('.')[0])
sys.meta_path.insert(0, Blocker())
from refbench_implicity.training.scenes import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_packed_training_needs_few_packages_and_resumes(tmp_path):
    (tmp_path / "packed").mkdir()
    for seed in range(2):
        block(seed).write(tmp_path / "packed" / f"block-{seed}.npz")

    def run(*arguments):
        options = ("--variant", "0", "--batch-size", "2", "--queries", "500", "--patch-size", "32")
        command = [sys.executable, "-c", BLOCKED, "packed", "--out", "out", "--validation-scenes", "1", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "--finish" in run("--steps", "2", "--validate-every", "2")
    run("--steps", "3", "--validate-every", "2", "--resume")
    lines = (tmp_path / "out" / "validation.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "3"]
    assert {"iou", "mae", "input_mae"} <= set(lines[0].split(","))
    facts = json.loads((tmp_path / "out" / "training.json").read_text())
    assert facts["steps"] == 3 and facts["validation_scenes"] == ["block-1"]
    from refbench_implicity.method import ImpliCity
    from refbench_implicity.training.scenes import main

    main([str(tmp_path / "out"), "--out", str(tmp_path / "weights"), "--finish"])
    method = ImpliCity(weights=tmp_path / "weights")
    assert method.model == small_model("0") and method.normalisation.image_rule == "robust"
    assert method.constants == {"patch_size": 32.0, "pixel_size": GSD, "threshold": 0.5}


# --- export ---------------------------------------------------------------------------------------------------------


def test_export_writes_counts_and_a_whole_configuration(tmp_path):
    from refbench_implicity.official.export import export_scene

    grid = Grid(SIDE, SIDE, Affine(GSD, 0, WEST, 0, -GSD, NORTH))
    bands = np.stack([np.linspace(0, 1, SIDE, dtype=np.float32)] * SIDE)
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[:5] = False
    images = {name: ArraySource(Image(bands[None], grid, valid=valid)) for name in "ab"}
    export_scene(real_scene(orthos=images)[0], tmp_path / "set")
    config = yaml.safe_load((tmp_path / "set" / "config.yaml").read_text())
    assert config["dataset"]["patch_size"] == [64.0, 64.0] and config["model"]["encoder2_kwargs"]["in_channel"] == 2
    translated = Files().read_config(tmp_path / "set" / "config.yaml")
    assert translated.values["dataset"]["path"] == str(tmp_path / "set")
    import rasterio

    with rasterio.open(tmp_path / "set" / "raster" / "ortho_0.tif") as file:
        values = file.read(1)
        assert file.count == 1 and values.dtype == np.uint16
    assert values.max() == 10_000 and len(np.unique(values)) > 100  # the official loader cuts to whole numbers
    assert set(np.unique(values[:5])) == {5000}


def test_export_fits_the_patch_to_a_small_scene(tmp_path):
    from refbench_implicity.official.export import export_scene

    grid = Grid(50, 40, Affine(GSD, 0, WEST, 0, -GSD, NORTH))
    small = DSM(block().dsm[:40, :50].copy(), grid)
    changes = {"orthos": {}, "grid": grid, "reference": Reference(dsm=ArraySource(small))}
    export_scene(real_scene(**changes)[0], tmp_path / "set")
    config = yaml.safe_load((tmp_path / "set" / "config.yaml").read_text())
    assert config["dataset"]["patch_size"] == [16.0, 16.0] and config["model"]["method"] == "conv_onet"


def test_fitting_from_scenes_starts_from_the_seed_and_learns_the_robust_rule():
    from refbench import Context
    from refbench_implicity.method import ImpliCity

    scene, _ = real_scene()
    found = []
    for seed in (0, 0, 1):
        method = ImpliCity(ImpliCityConfig(model=TINY, patch_size=32.0))
        trained = method.fit([scene], Context(seed=seed), steps=1)
        assert trained.provenance["steps"] == 1 and not method.is_trained  # the method stays as it is
        assert trained.meta["normalisation"]["image_rule"] == "robust" and trained.meta["pixel_size"] == GSD
        assert method.normalisation.image_rule == "fixed"
        found.append(trained.tensors["decoder.fc_p.weight"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
