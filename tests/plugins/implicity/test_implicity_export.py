"""Scenes exported as official data sets."""

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from implicity_block import GSD, NORTH, SIDE, WEST, block, real_scene  # noqa: E402
from makers import grid_of  # noqa: E402

from refbench import DSM, Image  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench_implicity.official.files import Files  # noqa: E402


def test_export_writes_counts_and_a_whole_configuration(tmp_path):
    from refbench_implicity.official.export import export_scene

    grid = grid_of(SIDE, SIDE, GSD, WEST, NORTH, None)
    bands = np.stack([np.linspace(0, 1, SIDE, dtype=np.float32)] * SIDE)
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[:5] = False
    images = {name: ArraySource(Image(bands[None], grid, valid=valid)) for name in "ab"}
    export_scene(real_scene(orthos=images)[0], tmp_path / "set")
    config = yaml.safe_load((tmp_path / "set" / "config.yaml").read_text())
    assert config["dataset"]["patch_size"] == [64.0, 64.0] and config["model"]["encoder2_kwargs"]["in_channel"] == 2
    translated = Files().read_config(tmp_path / "set" / "config.yaml")
    assert translated.values["dataset"]["path"] == str(tmp_path / "set")
    import rasterio

    with rasterio.open(tmp_path / "set" / "raster" / "ortho_0.tif") as file:
        values = file.read(1)
        assert file.count == 1 and values.dtype == np.uint16
    assert values.max() == 10_000 and len(np.unique(values)) > 100  # the official loader cuts to whole numbers
    assert set(np.unique(values[:5])) == {5000}


def test_export_fits_the_patch_to_a_small_scene(tmp_path):
    from refbench_implicity.official.export import export_scene

    grid = grid_of(40, 50, GSD, WEST, NORTH, None)
    small = DSM(block().dsm[:40, :50].copy(), grid)
    changes = {"orthos": {}, "grid": grid, "reference": Reference(dsm=ArraySource(small))}
    export_scene(real_scene(**changes)[0], tmp_path / "set")
    config = yaml.safe_load((tmp_path / "set" / "config.yaml").read_text())
    assert config["dataset"]["patch_size"] == [16.0, 16.0] and config["model"]["method"] == "conv_onet"
