"""A STAC item by the rules of its specification: what every field is, that geometry and files are where it says."""

import hashlib
import itertools
import json
import re
from datetime import datetime, timezone

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from makers import UTM
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, Scene
from refbench.contracts.scene import View
from refbench.engine.job.result import Hashes, Result, Status
from refbench.formats.raster import ArraySource, write_dsm
from refbench.reporting.stac import EXTENSIONS, item, write_item

GRID = Grid(40, 30, Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), UTM)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def made(folder, grid=GRID, **scene):
    """Return the folder, result and scene of a run that wrote a DSM."""
    write_dsm(folder / "dsm.tif", DSM(np.full(GRID.shape, 7, np.float32), GRID))
    digest = hashlib.sha256((folder / "dsm.tif").read_bytes()).hexdigest()
    result = Result(
        refbench_version="1",
        method="median",
        scene="village",
        seed=0,
        status=Status.OK,
        outputs={"dsm": "dsm.tif", "logs": "logs"},
        hashes=Hashes(outputs={"dsm.tif": digest}, config="c" * 64),
        metrics={"input": {"all": {"mae": 2.0}}, "refined": {"all": {"mae": 1.0, "rmse": None}}},
        created="2026-12-01T10:00:00+00:00",
    )
    (folder / "logs").mkdir()
    dsm = None if grid is None else ArraySource(DSM(np.zeros(grid.shape, np.float32), grid))
    return folder, result, Scene("village", grid=grid, dsm=dsm, **scene)


def check_item(said):
    """Assert what STAC 1.0.0 and the extension projection 1.1.0 ask of an item."""
    assert said["type"] == "Feature" and said["stac_version"] == "1.0.0" and said["id"]
    assert said["stac_extensions"] == list(EXTENSIONS)
    assert {"geometry", "properties", "links", "assets"} <= said.keys() and isinstance(said["links"], list)
    assert ("bbox" in said) == (said["geometry"] is not None)
    properties = said["properties"]
    times = [properties[name] for name in ("datetime", "start_datetime", "end_datetime") if properties.get(name)]
    assert "datetime" in properties and times and all(TIME.fullmatch(text) for text in times)
    assert properties["datetime"] is not None or len(times) == 2
    assert "proj:epsg" in properties and isinstance(properties["proj:epsg"], int | None)
    if "proj:transform" in properties:
        assert len(properties["proj:transform"]) in (6, 9)
        assert all(isinstance(number, int) for number in properties["proj:shape"]) and len(properties["proj:bbox"]) == 4
    for asset in said["assets"].values():
        assert isinstance(asset["href"], str) and isinstance(asset["roles"], list)
        if "file:checksum" in asset:
            assert re.fullmatch(r"1220[0-9a-f]{64}", asset["file:checksum"])
    if said["geometry"] is not None:
        (ring,) = said["geometry"]["coordinates"]
        assert ring[0] == ring[-1] and len(ring) == 5
        area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))
        assert area > 0, "an outer ring runs counter-clockwise"
        west, south, east, north = said["bbox"]
        assert -180 <= west < east <= 180 and -90 <= south < north <= 90


def test_an_item_says_where_the_raster_lies_and_what_its_file_is(tmp_path):
    folder, result, scene = made(tmp_path)
    said = json.loads(write_item(folder, result, scene).read_text())
    check_item(said)
    lon, lat = rasterio.warp.transform(UTM, "EPSG:4326", [500_000, 500_020], [4_999_985, 5_000_000])
    assert said["bbox"] == pytest.approx([min(lon), min(lat), max(lon), max(lat)], abs=2e-7)
    properties = said["properties"]
    assert properties["proj:epsg"] == UTM.to_epsg() and properties["proj:shape"] == [30, 40]
    assert Affine(*properties["proj:transform"][:6]) @ (40, 30) == (500_020, 4_999_985)
    assert properties["gsd"] == 0.5 and properties["refbench:refined_mae"] == 1.0
    assert "refbench:refined_rmse" not in properties and properties["refbench:input_mae"] == 2.0
    asset = said["assets"]["dsm"]
    path = folder / asset["href"]
    assert asset["file:size"] == path.stat().st_size and "profile=cloud-optimized" in asset["type"]
    assert asset["file:checksum"] == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(said["assets"]) == {"dsm", "result"}


def test_rows_that_run_north_a_local_crs_and_no_grid(tmp_path):
    north = Grid(40, 30, Affine(0.5, 0, 500_000, 0, 0.5, 4_999_985), UTM)
    local = CRS.from_proj4("+proj=tmerc +lat_0=45 +lon_0=9.3 +k=0.9998 +ellps=GRS80 +units=m")
    own = Grid(40, 30, Affine(0.5, 0, 0, 0, -0.5, 0), local)
    found = []
    for number, grid in enumerate((north, own, None)):
        (tmp_path / str(number)).mkdir()
        found.append(item(*made(tmp_path / str(number), grid)))
        check_item(found[-1])
    assert found[1]["properties"]["proj:epsg"] is None and "proj:wkt2" in found[1]["properties"]
    assert found[2]["geometry"] is None


def test_the_time_is_that_of_the_images_where_they_say_it(tmp_path):
    image = ArraySource(Image(np.zeros((1, 4, 4), np.float32)))
    days = [datetime(2024, 5, day, 10, tzinfo=timezone.utc) for day in (1, 3)]
    views = {str(day): View(str(day), image, None, acquired=day) for day in days}
    said = item(*made(tmp_path, views=views))
    check_item(said)
    properties = said["properties"]
    assert properties["start_datetime"].startswith("2024-05-01T10") and properties["end_datetime"].startswith(
        "2024-05-03"
    )
    assert (
        properties["datetime"].startswith("2024-05-02T10:00:00")
        and properties["created"] == "2026-12-01T10:00:00+00:00"
    )


def test_the_public_schema_of_items_accepts_it(tmp_path):
    pytest.importorskip("pystac.validation", reason="pystac below 1.15 brings the public JSON Schema of items")
    import pystac

    said = item(*made(tmp_path))
    # The extensions' schemas are not in the package and the network is left alone: their rules are checked above.
    found = pystac.Item.from_dict({**said, "stac_extensions": []})
    found.validate()
    assert found.bbox == said["bbox"] and found.get_assets()["dsm"].roles == ["data"]
