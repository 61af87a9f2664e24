"""MEC folders of MicMac as scenes."""

import numpy as np
import pytest
from makers import hills, write_tif
from pipeline_folders import micmac_folder, the_grid

from refbench import Window
from refbench.contracts.errors import InputError
from refbench.scenes.importers.micmac import is_micmac_folder, last_z_image, open_micmac

LAST = "Z_Num9_DeZoom1_STD-MALT"


@pytest.mark.parametrize("tfw", [True, False])
def test_counts_become_altitudes_on_the_ground(tmp_path, tfw):
    folder = micmac_folder(tmp_path / "MEC", tfw=tfw)
    assert is_micmac_folder(folder) and not is_micmac_folder(tmp_path)
    scene = open_micmac(folder)
    assert scene.grid == the_grid() and last_z_image(folder).stem == LAST
    heights = scene.dsm.read().heights
    # A count in single precision holds a hundredth of a step of 5 cm.
    assert np.isnan(heights[:6, :7]).all() and np.abs(heights[6:] - hills(the_grid())[6:]).max() < 1e-4
    part = scene.dsm.read(Window(70, 60, 20, 20))
    assert part.heights.shape == (20, 20) and np.array_equal(part.heights[:12, :10], heights[60:, 70:])
    assert np.isnan(part.heights[12:]).all() and part.grid == the_grid().window(Window(70, 60, 20, 20))
    correlation = scene.layers["correlation"].read()
    assert correlation.grid == the_grid() and correlation.pixels[0, 0, -1] == 255
    assert {path.suffix for path in scene.dsm.files} >= {".tif", ".xml"}


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("crs.txt", None, "names no CRS, as MicMac writes none"),
        ("crs.txt", "EPSG:4326", "degrees|geographic"),
        (f"{LAST}.xml", None, "altitudes of .* are not known"),
        (f"{LAST}.xml", "<FileOriMnt>", "is no description of MicMac"),
        (f"{LAST}.xml", "<Other/>", "is no description of MicMac"),
        (f"{LAST}.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><FileOriMnt/>", "declares a document type"),
        (f"{LAST}.xml", "<FileOriMnt><OriginePlani>1</OriginePlani></FileOriMnt>", "is no description of MicMac"),
        (f"{LAST}.tfw", "1\n2\n", "must hold six numbers"),
    ],
)
def test_what_lacks_or_is_broken_is_one_sentence(tmp_path, file, text, words):
    folder = micmac_folder(tmp_path / "MEC")
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(InputError, match=words):
        open_micmac(folder)


def test_images_geometry_tiles_and_two_runs_are_refused(tmp_path):
    folder = micmac_folder(tmp_path / "MEC")
    xml = folder / f"{LAST}.xml"
    xml.write_text(xml.read_text().replace("eGeomMNTEuclid", "eGeomMNTFaisceauIm1PrCh_Px1D"))
    with pytest.raises(InputError, match="an image's own geometry"):
        open_micmac(folder)
    write_tif(folder / "Z_Num9_DeZoom1_other.tif", np.zeros((9, 9), np.float32))
    with pytest.raises(InputError, match="of 2 runs"):
        open_micmac(folder)
    write_tif(folder / f"{LAST}_Tile_0_0.tif", np.zeros((9, 9), np.float32))
    with pytest.raises(InputError, match="in tiles"):
        open_micmac(folder)
