"""Any grid and any CRS through the command line: degrees, feet, references elsewhere, and back."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from makers import UTM, grid_of, write_tif
from rasterio.crs import CRS
from run_refbench import refbench

from refbench import Grid, PointCloud
from refbench.formats.cloud import write_points
from refbench.formats.utm import metric_grid
from refbench.geometry.crs_map import transform_exact

INPUT = ("run", "--method", "input", "--no-report", "--out", "out")
WGS84 = CRS.from_epsg(4326)


def surface(east, north):
    """A smooth surface in the metres of zone 32 about (493000, 5427600)."""
    return 100 + 8 * np.sin(east / 19) * np.cos(north / 21) + 0.02 * (east - 493_000)


def on(grid):
    east, north = transform_exact(grid.crs, UTM, *grid.centres()) if grid.crs != UTM else grid.centres()
    return surface(east, north).astype(np.float32)


def result_of(folder):
    return json.loads((folder / "out/result.json").read_text())


DEGREES = Grid(180, 150, Affine(8e-6, 0, 8.9, 0, -5e-6, 49.0), WGS84)
FINE = metric_grid("x", DEGREES, UTM, 0.2)


@pytest.fixture
def folder(tmp_path):
    heights = on(DEGREES)
    heights[40:60, 50:70] = -32768
    heights[0, 0] = -32768
    write_tif(tmp_path / "degrees.tif", heights, DEGREES, nodata=-32768)
    write_tif(tmp_path / "fine.tif", on(FINE) - 0.5, FINE)
    return tmp_path


@pytest.mark.parametrize("kernel", ["auto", "cubic"])
def test_degrees_are_refined_in_metres_and_come_back_on_their_own_grid(folder, kernel):
    said = refbench(folder, *INPUT, "--dsm", "degrees.tif", "--reference", "fine.tif", "--back", "--resampling", kernel)
    result = result_of(folder)
    assert result["metrics"]["refined"]["all"]["mae"] == pytest.approx(0.5, abs=0.01)
    used = "bilinear" if kernel == "auto" else kernel
    assert "from EPSG:4326 to EPSG:32632" in said and f"by {used}; there and back" in " ".join(said.split())
    assert any("m RMS" in text for text in result["warnings"])
    with rasterio.open(folder / "out/dsm.tif") as refined:
        assert refined.crs == UTM and refined.res[0] == pytest.approx(0.5704, abs=1e-3)
    with rasterio.open(folder / "out/dsm_back.tif") as back, rasterio.open(folder / "degrees.tif") as given:
        assert back.transform == given.transform and back.shape == given.shape and back.crs == given.crs
        assert back.nodata == given.nodata == -32768
        before, after = given.read(1), back.read(1)
        assert np.array_equal(before == -32768, after == -32768)
        assert np.sqrt(np.mean((before - after)[before != -32768] ** 2)) < (0.02 if kernel == "auto" else 0.01)


@pytest.mark.parametrize("foot", [("EPSG:2236", 1200 / 3937, "US survey foot"), ("EPSG:2222", 0.3048, "foot")])
def test_feet_come_to_metres_and_back_in_feet(tmp_path, foot):
    epsg, length, unit = foot
    grid = grid_of(60, 70, 3.0, west=700_000.0, north=1_500_000.0, crs=CRS.from_user_input(epsg))
    x, y = grid.centres()
    heights = (50 + 0.02 * (x - 700_000) + 0.03 * (y - 1_500_000)).astype(np.float32)
    heights[5:9, 5:9] = -9999
    write_tif(tmp_path / "feet.tif", heights, grid, nodata=-9999)
    for target in ((), ("--target-crs", "own")):
        refbench(tmp_path, *INPUT, "--dsm", "feet.tif", "--back", "--overwrite", *target)
        with rasterio.open(tmp_path / "out/dsm.tif") as refined:
            assert refined.crs.linear_units_factor[1] == 1 and refined.units[0] == "metre"
            known = refined.read(1, masked=True)
            assert known.max() == pytest.approx(heights.max() * length, abs=0.01)
        with rasterio.open(tmp_path / "out/dsm_back.tif") as back:
            assert back.crs == grid.crs and back.transform == grid.transform
            assert back.units[0].lower() == unit.lower()
            assert np.array_equal(back.read(1) == -9999, heights == -9999)
            assert np.abs(back.read(1) - heights).max() < 2e-3


def test_masks_orthos_and_clouds_of_other_crs_join_the_scene(folder):
    water = (np.indices(DEGREES.shape)[1] < 90).astype(np.uint8)
    write_tif(folder / "water.tif", water, DEGREES)
    west = metric_grid("x", DEGREES, CRS.from_epsg(32631), 0.5)
    write_tif(folder / "ortho.tif", np.full(west.shape, 90, np.uint8), west)
    lon, lat = (axis.ravel()[::7] for axis in DEGREES.centres())
    write_points(folder / "cloud.npz", PointCloud(np.stack([lon, lat, on(DEGREES).ravel()[::7]], axis=1), WGS84))
    said = " ".join(
        refbench(
            folder, *INPUT, "--dsm", "fine.tif", "--reference", "degrees.tif", "--mask", "water=water.tif",
            "--ortho", "ortho.tif", "--points", "cloud.npz",
        ).split()
    )  # fmt: skip
    found = result_of(folder)["metrics"]["refined"]
    assert found["all"]["bias"] == pytest.approx(-0.5, abs=0.01)
    assert found["water"]["n"] == pytest.approx(found["all"]["n"] / 2, rel=0.05)
    for words in ("water.tif: resampled", "by nearest", "ortho.tif: resampled", "cloud.npz: its points came from"):
        assert words in said


def test_evaluate_takes_any_pair(folder):
    for pair, options in (
        (("degrees.tif", "fine.tif"), ()),
        (("degrees.tif", "fine.tif"), ("--onto", "evaluated")),
        (("degrees.tif", "fine.tif"), ("--coregister",)),
        (("fine.tif", "degrees.tif"), ("--resampling", "cubic")),
        (("fine.tif", "degrees.tif"), ("--target-crs", "EPSG:3035")),
    ):
        found = json.loads(refbench(folder, "evaluate", *pair, *options, "--json"))
        bias = 0.0 if "--coregister" in options else 0.5 if pair[0] == "degrees.tif" else -0.5
        assert found["all"]["median"] == pytest.approx(bias, abs=0.01), options
        assert any("from EPSG:4326" in text for text in found["warnings"])
        if "--coregister" in options:
            assert abs(found["coregistration"]["east_m"]) < 0.02


def test_a_finer_reference_is_averaged_and_a_coarser_one_interpolated(tmp_path):
    grid = grid_of(40, 40, 1.0)
    write_tif(tmp_path / "dsm.tif", np.full(grid.shape, 10, np.float32), grid)
    rng = np.random.default_rng(0)
    for gsd, used in ((0.5, "average"), (2.0, "bilinear")):
        other = grid_of(int(40 / gsd), int(40 / gsd), gsd)
        noise = rng.normal(0, 1, other.shape).astype(np.float32)
        write_tif(tmp_path / "reference.tif", noise + 10, other)
        said = refbench(tmp_path, *INPUT, "--dsm", "dsm.tif", "--reference", "reference.tif", "--overwrite")
        assert f"by {used}" in " ".join(said.split())
        rmse = result_of(tmp_path)["metrics"]["refined"]["all"]["rmse"]
        if used == "average":  # the mean of four
            expected = noise.reshape(40, 2, 40, 2).mean(axis=(1, 3))
            assert rmse == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-5)
        refbench(
            tmp_path,
            *INPUT,
            "--dsm",
            "dsm.tif",
            "--reference",
            "reference.tif",
            "--overwrite",
            "--resampling",
            "nearest",
        )
        nearest = result_of(tmp_path)["metrics"]["refined"]["all"]["rmse"]
        assert nearest == pytest.approx(np.sqrt((noise**2).mean()), rel=0.15) and nearest > rmse


def test_outliers_are_left_out_and_counted(tmp_path):
    grid = grid_of(50, 50)
    noise = np.random.default_rng(0).normal(0, 0.1, grid.shape).astype(np.float32)
    spoilt = noise.copy()
    spoilt[:2] = 30
    write_tif(tmp_path / "a.tif", spoilt, grid)
    write_tif(tmp_path / "b.tif", np.zeros(grid.shape, np.float32), grid)
    plain = json.loads(refbench(tmp_path, "evaluate", "a.tif", "b.tif", "--json"))
    robust = json.loads(refbench(tmp_path, "evaluate", "a.tif", "b.tif", "--remove-outliers", "--json"))
    assert plain["all"]["rmse"] > 5 and robust["all"]["rmse"] == pytest.approx(0.1, rel=0.05)
    assert 100 <= 2500 - robust["all"]["n"] < 120 and "were left out" in robust["notes"]["outliers"]


def test_what_has_no_place_in_utm_or_no_way_back_is_one_sentence(tmp_path):
    polar = Grid(30, 30, Affine(1e-4, 0, 10, 0, -1e-5, 88.0), WGS84)
    write_tif(tmp_path / "polar.tif", np.zeros(polar.shape, np.float32), polar)
    write_tif(tmp_path / "dsm.tif", np.zeros((30, 30), np.float32), grid_of(30, 30))
    xyz = np.random.default_rng(0).uniform((500_000, 5_000_000, 0), (500_020, 5_000_020, 20), (500, 3))
    write_points(tmp_path / "cloud.npz", PointCloud(xyz, UTM))
    cases = {
        "84° N": ("--dsm", "polar.tif"),
        "target_crs": ("--dsm", "dsm.tif", "--target-crs", "EPSG:4326"),
        "--back leads to the grid": ("--points", "cloud.npz", "--gsd", 1, "--back"),
        "no resampling kernel 'cubik'": ("--dsm", "dsm.tif", "--resampling", "cubik"),
    }
    for words, options in cases.items():
        text = refbench(tmp_path, *INPUT, *options, code=2)
        assert words in text and text.count("\n") == 1, text
    refbench(tmp_path, *INPUT, "--dsm", "polar.tif", "--target-crs", "EPSG:5041")
