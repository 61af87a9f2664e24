"""``refbench evaluate``: coregistration, declared facts, other tools' definitions, the assessor core3d."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

from refbench.cli.evaluate import command
from refbench.contracts.errors import InputError

EAST, NORTH, SIDE = 500_000, 5_500_000, 120
UP = {"north-up": Affine(1, 0, EAST, 0, -1, NORTH), "south-up": Affine(1, 0, EAST, 0, 1, NORTH - SIDE)}


def hills(x, y):
    x, y = x - EAST, y - NORTH
    return 100 + 8 * np.sin(x / 9) * np.cos(y / 11) + 4 * np.sin(x / 23 + 1) + 0.02 * x + 3 * np.cos(y / 17)


def write(path, surface, transform=UP["north-up"], crs="EPSG:32632", dtype="float32"):
    cols, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    x, y = transform.a * cols + transform.b * rows + transform.c, transform.d * cols + transform.e * rows + transform.f
    where = {"transform": transform, "crs": crs, "nodata": None if dtype == "uint8" else -9999}
    with rasterio.open(path, "w", "GTiff", SIDE, SIDE, 1, dtype=dtype, **where) as file:
        file.write(np.asarray(surface(x, y), dtype), 1)
    return str(path)


def evaluated(*arguments):
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", UP)
def test_a_pair_is_coregistered_on_request(tmp_path, way):
    files = [
        write(tmp_path / "e.tif", lambda x, y: hills(x - 1.6, y + 1.2) + 2, UP[way]),
        write(tmp_path / "r.tif", hills, UP[way]),
    ]
    found = evaluated(*files, "--coregister", "--no-bootstrap")
    shift = found["coregistration"]
    assert (shift["east_m"], shift["north_m"], shift["up_m"]) == pytest.approx((-1.6, 1.2, -2.0), abs=0.01)
    assert found["all"]["mae"] < 0.02 and "moved by -1.6" in found["notes"]["coregistration"]
    assert evaluated(*files, "--no-bootstrap")["all"]["mae"] > 1
    shown = CliRunner().invoke(command, [*files, "--coregister", "--no-bootstrap"]).stdout
    assert "Co-registration: EVALUATED was moved by -1.600 m east, +1.200 m north" in shown


def test_crs_and_unit_can_be_declared_where_files_carry_none(tmp_path):
    files = [
        write(tmp_path / "e.tif", lambda x, y: hills(x, y) + 1, crs=None),
        write(tmp_path / "r.tif", hills, crs=None),
    ]
    with pytest.raises(InputError, match="--crs"):
        evaluated(*files)
    facts = ("--crs", "EPSG:32632", "--height-unit", "foot", "--no-bootstrap")
    assert evaluated(*files, *facts)["all"]["mae"] == pytest.approx(0.3048, abs=1e-5)


def test_other_tools_numbers_come_by_their_definitions(tmp_path):
    building = write(tmp_path / "b.tif", lambda x, y: x > EAST + 60, dtype="uint8")
    files = [write(tmp_path / "e.tif", lambda x, y: hills(x, y) + 0.5), write(tmp_path / "r.tif", hills)]
    options = [f"--definitions={name}" for name in ("xdem", "demcompare", "image")]
    found = evaluated(*files, "--mask", f"building={building}", "--no-bootstrap", *options)["definitions"]
    assert found["xdem"]["elevation"]["Mean"] == pytest.approx(0.5, abs=1e-4)
    assert found["xdem"]["slope (degrees)"]["RMSE"] == pytest.approx(0, abs=1e-3)
    assert found["demcompare"]["global all"]["mean"] == pytest.approx(-0.5, abs=1e-4)  # reference - evaluated
    assert found["demcompare"]["building_segmentation 1"]["nbpts"] == SIDE * 60
    assert found["image"]["image"]["ssim"] > 0.9
    shown = CliRunner().invoke(command, [*files, "--no-bootstrap", *options], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and "By the definitions of demcompare" in shown.stdout


def test_core3d_scores_footprints_volumes_and_outlines(tmp_path):
    def box(west):
        return lambda x, y: (x > EAST + west) & (x < EAST + west + 40) & (y < NORTH - 20) & (y > NORTH - 60)

    reference = write(tmp_path / "b.tif", box(30), dtype="uint8")
    found = write(tmp_path / "f.tif", box(40), dtype="uint8")
    flat = write(tmp_path / "t.tif", lambda x, y: 100 + 0 * x)
    files = [
        write(tmp_path / "e.tif", lambda x, y: 100 + 5 * box(40)(x, y)),
        write(tmp_path / "r.tif", lambda x, y: 100 + 5 * box(30)(x, y)),
    ]
    common = (*files, "--mask", f"building={reference}", "--assessor", "core3d", "--no-bootstrap")
    scores = evaluated(*common, "--option", f"mask={found}", "--option", f"dtm={flat}")["assessors"]["core3d"]
    assert scores["2d_completeness"] == scores["2d_correctness"] == scores["3d_completeness"] == 0.75
    assert scores["2d_jaccard"] == 0.6 and scores["reference_volume"] == scores["test_volume"] == 40 * 40 * 5
    assert scores["zrmse"] == 0 and 0 < scores["hrmse"] <= 10
    without = evaluated(*common)
    assert any("core3d.mask=FILE" in warning for warning in without["warnings"])


def test_a_reference_elsewhere_is_one_sentence(tmp_path):
    here = write(tmp_path / "here.tif", hills)
    there = write(tmp_path / "there.tif", hills, Affine.translation(400_000, 0) @ UP["south-up"])
    for pair in ((here, there), (there, here)):
        with pytest.raises(InputError, match="no valid pixel in common"):
            CliRunner().invoke(command, pair, catch_exceptions=False)
