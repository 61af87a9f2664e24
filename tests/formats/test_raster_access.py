"""Which files are opened as rasters: by content, from this disk alone, and every refusal one sentence."""

import http.server
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import dsm_of, grid_of, hills, write_tif
from rasterio.errors import NotGeoreferencedWarning
from run_refbench import ONE_THREAD

from refbench import InputError
from refbench.formats.limits import LIMIT_VARIABLE, max_pixels
from refbench.formats.raster import open_dsm, open_image, open_mask, write_dsm
from refbench.formats.raster_access import is_raster, open_dataset

WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
    "<UpperLeftX>0</UpperLeftX><UpperLeftY>10</UpperLeftY><LowerRightX>10</LowerRightX><LowerRightY>0</LowerRightY>"
    "<TileLevel>1</TileLevel></DataWindow><Projection>EPSG:32632</Projection><BandsCount>1</BandsCount></GDAL_WMS>"
)
WCS = "<WCS_GDAL><ServiceURL>{url}?</ServiceURL><CoverageName>dsm</CoverageName></WCS_GDAL>"
VRT = (
    '<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:32632</SRS>'
    "<GeoTransform>500000,1,0,5500000,0,-1</GeoTransform>"
    '<VRTRasterBand dataType="Float32" band="1">{inside}</VRTRasterBand></VRTDataset>'
)
SOURCE = '<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename></SimpleSource>'


def _serve(port, hits):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.value += 1
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *words):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    port.value = server.server_port
    server.serve_forever()


@pytest.fixture(scope="module")
def server():
    """An HTTP server in a process of its own; GDAL holds Python's lock while it waits."""
    context = multiprocessing.get_context("fork")
    port, hits = context.Value("i", 0), context.Value("i", 0)
    process = context.Process(target=_serve, args=(port, hits), daemon=True)
    process.start()
    while not port.value:
        process.join(0.01)
        assert process.is_alive()
    yield f"http://127.0.0.1:{port.value}", hits
    process.kill()
    process.join()


def refused(path, *words):
    """Every opener refuses the file in one sentence."""
    for opener in (open_dsm, open_image, open_mask):
        with pytest.raises(InputError) as caught:
            opener(path).read()
        text = str(caught.value)
        assert "\n" not in text and len(text) < 600 and all(word in text for word in words), text


def test_descriptions_of_pixels_elsewhere_fetch_nothing(tmp_path, server):
    url, hits = server
    write_tif(tmp_path / "good.tif", hills(grid_of(4, 4)), grid_of(4, 4))
    texts = {
        "wms.tif": WMS.format(url=url),
        "wcs.tif": WCS.format(url=url),
        "bom.tif": "\ufeff\n <?xml version='1.0'?><!-- a --> " + WMS.format(url=url),
        "stac.tif": '{"type": "FeatureCollection", "features": []}',
        "tiles.tif": "<GDALTileIndexDataset><IndexDataset>x.gpkg</IndexDataset></GDALTileIndexDataset>",
        "utf16.tif": WMS.format(url=url).encode("utf-16"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        refused(tmp_path / name, name, "nothing that it points to was opened or fetched")
        assert not is_raster(tmp_path / name)
    for remote in (f"/vsicurl/{url}/dsm.tif", "/vsicurl_streaming/x"):
        (tmp_path / "vrt.tif").write_text(VRT.format(inside=SOURCE.format(relative=0, name=remote)))
        refused(tmp_path / "vrt.tif", "outside its folder")
    # A good TIFF with overviews or a mask elsewhere phones home as well.
    for where in (f"/vsicurl/{url}/o.tif", "/etc/hostname", "WMS:x", "../good.tif"):
        shutil.copy(tmp_path / "good.tif", tmp_path / "ovr.tif")
        with rasterio.open(tmp_path / "ovr.tif", "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=where)
        refused_even_so(tmp_path / "ovr.tif", "names overviews elsewhere")
    for suffix in (".msk", ".ovr"):
        shutil.copy(tmp_path / "good.tif", tmp_path / f"side{suffix[1:]}.tif")
        (tmp_path / f"side{suffix[1:]}.tif{suffix}").write_text(WMS.format(url=url))
        refused(tmp_path / f"side{suffix[1:]}.tif", "no plain raster")
    assert hits.value == 0
    assert open_dsm(tmp_path / "good.tif").read().valid.all()


def refused_even_so(path, words):
    with pytest.raises(InputError, match=words):
        open_dsm(path)


def test_a_vrt_is_read_where_its_sources_are_plain_rasters_beside_it(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    heights = hills(grid_of(4, 4))
    write_tif(folder / "part.tif", heights, grid_of(4, 4))
    write_tif(tmp_path / "secret.tif", heights, grid_of(4, 4))
    (folder / "wms.tif").write_text(WMS.format(url="http://127.0.0.1:9"))
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    vrt = folder / "dsm.vrt"
    for relative, name in ((1, "part.tif"), (0, str(folder / "part.tif")), (1, "./part.tif"), (1, "../b/part.tif")):
        vrt.write_text(VRT.format(inside=SOURCE.format(relative=relative, name=name)))
        assert np.array_equal(open_dsm(vrt).read().heights, heights)
    for relative, name in (
        (1, "../../secret.tif"), (0, str(tmp_path / "secret.tif")), (0, "part.tif"), (1, "wms.tif"), (1, "link.tif"),
        (1, "none.tif"), (1, "GTIFF_DIR:1:part.tif"), (1, "vrt://part.tif"), (1, "dsm.vrt"), (0, "/vsizip/a.zip/b.tif"),
    ):  # fmt: skip
        vrt.write_text(VRT.format(inside=SOURCE.format(relative=relative, name=name)))
        refused(vrt, "dsm.vrt")
    raw = '<SourceFilename relativeToVRT="0">/etc/hostname</SourceFilename><ImageOffset>0</ImageOffset>'
    plain, band = VRT.format(inside=SOURCE.format(relative=1, name="part.tif")), 'band="1"'
    for text in (
        VRT.format(inside=raw).replace(band, f'{band} subClass="VRTRawRasterBand"'),
        plain.replace("VRTDataset r", 'VRTDataset subClass="VRTWarpedDataset" r'),
        plain.replace(band, f'{band} subClass="VRTDerivedRasterBand"'),
        plain.replace("SimpleSource", "KernelFilteredSource"),
        plain.replace("</SimpleSource>", "<OpenOptions/></SimpleSource>"),
        "<!DOCTYPE a [<!ENTITY b 'c'>]>" + plain,
        plain[:60],
        "<VRTDataset>" * 3000,
    ):
        vrt.write_text(text)
        refused(vrt, "dsm.vrt")


def test_containers_name_their_subdatasets(tmp_path):
    # The smallest HDF5 files: a superblock alone; what is in it is named where GDAL can tell.
    (tmp_path / "empty.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(InputError) as caught:
        open_dsm(tmp_path / "empty.h5")
    assert "empty.h5" in str(caught.value) and "\n" not in str(caught.value)
    folder = os.environ.get("REFBENCH_FIELD", "../shared/field")
    for name, words in (("no_band.h5", "dset1"), ("two-subs.h5", "data2")):
        if (path := Path(folder) / name).exists():
            refused(path, "HDF5", words, "gdal_translate")


def test_other_formats_are_told_by_content(tmp_path):
    grid, heights = grid_of(6, 8), hills(grid_of(6, 8))
    write_tif(tmp_path / "dsm.tif", heights, grid)
    for driver, name, options in (
        ("AAIGrid", "a.tif", {"FORCE_CELLSIZE": "YES"}), ("HFA", "h.dat", {}), ("ENVI", "e.bin", {}),
        ("EHdr", "b.bil", {}), ("COG", "c", {}),
    ):  # fmt: skip
        rasterio.shutil.copy(tmp_path / "dsm.tif", tmp_path / name, driver=driver, **options)
        got = open_dsm(tmp_path / name, crs="EPSG:32632").read().heights
        assert np.allclose(got, heights, atol=1e-4), driver
    (tmp_path / "g.xyz").write_text(
        "".join(f"{500000.5 + c} {4999999.5 - r} {r + c}\n" for r in range(3) for c in range(4))
    )
    assert open_dsm(tmp_path / "g.xyz", crs="EPSG:32632").read().heights.tolist() == [
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 5],
    ]
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
    for driver, name in (("PNG", "p.tif"), ("JPEG", "j.tif")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(tmp_path / name, "w", driver=driver, width=8, height=6, count=1, dtype="uint8") as file:
                file.write(pixels)
        assert np.abs(open_image(tmp_path / name).read().pixels.astype(int) - pixels).max() < 6
    for name in ("a#b?c!d%20.tif", "GTIFF_DIR:1:x.tif", "zip:x.tif", "-"):
        shutil.copy(tmp_path / "dsm.tif", tmp_path / name)
        assert np.array_equal(open_dsm(tmp_path / name).read().heights, heights)


@pytest.mark.parametrize(
    "path",
    [
        "a\0b.tif",
        "x" * 5000,
        Path("/vsizip/a.zip/dsm.tif"),
        Path("/vsicurl/http://h/d.tif"),
        Path("http://h/d.tif"),
        ".",
    ],
)
def test_paths_that_name_no_file(path):
    refused(path)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damaged_files_end_in_a_sentence_or_in_heights(tmp_path_factory, data):
    """Bytes of good files cut or overwritten: never another error than ``InputError``."""
    folder = tmp_path_factory.mktemp("damaged")
    grid = grid_of(70, 60)
    kind = data.draw(st.sampled_from(("plain", "deflate", "png", "jpeg")))
    path = folder / "dsm.tif"
    if kind == "plain":
        write_tif(path, hills(grid), grid, nodata=-9999)
    elif kind == "deflate":
        write_dsm(path, dsm_of(grid, holes=True))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver=kind.upper(), width=60, height=70, count=1, dtype="uint8") as file:
                file.write(hills(grid).astype(np.uint8)[None])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for opener in (open_dsm, open_image, open_mask):
        try:
            opener(path).read()
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("driver", ["PNG", "JPEG", "GTiff", "AAIGrid", "EHdr"])
def test_half_a_file_is_refused(tmp_path, driver):
    noise = np.random.default_rng(0).integers(0, 255, (1, 300, 300), np.uint8)
    path, made = tmp_path / "half.bil", tmp_path / "whole.tif"
    write_tif(made, noise, grid_of(300, 300))
    rasterio.shutil.copy(made, path, driver=driver)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError) as caught:
        open_image(path).read()
    assert "half.bil" in str(caught.value) and "\n" not in str(caught.value)


def huge_tif(path, side):
    """A classic TIFF of ``side`` x ``side`` bytes whose one strip lies nowhere."""
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1),
               (278, 4, 1), (279, 4, 0)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4))
    return path


def test_sizes_are_checked_before_anything_is_allocated(tmp_path, monkeypatch):
    for side in (10**9, 300_000):
        refused(huge_tif(tmp_path / "huge.tif", side), "huge.tif")
    vrt = tmp_path / "huge.vrt"
    vrt.write_text(VRT.format(inside="").replace('"4"', '"1000000000"'))
    refused(vrt, "1,000,000,000 x 1,000,000,000 px", "--max-pixels")
    monkeypatch.setenv(LIMIT_VARIABLE, "1999")
    path = write_tif(tmp_path / "dsm.tif", hills(grid_of()), grid_of())
    refused_even_so(path, r"declares 50 x 40 px, more than the limit of 1,999")
    monkeypatch.setenv(LIMIT_VARIABLE, "2000")
    assert open_dsm(path).read().valid.all()
    for text in ("0", "-5", "1e9", "9" * 5000, "x"):
        monkeypatch.setenv(LIMIT_VARIABLE, text)
        with pytest.raises(InputError, match=LIMIT_VARIABLE):
            max_pixels()


@pytest.mark.parametrize("a", [float("inf"), float("nan"), 1e300, 1e-300, 0.0, 1e12])
def test_pixels_without_a_size_are_refused(tmp_path, a):
    path = tmp_path / "dsm.vrt"
    write_tif(tmp_path / "part.tif", hills(grid_of(4, 4)), grid_of(4, 4))
    text = VRT.format(inside=SOURCE.format(relative=1, name="part.tif"))
    path.write_text(text.replace("500000,1,0", f"500000,{a},0"))
    refused_even_so(path, "which places no pixels|no geotransform")
    if np.isfinite(a) and a:
        tif = tmp_path / "dsm.tif"
        with rasterio.open(tif, "w", driver="GTiff", width=4, height=4, count=1, dtype="float32", crs="EPSG:32632",
                           transform=Affine(a, 0, 5e5, 0, -1, 5.5e6)):  # fmt: skip
            pass
        refused_even_so(tif, "which places no pixels")


def test_a_scale_of_zero_is_refused_and_bytes_are_warned_of(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", hills(grid_of()).astype(np.uint8), grid_of())
    (note,) = open_dsm(path).warnings
    assert "integer heights of 256 levels" in note and str(path) in note
    with rasterio.open(path, "r+") as file:
        file.scales = (0.0,)
    refused(path, "scale 0")


def test_the_guard_leaves_other_users_of_gdal_alone(tmp_path):
    path = write_tif(tmp_path / "dsm.tif", hills(grid_of(4, 4)), grid_of(4, 4))
    script = (
        "import rasterio, rasterio._env as e; from refbench.formats.raster import open_dsm; "
        f"open_dsm({str(path)!r}).read(); print(e.get_gdal_config('GDAL_HTTP_PROXY')); open_dsm({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ONE_THREAD, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
    with open_dataset(path) as file:
        assert file.count == 1
