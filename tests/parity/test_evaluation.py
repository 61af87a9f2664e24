"""Parity of the evaluation with public tools and formulas: every case is read from the golden files."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from golden_evaluation import FOLDER, cases
from golden_geometry import *  # noqa: F403  # its tests are collected here

from refbench.contracts.raster import Mask
from refbench.evaluation.footprint import (
    footprint_scores,
    horizontal_errors,
    relative_accuracy,
    volume_scores,
)
from refbench.evaluation.ground import shape_scores
from refbench.evaluation.image_scores import image_scores
from refbench.evaluation.shape import STEP_EDGE_M, ShapePair, Surface
from refbench.evaluation.slope import florinsky_gradient, horn_gradient, slope_rad
from refbench.evaluation.statistics import relative_gain, statistics
from refbench.evaluation.strata import land_strata
from refbench.evaluation.tool_statistics import demcompare_statistics, xdem_statistics
from refbench.formats.raster import open_dsm

GOLDENS = "published tools and closed forms"

URBAN = FOLDER / "urban"


def expected(name):
    path = URBAN / f"expected_{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def manifest(name):
    path = FOLDER / "manifest.json"
    return json.loads(path.read_text())[f"urban/expected_{name}.json"] if path.exists() else {}


def read(name):
    with rasterio.open(URBAN / f"{name}.tif") as file:
        values = file.read(1)
    return open_dsm(URBAN / f"{name}.tif").read().heights if values.dtype == np.float32 else values


def transform():
    with rasterio.open(URBAN / "ref_dsm.tif") as file:
        return file.transform


def gsd():
    return float(transform().a)


def urban():
    """Return reference heights, reference domain and strata."""
    reference, gt = read("ref_dsm"), read("gt_mask") == 1
    masks = {name: Mask(read(f"{name}_mask"), name=name) for name in ("building", "water", "forest")}
    strata = land_strata(masks, expected_dilation()) | {"all": np.ones(reference.shape, bool)}
    return reference, np.isfinite(reference) & gt, strata


def expected_dilation():
    return manifest("standard").get("building_dilation", 2)


def residuals(name):
    reference, base, strata = urban()
    evaluated = read(f"{name}_dsm")
    return evaluated.astype(np.float64) - reference, base, np.isfinite(evaluated), strata


def check(found, wanted, rel, absolute=0.0):
    for key, value in wanted.items():
        if isinstance(value, dict):
            check(found[key], value, rel, absolute)
        elif value is None:
            assert found[key] is None, key
        else:
            assert found[key] == pytest.approx(value, rel=rel, abs=absolute), key


EVALUATED = [name for name in expected("standard") if isinstance(expected("standard")[name], dict)]
EVALUATED = [name for name in EVALUATED if "strata" in expected("standard")[name]]
STRATA = [(name, stratum) for name in EVALUATED for stratum in expected("standard")[name]["strata"]]


@cases(("name", "stratum"), STRATA)
def test_standard_statistics(name, stratum):
    e, base, valid, strata = residuals(name)
    where = base & strata[stratum]
    check(statistics(e[where & valid], int(where.sum())), expected("standard")[name]["strata"][stratum], 1e-9, 1e-12)


@cases("name", EVALUATED)
def test_standard_shape(name):
    reference, base, strata = urban()
    heights, facts = read(f"{name}_dsm"), manifest("standard")
    domain = base & np.isfinite(heights)
    assert facts.get("roof_erosion_normals", 3) == 3 and facts.get("roof_erosion_plane", 2) == 2
    assert facts.get("step_edge_m", 2.0) == STEP_EDGE_M
    pair = (Surface(z, transform()) for z in (heights, reference))
    found = shape_scores(ShapePair(*pair, domain, strata, read("building_labels")))
    wanted = dict(expected("standard")[name]["shape"])
    per_label = wanted.pop("roof_plane_rms_per_label_m", None)
    check(found, wanted, 1e-9)
    if per_label is not None:
        assert found["roof_plane_rms_per_label_m"] == pytest.approx(per_label, rel=1e-9)


@cases("key", expected("standard").get("relative_gain", {}))
def test_standard_gain(key):
    pair = []
    for name in ("initial", "refined"):
        e, base, valid, _ = residuals(name)
        pair.append(statistics(e[base & valid]))
    assert relative_gain(*pair)[key] == pytest.approx(expected("standard")["relative_gain"][key], rel=1e-9)


@cases("key", expected("standard").get("building_footprint", {}))
def test_standard_footprint(key):
    _, base, valid, _ = residuals("refined")
    found = footprint_scores(read("refined_building_mask") == 1, read("building_mask") == 1, ~(base & valid))
    ours = {"tp": "TP", "fp": "FP", "fn": "FN", "iou": "jaccardIndex", "f1": "fscore"}
    assert found[ours.get(key, key)] == pytest.approx(expected("standard")["building_footprint"][key], rel=1e-9)


RESDEPTH = {"MAE": "mae", "RMSE": "rmse", "absolute_median": "medae", "median": "median", "NMAD": "nmad_about_medae"}
IMPLICITY = {"MAE": "mae", "RMSE": "rmse", "abs_median": "medae", "median": "median", "NMAD": "nmad_about_medae"}
IMPLICITY |= {"n_pixel": "n", "max": "max", "min": "min"}
IMPLICITY_STRATA = {"overall": "all", "terrain_wo_water": "terrain_nowater", "terrain_wo_forest": "terrain_noforest"}
OFFICIAL = [
    (tool, name, stratum)
    for tool in ("resdepth", "implicity")
    for name, strata in expected("official").get(tool, {}).items()
    for stratum in strata
]


@cases(("tool", "name", "stratum"), OFFICIAL)
def test_official_statistics(tool, name, stratum):
    e, base, valid, strata = residuals(name)
    found = statistics(e[base & valid & strata[IMPLICITY_STRATA.get(stratum, stratum)]])
    wanted = expected("official")[tool][name][stratum]
    if tool == "implicity":
        check({key: found[ours] for key, ours in IMPLICITY.items()}, wanted, 1e-9)
        return
    assert wanted["truncated"]["threshold"] == 5.0
    check(
        {key: found["truncated_5m"][ours] for key, ours in RESDEPTH.items()},
        {k: wanted["truncated"][k] for k in RESDEPTH},
        1e-9,
    )
    assert found["truncated_5m"]["n"] == wanted["truncated"]["count_total"]
    ours = {**RESDEPTH, "count_total": "n", "diff_max": "max", "diff_min": "min"}
    check({key: found[name] for key, name in ours.items()}, {key: wanted[key] for key in ours}, 1e-9)


def core3d_inputs():
    name = manifest("official").get("core3d_test_dsm", "refined")
    reference, test = read("ref_dsm").astype(np.float64), read(f"{name}_dsm").astype(np.float64)
    ignored = ~(np.isfinite(reference) & (read("gt_mask") == 1) & np.isfinite(test))
    return reference, test, read("building_mask") == 1, read(f"{name}_building_mask") == 1, ignored


@cases("section", expected("official").get("core3d", {}).get("threshold_geometry", {}))
def test_core3d_geometry(section):
    reference, test, reference_mask, found, ignored = core3d_inputs()
    terrain = read("ref_dtm").astype(np.float64)
    scores = volume_scores(test - terrain, reference - terrain, found, reference_mask, ignored, gsd() ** 2)
    scores["2D"] = footprint_scores(found, reference_mask, ignored)
    check(scores[section], expected("official")["core3d"]["threshold_geometry"][section], 1e-9)


@cases("key", expected("official").get("core3d", {}).get("relative_accuracy", {}))
def test_core3d_accuracy(key):
    if any(key.startswith(part) for part in manifest("official").get("core3d_exclude_keys", [])):
        assert key.startswith(("signed_x", "signed_y"))  # they depend on the order of ties
        return
    reference, test, reference_mask, found, ignored = core3d_inputs()
    vertical = (test - reference)[reference_mask & found & ~ignored]
    scores = relative_accuracy(vertical, horizontal_errors(found, reference_mask, ignored, (gsd(), gsd())))
    assert scores[key] == pytest.approx(expected("official")["core3d"]["relative_accuracy"][key], rel=1e-9)


XDEM = [
    (name, section)
    for name in ("initial", "refined")
    for section in expected("xdem").get(name, {})
    if isinstance(expected("xdem")[name][section], dict)
]


@cases(("name", "section"), XDEM)
def test_xdem(name, section):
    e, _, _, _ = residuals(name)
    wanted = expected("xdem")[name][section]
    if section == "image":
        scores = image_scores(read(f"{name}_dsm"), read("ref_dsm"))
        ours = {
            "data_range": "data_range",
            "fill_value": "fill",
            "psnr_db": "psnr_db",
            "n_valid_windows": "n_valid_windows",
        }
        ours |= {"ssim_mean_skimage_cropped": "ssim_cropped", "ssim_mean_valid_windows": "ssim"}
        check({key: scores[own] for key, own in ours.items()}, wanted, 1e-4)
        return
    inlier = read("building_mask") == 1 if "inlier" in section else None
    check(xdem_statistics(e, inlier), wanted, 1e-4)


@cases("key", expected("xdem").get("reference_slope_deg", {}))
def test_xdem_slope_summary(key):
    slope = np.degrees(slope_rad(*horn_gradient(read("ref_dsm"), transform())))
    slope = slope[np.isfinite(slope)]
    found = {"n_finite": slope.size, "mean": slope.mean(), "median": np.median(slope), "max": slope.max()}
    assert found[key] == pytest.approx(expected("xdem")["reference_slope_deg"][key], rel=1e-4)


DEMCOMPARE = [
    (case, layer) for case, layers in expected("demcompare").items() if isinstance(layers, dict) for layer in layers
]


@cases(("case", "layer"), DEMCOMPARE)
def test_demcompare(case, layer):
    name, _, switch = case.partition("_remove_outliers_")
    wanted = expected("demcompare")[case][layer]
    classes = expected("demcompare")[case].get("slope_classes", {})
    edges = tuple(float(label.rpartition(":")[2]) for label in classes)
    building = read("building_mask")
    found = demcompare_statistics(
        read(f"{name}_dsm").astype(np.float64),
        read("ref_dsm").astype(np.float64),
        transform(),
        edges,
        {"0": building == 0, "1": building == 1},
        remove_outliers=switch == "true",
    )["slope" if layer == "slope_classes" else layer]
    rows = list(found.values())
    for label, values in wanted.items():
        row = rows[list(classes).index(label)] if layer == "slope_classes" else rows[0]
        if layer == "building_segmentation":
            row = found[label.rpartition("[")[2].rstrip("]")]
        check(row, values, 1e-6, 5e-6)


SLOPES = [] if not (URBAN / "expected_slope.npz").exists() else list(np.load(URBAN / "expected_slope.npz"))


@cases("key", SLOPES)
def test_slope(key):
    wanted = np.load(URBAN / "expected_slope.npz")[key]
    gradient = horn_gradient if "horn" in key else florinsky_gradient
    found = np.degrees(slope_rad(*gradient(read("ref_dsm"), transform())))
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
    assert np.nanmax(np.abs(found - wanted)) < 1e-4


def vectors():
    path = FOLDER / "nodata_vectors.json"
    return json.loads(path.read_text()) if path.exists() else {}


def valid_in_a_file(path, values, nodata):
    """Where the reader of DSMs sees heights in one row of values."""
    where = {"crs": "EPSG:32632", "transform": Affine(1, 0, 5e5, 0, -1, 5e6), "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", len(values), 1, 1, dtype="float32", **where) as file:
        file.write(values.astype(np.float32)[None], 1)
    return open_dsm(path).read().valid[0]


@cases("key", vectors().get("expected", {}))
def test_nodata_vectors(tmp_path, key):
    facts = vectors()
    pair = [np.array([float(v) for v in facts[name]]) for name in ("evaluated", "reference")]
    evaluated, reference = (
        valid_in_a_file(tmp_path / f"{n}.tif", v, facts[f"{n}_nodata"])
        for v, n in zip(pair, ("evaluated", "reference"), strict=True)
    )
    domain = reference & (np.array(facts["valid_mask"]) == 1)
    where = domain & evaluated
    found = statistics((pair[0] - pair[1])[where], int(domain.sum()))
    found |= {"n_evaluated_valid_in_domain": found["n"]}
    assert found[key] == pytest.approx(facts["expected"][key], rel=1e-9)
