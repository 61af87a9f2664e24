"""What the engine makes of what methods give: NoData kept, layers written, broken contracts told from bad input."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from refbench.engine.job.launch import run_job
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.files.hashing import hash_tree

WORDS = {
    "empty": "no valid height",
    "infinite": "finite or NaN",
    "cropped": "rows and columns",
    "moved": "another grid",
    "spread": "(3, 3)",
    "climbing": "'../../up'",
    "array": "not a Prediction",
    "wide": "(1, 3, 3)",
    "blank": "no valid height",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("REFBENCH_PLUGINS", str(__file__).replace("test_method_contract", "contract_plugin"))
    monkeypatch.setenv("REFBENCH_TEST_WEIGHTS", str(tmp_path / "smaller"))
    heights = 100 + np.random.default_rng(0).normal(0, 0.3, (192, 200)).astype(np.float32)
    heights[20:30, 40:50] = -9999
    paths = {}
    for name, values in {"dsm": heights, "reference": np.where(heights > 0, 100, heights).astype(np.float32)}.items():
        paths[name] = str(tmp_path / f"{name}.tif")
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:32632", "nodata": -9999}
        place = {"transform": Affine(1, 0, 500_000, 0, -1, 5_000_000), "height": 192, "width": 200}
        with rasterio.open(paths[name], "w", **profile, **place) as file:
            file.write(values, 1)

    def start(method, **options):
        result = run_job(JobRequest(method, SceneRequest(files=paths), str(tmp_path / method), **options))
        return result, tmp_path / method

    return start


def band(path):
    with rasterio.open(path) as file:
        return file.read(1, masked=True)


@pytest.mark.parametrize("method", WORDS)
def test_a_broken_contract_fails_with_the_name_of_the_method(run, method):
    result, folder = run(method)
    assert result.status is Status.FAILED and result.status.exit_code == 1
    assert result.reason.startswith(f"{method} did not keep to its contract: ") and WORDS[method] in result.reason
    assert not (folder.parent.parent / "up.tif").exists() and (folder / "result.json").is_file()


def test_nodata_stays_where_the_record_does_not_say_that_it_fills(run):
    kept, folder = run("layered")
    assert kept.status is Status.OK, kept.reason
    for name in ("dsm.tif", "confidence.tif"):
        values = np.ma.masked_invalid(band(folder / name))
        assert values.mask.sum() == 100 and values.mask[20:30, 40:50].all()
    assert (band(folder / "confidence.tif")[0] == 0.5).all() and (band(folder / "view_count.tif") == 7).all()
    assert kept.outputs["view_count"] == "view_count.tif" and len(kept.hashes.outputs["view_count.tif"]) == 64
    filled, folder = run("filling")
    assert filled.status is Status.OK and band(folder / "dsm.tif").count() == 192 * 200


def test_a_worse_dsm_is_warned_of_and_a_like_one_is_not(run):
    warnings = run("layered")[0].warnings
    assert any("worse than the input: MAE 3.0" in text for text in warnings), warnings
    assert not any("worse" in text for text in run("fallback")[0].warnings)


def test_lost_heights_are_counted(run):
    result, _ = run("torn")
    assert result.status is Status.OK
    assert any(text.startswith("200 pixels with an initial height have no finite one") for text in result.warnings)


def test_the_weights_that_ran_are_named_and_hashed(run, tmp_path):
    for name in ("asked", "smaller"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.yaml").write_text(f"name: {name}\n")
    result, _ = run("fallback", weights=str(tmp_path / "asked"))
    assert result.status is Status.OK and result.weights == str(tmp_path / "smaller")
    assert result.hashes.weights == hash_tree(tmp_path / "smaller") != hash_tree(tmp_path / "asked")
