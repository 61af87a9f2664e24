import numpy as np
import pytest
from rasterio.crs import CRS
from scene_makers import UTM, dsm_of, grid_of, hills, write_tif

from refbench import InputError
from refbench.formats.crs import check_vertical, metric_vertical, parse_crs, require_metric, split_crs, vertical_unit
from refbench.formats.raster import open_dsm, write_dsm
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
