"""``refbench run`` on point clouds: what is read, said and refused."""

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.crs import CRS
from run_refbench import answer, refbench

from refbench import PointCloud
from refbench.formats.cloud import write_points

MEDIAN = ("run", "--method", "input", "--no-report")


def cloud(path, far=(), west=0.0, classes=None, crs="EPSG:32632"):
    """A plane that rises by 0.1 per metre east, a point every half metre of 20 x 20 m; ``far`` are moved east."""
    x, y = np.meshgrid(np.arange(0.25, 20, 0.5) + west, np.arange(0.25, 20, 0.5))
    xyz = np.stack([500_000 + x.ravel(), 5_500_000 + y.ravel(), 100 + 0.1 * x.ravel()], axis=1)
    for k, metres in enumerate(far):
        xyz[100 * k + 7, 0] += metres
    if classes is not None:
        xyz[classes == 7, 2] += 500
    write_points(path, PointCloud(xyz, None if crs is None else CRS.from_user_input(crs), classes=classes))
    return path


def heights(folder):
    with rasterio.open(folder / "dsm.tif") as file:
        return file.read(1, masked=True).filled(np.nan), file.transform


def test_several_clouds_with_corrupt_points_give_one_dsm(tmp_path):
    a, b = cloud(tmp_path / "a.npz", far=(1e6, -9e5)), cloud(tmp_path / "b.npz", west=20.0, crs=None)
    said = refbench(tmp_path, *MEDIAN, "--points", a, "--points", b, "--gsd", 1, "--out", tmp_path / "out")
    found, transform = heights(tmp_path / "out")
    assert found.shape == (20, 40) and (transform.c, transform.f) == (500_000, 5_500_020)
    assert np.nanmax(np.abs(found - (100 + 0.1 * (np.arange(40) + 0.5)))) < 0.03
    assert "2 of 1,600 points lie far from all others" in " ".join(said.split())


def test_noise_is_dropped_said_and_kept_where_asked(tmp_path):
    classes = np.full(1600, 2, np.uint8)
    classes[:4] = 7
    cloud(tmp_path / "a.npz", classes=classes)
    said = refbench(tmp_path, *MEDIAN, "--points", "a.npz", "--gsd", 1, "--out", "out")
    assert "4 of 1,600 points are classified as noise" in " ".join(said.split())
    assert np.nanmax(heights(tmp_path / "out")[0]) < 103
    said = refbench(tmp_path, *MEDIAN, "--points", "a.npz", "--keep-noise", "--gsd", 1, "--out", "kept")
    assert "classified as" not in said and np.nanmax(heights(tmp_path / "kept")[0]) > 300
    scene = {"refbench_scene": 1, "points": ["a.npz"], "gsd": 1.0, "keep_noise": True}
    (tmp_path / "scene.yaml").write_text(yaml.safe_dump(scene))
    assert "classified as" not in refbench(tmp_path, *MEDIAN, ".", "--out", "from-yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--points", "a.npz", "--gsd", 0.001, "--max-pixels", 1_000_000), "limit of 1,000,000"),
        (("--points", "wide.npz", "--gsd", 0.5), "--max-pixels"),
        (("--points", ".", "--gsd", 1), "is a folder; give the point cloud in it, such as"),
        (("--points", "bare", "--gsd", 1), "is a folder without a point cloud"),
        (("--points", "a.npz", "--points", "a.npz", "--gsd", 1), "given twice"),
        (("--points", "junk.las", "--gsd", 1), "cannot be read as a point cloud"),
        (("--points", "cut.ply", "--gsd", 1), "do not fit"),
    ],
)
def test_bad_clouds_end_in_one_sentence_and_nothing_is_written(tmp_path, arguments, words):
    cloud(tmp_path / "a.npz")
    xyz = np.random.default_rng(0).uniform(0, 1e6, (1000, 3))
    write_points(tmp_path / "wide.npz", PointCloud(xyz, CRS.from_epsg(32632)))
    (tmp_path / "bare").mkdir()
    (tmp_path / "junk.las").write_bytes(b"LASF" + b"\xff" * 400)
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 1000000000000\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    (tmp_path / "cut.ply").write_bytes(header.encode() + b"end_header\n")
    done = answer(tmp_path, *MEDIAN, *arguments, "--out", "out")
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and "unexpected" not in done.stderr
    assert not (tmp_path / "out").exists()
