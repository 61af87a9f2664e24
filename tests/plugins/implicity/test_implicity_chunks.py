"""Official data sets: chunk files, the builder, crops drawn from them."""

import zipfile

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from makers import grid_of, write_tif  # noqa: E402

from refbench import InputError  # noqa: E402
from refbench.contracts.errors import ConfigError, MissingFileError  # noqa: E402
from refbench_implicity.config import (  # noqa: E402
    DatasetConfig,
    ImpliCityConfig,
)
from refbench_implicity.official.builder import BuildConfig, build_dataset  # noqa: E402
from refbench_implicity.official.chunk_files import PlanarIndex, read_chunks, read_member  # noqa: E402
from refbench_implicity.training.dataset import RandomCropItems, official_items  # noqa: E402


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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A data set built from meshes: flat ground at 400 m with a flat-roofed block of 10 m, two chunks of 24 m."""
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
    grid = grid_of(72, 120, west=0, north=36)
    for name, values in {"dsm": heights, **{f"m_{k}": m.astype(np.uint8) for k, m in masks.items()}}.items():
        write_tif(root / f"{name}.tif", values, grid)
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
