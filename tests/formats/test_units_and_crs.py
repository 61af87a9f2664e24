import struct

import numpy as np
import pytest
import rasterio
from makers import UTM, dsm_of, grid_of, hills, write_tif
from rasterio.crs import CRS

from refbench import InputError
from refbench.formats.crs import check_vertical, metric_vertical, parse_crs, require_metric, split_crs, vertical_unit
from refbench.formats.raster import open_dsm, open_image, open_mask, write_dsm
from refbench.formats.units import METRES_PER_UNIT, parse_unit, resolve_height_unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [("m", "metre"), ("Metres", "metre"), ("FT", "foot"), ("US survey foot", "us_survey_foot"),
     ("ftUS", "us_survey_foot"), ("us_survey_foot", "us_survey_foot"), ("furlong", None), ("", None), (None, None)],
)  # fmt: skip
def test_spellings_of_units(text, unit):
    assert parse_unit(text) == unit


def test_a_unit_is_taken_from_whoever_says_it_and_contradictions_are_refused():
    assert resolve_height_unit("f", None, []) == "metre"
    assert resolve_height_unit("f", None, [("tag", None), ("crs", "foot")]) == "foot"
    assert resolve_height_unit("f", "ft", [("tag", "feet"), ("crs", "")]) == "foot"
    assert resolve_height_unit("f", "ft", [("tag", "odd")]) == "foot"
    for declared, found in (("metre", "ft"), ("foot", "us-ft"), (None, "odd"), ("ell", None)):
        with pytest.raises(InputError, match="unit"):
            resolve_height_unit("f", declared, [("the tag", found)])
    with pytest.raises(InputError, match=r"f: the CRS says foot but the tag says metre"):
        resolve_height_unit("f", None, [("the tag", "m"), ("the CRS", "foot")])


@pytest.mark.parametrize(("spelling", "unit"), [("ft", "foot"), ("US survey foot", "us_survey_foot")])
def test_feet_become_metres_and_the_source_says_so(tmp_path, spelling, unit):
    grid = grid_of()
    feet = (hills(grid) / METRES_PER_UNIT[unit]).astype(np.float32)
    feet[0, 0] = -9999
    by_tag = open_dsm(write_tif(tmp_path / "tag.tif", feet, grid, nodata=-9999, unit=spelling))
    declared = open_dsm(write_tif(tmp_path / "bare.tif", feet, grid, nodata=-9999), height_unit=unit)
    for source in (by_tag, declared):
        dsm = source.read()
        assert np.isnan(dsm.heights[0, 0]) and np.count_nonzero(~dsm.valid) == 1
        assert np.allclose(dsm.heights[1:], hills(grid)[1:], atol=2e-5)
        assert len(source.warnings) == 1
        assert "converted to metres" in source.warnings[0] and str(source.files[0]) in source.warnings[0]
    assert open_dsm(write_tif(tmp_path / "m.tif", feet, grid, unit="m")).warnings == ()


def test_the_vertical_crs_tells_unit_and_datum(tmp_path):
    grid = grid_of()
    navd_ft = CRS.from_user_input("EPSG:32632+8228")
    feet = (hills(grid) / 0.3048).astype(np.float32)
    source = open_dsm(write_tif(tmp_path / "ft.tif", feet, grid, crs=navd_ft))
    assert np.allclose(source.read().heights, hills(grid), atol=2e-5)
    # NAVD88 in metres has another code: a CRS in feet beside heights in metres would be wrong.
    assert source.grid.vertical == "EPSG:5703" and source.grid.crs == UTM
    write_dsm(tmp_path / "out.tif", source.read())
    assert np.array_equal(open_dsm(tmp_path / "out.tif").read().heights, source.read().heights)
    for declared in ("metre", "us_survey_foot"):
        with pytest.raises(InputError, match="height_unit says"):
            open_dsm(tmp_path / "ft.tif", height_unit=declared)
    tagged = write_tif(tmp_path / "odd.tif", feet, grid, crs=navd_ft, unit="metre")
    with pytest.raises(InputError, match="its vertical CRS says foot but the band's unit tag says metre"):
        open_dsm(tagged)
    plain = write_tif(tmp_path / "plain.tif", feet, grid)
    assert open_dsm(plain, vertical="EPSG:8228").warnings
    with pytest.raises(InputError, match="the vertical datum EPSG:8228 says foot but height_unit says metre"):
        open_dsm(plain, vertical="EPSG:8228", height_unit="m")


def test_declared_and_found_datums_must_agree(tmp_path):
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid_of(vertical="EPSG:5773")))
    assert open_dsm(tmp_path / "dsm.tif", vertical="EPSG:5773").grid.vertical == "EPSG:5773"
    assert open_dsm(tmp_path / "dsm.tif", vertical="unknown").grid.vertical == "EPSG:5773"
    with pytest.raises(InputError, match="vertical datum EPSG:5773, but vertical says ellipsoid"):
        open_dsm(tmp_path / "dsm.tif", vertical="ellipsoid")
    for wrong in ("EGM96", "EPSG:x"):
        with pytest.raises(InputError, match="vertical is ellipsoid, unknown or an EPSG code"):
            check_vertical(wrong)


def test_a_crs_is_taken_apart():
    compound = split_crs(CRS.from_user_input("EPSG:32632+5773"))
    assert (compound.horizontal, compound.vertical, compound.height_unit) == (UTM, "EPSG:5773", "metre")
    assert split_crs(CRS.from_wkt(UTM.to_wkt())).horizontal == UTM
    assert split_crs(CRS.from_epsg(4979)).vertical == "ellipsoid"
    assert split_crs(None).horizontal is None
    assert (vertical_unit("EPSG:6360"), vertical_unit("ellipsoid")) == ("us_survey_foot", None)
    assert (metric_vertical("EPSG:6360"), metric_vertical("EPSG:3855")) == ("EPSG:5703", "EPSG:3855")


def test_metres_are_asked_for():
    assert require_metric("x", UTM) == UTM
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    assert require_metric("x", local) == local
    for crs, words in ((None, "no CRS"), (CRS.from_epsg(4326), "geographic"), (CRS.from_epsg(2225), "US survey foot")):
        with pytest.raises(InputError, match=words):
            require_metric("x", crs)
    with pytest.raises(InputError, match="is not a CRS"):
        parse_crs("EPSG:nonsense")


@pytest.mark.parametrize(
    ("unit", "metres"),
    [("US survey foot", 0.3048006), ("US survey foot", 0.304800609601219), ("foot", 0.3048), ("Foot_US", 0.30480061)],
)
def test_local_crs_in_feet_are_brought_to_metres_with_their_heights(tmp_path, unit, metres):
    grid = grid_of(crs=CRS.from_wkt(f'LOCAL_CS["site",UNIT["{unit}",{metres}]]'), gsd=2.0, west=1000.0, north=9000.0)
    length = METRES_PER_UNIT["foot" if metres == 0.3048 else "us_survey_foot"]
    source = open_dsm(write_tif(tmp_path / "dsm.tif", hills(grid), grid))
    assert source.grid.gsd == pytest.approx(2 * length, rel=1e-12)
    assert source.grid.bounds.north == pytest.approx(9000 * length, rel=1e-12)
    assert np.allclose(source.read().heights, hills(grid) * length, atol=2e-5)
    local, heights = source.warnings
    assert "local CRS counts in" in local and "converted to metres" in local and "heights are in" in heights
    assert require_metric("x", source.grid.crs) == source.grid.crs
    # Who says the unit of the heights goes first; images and masks lie on the same grid.
    metric = open_dsm(tmp_path / "dsm.tif", height_unit="metre")
    assert np.allclose(metric.read().heights, hills(grid)) and metric.grid == source.grid
    write_tif(tmp_path / "mask.tif", np.ones(grid.shape, np.uint8), grid)
    assert open_mask(tmp_path / "mask.tif").grid == open_image(tmp_path / "dsm.tif").grid == source.grid
    write_dsm(tmp_path / "out.tif", source.read())
    assert open_dsm(tmp_path / "out.tif").grid == source.grid and not open_dsm(tmp_path / "out.tif").warnings


def test_what_is_no_map_is_refused_in_a_sentence(tmp_path):
    for code, words in (("EPSG:4978", "geocentric"), ("EPSG:4979", "geographic"), ("EPSG:9518", "geographic")):
        path = write_tif(tmp_path / "dsm.tif", hills(grid_of()), grid_of(), crs=code)
        with pytest.raises(InputError, match=words) as caught:
            open_dsm(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    with pytest.raises(InputError, match="without easting and northing"):
        require_metric("x", CRS.from_epsg(5773))
    odd = CRS.from_wkt('LOCAL_CS["site",UNIT["US survey foot",0.3048006]]')
    with pytest.raises(InputError, match="counts in US survey foot"):
        require_metric("x", odd)


@pytest.mark.parametrize(
    ("text", "words"),
    [("EPSG:4326", "WGS 84, which has no heights"), ("EPSG:32632", "which has no heights"), ("EPSG:4978", "no heights"),
     ("EPSG:9518", "compound CRS, give its part 'EGM2008 height'"), ("EPSG:99999", "knows no CRS EPSG:99999"),
     ("EPSG:" + "9" * 30, "knows no CRS"), ("EPSG:²", "got"), ("5773", "got")],
)  # fmt: skip
def test_a_vertical_datum_that_is_none_is_named(text, words):
    with pytest.raises(InputError, match=words):
        check_vertical(text)


def test_three_axes_are_the_ellipsoid():
    assert check_vertical("EPSG:4979") == check_vertical("epsg:4937") == "ellipsoid"
    split = split_crs(CRS.from_user_input("EPSG:32632+4979"))
    assert (split.horizontal, split.vertical, split.height_unit) == (UTM, "ellipsoid", "metre")


@pytest.mark.parametrize(("key", "crs"), [(5030, UTM), (4979, UTM), (5019, CRS.from_epsg(25832))])
def test_vertical_keys_of_ellipsoids_are_understood(tmp_path, key, crs):
    """GeoTIFF 1.0 names the ellipsoid itself (5001 to 5033), GeoTIFF 1.1 the geographic CRS of three axes."""
    grid = grid_of(crs=crs)
    path = write_tif(tmp_path / "dsm.tif", hills(grid), grid, crs=CRS.from_user_input(f"{crs.to_string()}+5773"))
    content, entry = path.read_bytes(), struct.pack("<4H", 4096, 0, 1, 5773)
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, struct.pack("<4H", 4096, 0, 1, key)))
    source = open_dsm(path)
    assert source.grid.vertical == "ellipsoid" and source.grid.crs == crs and source.warnings == ()


@pytest.mark.parametrize(("code", "key"), [(32632, 4979), (25832, 4937), (2154, 4965), (6346, 6319)])
def test_ellipsoidal_heights_are_written_as_the_key_of_three_axes(tmp_path, code, key):
    grid = grid_of(vertical="ellipsoid", crs=CRS.from_epsg(code))
    write_dsm(tmp_path / "dsm.tif", dsm_of(grid, holes=True))
    assert [path.name for path in tmp_path.iterdir()] == ["dsm.tif"]
    content = (tmp_path / "dsm.tif").read_bytes()
    assert struct.pack("<4H", 4096, 0, 1, key) in content  # vertical
    assert struct.pack("<4H", 3072, 0, 1, code) in content  # horizontal
    with rasterio.open(tmp_path / "dsm.tif") as file:
        assert len(file.crs.to_dict(projjson=True)["coordinate_system"]["axis"]) == 3
        assert file.crs.to_epsg(confidence_threshold=20) == code and file.crs.is_projected
    again = open_dsm(tmp_path / "dsm.tif")
    assert again.grid == grid and again.grid.vertical == "ellipsoid"
    assert np.array_equal(again.read().heights, dsm_of(grid, holes=True).heights, equal_nan=True)
