"""One rule says which pixels hold data: against closed forms, over types, codes, masks, alpha, scale and offset."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import grid_of, write_tif

from refbench import DSM
from refbench.contracts.grid import Window
from refbench.formats.cropped import Cropped
from refbench.formats.output_nodata import beside, output_nodata
from refbench.formats.raster import open_dsm, open_image, open_mask, write_dsm
from refbench.formats.validity import FAR_METRES, CodeSearch

ROWS, COLS = 7, 9
CODES = {
    "uint8": (0, 255), "int8": (-128, 7), "uint16": (0, 65535), "int16": (-32768, -9999), "int32": (-9999, -2147483648),
    "float32": (-9999.0, -3.4028234663852886e38, np.nan, -32767.0), "float64": (-9999.0, -1e6, 1e20, np.nan),
}  # fmt: skip


@st.composite
def variants(draw):
    dtype = draw(st.sampled_from(sorted(CODES)))
    return {
        "dtype": dtype,
        "code": draw(st.none() | st.sampled_from(CODES[dtype])),
        "mask": draw(st.sampled_from(("none", "internal", "msk", "alpha"))),
        "scale": draw(st.sampled_from((1.0, 0.1, 0.5, -2.0))),
        "offset": draw(st.sampled_from((0.0, 100.0, -3.5))),
        "seed": draw(st.integers(0, 2**16)),
    }


def write_variant(folder, variant):
    """Write the raster and return path, values by the closed form, and where they hold data."""
    rng = np.random.default_rng(variant["seed"])
    dtype, code = np.dtype(variant["dtype"]), variant["code"]
    raw = rng.integers(10, 100, (ROWS, COLS)).astype(dtype)
    by_code, by_mask = rng.random((2, ROWS, COLS)) < 0.2
    by_code[0], by_mask[0] = False, False  # a row that holds data
    if code is None:
        by_code[:] = False
    else:
        raw[by_code] = code
    path = folder / f"{variant['mask']}.tif"
    path.with_name(f"{path.name}.msk").unlink(missing_ok=True)
    bands, profile = raw[None], {}
    if variant["mask"] == "alpha":
        clear = dtype.type(0)
        alpha = np.where(by_mask, clear, dtype.type(100))
        bands, profile = np.stack([raw, alpha]), {"ALPHA": "YES"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=variant["mask"] == "internal"):
        write_tif(path, bands, grid_of(ROWS, COLS), nodata=code, **profile)
        with rasterio.open(path, "r+") as file:
            file.scales = (variant["scale"],) * len(bands)
            file.offsets = (variant["offset"],) * len(bands)
            if variant["mask"] in ("internal", "msk"):
                file.write_mask(~by_mask)
    valid = ~by_code & (~by_mask if variant["mask"] != "none" else True)
    return path, raw.astype(np.float64) * variant["scale"] + variant["offset"], valid, raw


@settings(max_examples=150, deadline=None)
@given(variant=variants())
def test_dsm_image_and_mask_agree_with_the_closed_form(tmp_path_factory, variant):
    folder = tmp_path_factory.mktemp("variant")
    path, values, valid, raw = write_variant(folder, variant)
    source = open_dsm(path)
    dsm = source.read()
    assert np.array_equal(dsm.valid, valid)
    assert np.allclose(dsm.heights[valid], values[valid], rtol=1e-6)
    assert source.scan.valid == valid.sum() and source.scan.codes == () and source.scan.undeclared == 0
    image = open_image(path).read()
    assert image.pixels.shape[0] == 1
    assert np.array_equal(np.ones_like(valid) if image.valid is None else image.valid, valid)
    assert np.allclose(image.pixels[0][valid], values[valid], rtol=1e-6)
    mask = open_mask(path).read()
    inside_known = valid | ((raw == 0) & (variant["code"] == 0) & (variant["mask"] == "none"))  # a mask's 0 is "not"
    assert np.array_equal(mask.values, np.where(inside_known, values != 0, 255))


undeclared = st.sampled_from(
    [(-9999.0, "float32"), (-9999.0, "int16"), (-32768.0, "int16"), (-32767.0, "float32"), (-999.0, "float32"),
     (-99999.0, "int32"), (-1e6, "float64"), (1e20, "float32"), (1e30, "float64"), (65535, "uint16"),
     (9999.0, "float64"), (-2147483648.0, "int32")]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(code_and_type=undeclared, low=st.integers(10, 300), number=st.integers(1, 40), declared=st.booleans())
def test_an_undeclared_code_is_nodata_and_said_with_file_value_and_count(
    tmp_path_factory, code_and_type, low, number, declared
):
    code, dtype = code_and_type
    folder = tmp_path_factory.mktemp("undeclared")
    raw = np.random.default_rng(number).integers(low, low + 60, (ROWS, COLS)).astype(dtype)
    where = np.zeros(raw.size, bool)
    where[:number] = True
    raw[where.reshape(raw.shape)] = code
    source = open_dsm(write_tif(folder / "dsm.tif", raw, grid_of(ROWS, COLS), nodata=3 if declared else None))
    # A window first: the rule is that of the whole raster, whatever is read of it.
    assert open_dsm(folder / "dsm.tif").read(grid_of(1, 1).full_window).valid.sum() == 0
    assert np.array_equal(source.read().valid, ~where.reshape(raw.shape))
    (note,) = source.scan.notes
    assert str(folder / "dsm.tif") in note and f"{number:,} pixels" in note and "count as NoData" in note
    assert f" {code:.9g}, " in note
    assert source.nodata == (3 if declared else pytest.approx(code))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (np.linspace(-10_900, 8_800, 63), -9999),  # sea floor: -9999 m lies among the others
        (np.linspace(9_000, 11_000, 63), 9999),  # centimetres
        (np.linspace(-40_000, 100, 63), -32768),
    ],
)
def test_a_known_code_among_the_heights_is_a_height(tmp_path, values, code):
    heights = values.reshape(7, 9).astype(np.float32)
    heights[3, 3] = code
    source = open_dsm(write_tif(tmp_path / "dsm.tif", heights, grid_of(7, 9)))
    assert source.read().valid.all() and source.scan.notes == () and source.nodata is None


@pytest.mark.parametrize("code", [0.0, -5000.0, 12345.0])
def test_a_code_that_nobody_knows_is_only_suspected_until_it_is_declared(tmp_path, code):
    heights = np.random.default_rng(0).uniform(500, 600, (20, 30)).astype(np.float32)
    heights[:4] = code
    path = write_tif(tmp_path / "dsm.tif", heights, grid_of(20, 30))
    source = open_dsm(path)
    assert source.read().valid.all()
    (note,) = source.scan.notes
    assert f"120 pixels are exactly {code:.9g}" in note and f"--nodata-in {code:.9g}" in note
    told = open_dsm(path, nodata=code)
    assert told.read().valid.sum() == 16 * 30 and told.scan.notes == () and told.nodata == code


def test_nothing_but_a_code_holds_no_height(tmp_path):
    source = open_dsm(write_tif(tmp_path / "dsm.tif", np.full((3, 4), -9999, np.float32), grid_of(3, 4)))
    assert source.scan.valid == 0 and not source.read().valid.any()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_search_finds_the_same_by_blocks_as_at_once(data):
    pool = st.sampled_from([-9999.0, -32768.0, 0.0, 5.0, 250.0, 260.0, 300.0, 9999.0])
    values = np.array(data.draw(st.lists(pool, min_size=1, max_size=60)), np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    whole, parts = (CodeSearch((-9999.0, -32768.0, 9999.0), FAR_METRES) for _ in range(2))
    whole.add(values)
    for part in np.split(values, cuts):
        parts.add(part)
    assert dict(whole.found()) == dict(parts.found())
    assert set(dict(whole.suspected())) == set(dict(parts.suspected()))
    rest = values[~np.isin(values, (-9999, -32768, 9999))]
    for code, number in whole.found():
        assert number == (values == code).sum()
        assert not rest.size or min(abs(rest - code)) > FAR_METRES


def test_masks_hold_any_value_inside_and_255_beside_1_is_unknown(tmp_path):
    grid = grid_of(2, 3)
    cases = {
        "bytes": ([[0, 255, 255], [0, 0, 255]], "uint8", None, [[0, 1, 1], [0, 0, 1]]),
        "coded": ([[0, 1, 255], [2, 0, 255]], "uint8", None, [[0, 1, 255], [1, 0, 255]]),
        "declared": ([[0, 7, 200], [7, 0, 200]], "uint8", 200, [[0, 1, 255], [1, 0, 255]]),
        "zero": ([[0, 1, 2], [0, 0, 2]], "uint8", 0, [[0, 1, 1], [0, 0, 1]]),
        "shorts": ([[0, 65535, 1], [0, 0, 1]], "uint16", None, [[0, 1, 1], [0, 0, 1]]),
        "floats": ([[0, np.nan, 1], [0.5, -9999, 0]], "float32", None, [[0, 255, 1], [1, 255, 0]]),
    }
    for name, (values, dtype, code, expected) in cases.items():
        source = open_mask(write_tif(tmp_path / f"{name}.tif", np.array(values, dtype), grid, nodata=code))
        assert source.read().values.tolist() == expected, name
        assert source.check() == ()
    empty = open_mask(write_tif(tmp_path / "empty.tif", np.zeros((2, 3), np.uint8), grid), name="water")
    assert len(empty.check()) == 1 and "water has no pixel inside" in empty.check()[0]


def test_images_of_floats_lose_codes_but_keep_saturated_pixels(tmp_path):
    grid = grid_of(4, 5)
    ndvi = np.linspace(-0.2, 0.9, 20).reshape(4, 5).astype(np.float32)
    ndvi[1, 1] = -9999
    image = open_image(write_tif(tmp_path / "ndvi.tif", ndvi, grid))
    assert np.argwhere(~image.read().valid).tolist() == [[1, 1]] and "-9999" in image.check()[0]
    shorts = np.full((2, 4, 5), 900, np.uint16)
    shorts[:, 2, 2] = 65535
    assert open_image(write_tif(tmp_path / "raw.tif", shorts, grid)).read().valid is None


@pytest.mark.parametrize("code", [-32768.0, 0.0, 255.0, float("nan"), -1e6, -3.4028234663852886e38])
def test_the_output_has_the_code_of_its_input_and_keeps_heights_equal_to_it(tmp_path, code):
    heights = np.linspace(0, 255, 63).reshape(7, 9).astype(np.float32)
    heights[1, 1] = code
    source = open_dsm(write_tif(tmp_path / "in.tif", heights, grid_of(7, 9), nodata=code))
    dsm = source.read()
    filled = np.nan_to_num(dsm.heights, nan=code if abs(code) < 1e30 else 0)
    refined = DSM(np.where(np.eye(7, 9) > 0, filled, dsm.heights), dsm.grid)
    code_of_a_part = output_nodata(None, Cropped(source, Window(0, 0, 4, 3)))
    assert code_of_a_part == output_nodata(None, source) or np.isnan(code_of_a_part.value)
    write_dsm(tmp_path / "out.tif", refined, nodata=code_of_a_part)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.nodata == code or (np.isnan(code) and np.isnan(file.nodata))
        on_diagonal = np.eye(7, 9) > 0
        if abs(code) < 1e30:
            assert (file.read_masks(1)[on_diagonal] == 255).all()  # GDAL takes none for NoData
    assert output_nodata(-5.0, source).value == -5.0 and output_nodata(None, None).value == -9999
    assert np.float32(beside(255.0)) != 255 and abs(beside(0.0)) < 1e-5
