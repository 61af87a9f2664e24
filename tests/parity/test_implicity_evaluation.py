"""Parity of ImpliCity's evaluation with the official code.

Cases and every parameter come from the golden folder; see ``golden_implicity``. The weights are the recipe's.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from affine import Affine
from golden_implicity import (
    array_items,
    cases,
    files,
    load_json,
    load_npz,
    manifest,
    under,
)
from golden_implicity_rasters import check_statistics, close, golden_rasters

from refbench.contracts.grid import Grid
from refbench_implicity.official.report import BUILDING_DILATION, evaluate_official
from refbench_implicity.training.validation import accuracy, intersection_over_union, precision_recall


def eval_cases(what):
    """(npz, case) of the evaluations that hold an array ``what``."""
    return [
        pytest.param(path, name, id=f"{path.stem}-{name}")
        for path in files("eval")
        for name in array_items(load_npz(path))
        if f"{name}/{what}" in load_npz(path)
    ]


@cases("path, name", eval_cases("target"))
def test_eval(path, name):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    rules = manifest()["eval"]
    reference, masks, reference_grid = golden_rasters(rules["scene"])
    rows, cols = arrays["target"].shape
    grid = Grid(cols, rows, Affine(*case["transform"]))
    dilation = rules.get("building_dilation", BUILDING_DILATION)
    result = evaluate_official(arrays["target"], grid, reference, masks, reference_grid, dilation)
    check_statistics(result.statistics, case["stats"], 1e-9)
    if "residual" in arrays:
        close(result.residual, arrays["residual"], 1e-9)
    if "report" in case:
        title = case["report"].splitlines()[2]
        created = datetime(2022, 9, 1, 12, 0, 0)
        report = result.report(title, created).replace("2022-09-01 12:00:00", "<timestamp>")
        assert report == case["report"]


@cases("path, name", eval_cases("pred"))
def test_eval_classes(path, name):
    case, arrays = load_json(path.with_suffix(".json"))[name], under(load_npz(path), name)
    classes = manifest()["eval"]["classes"][name]
    reference, predicted = arrays["gt"], arrays["pred"]
    precision, recall = precision_recall(reference, predicted, classes)
    assert accuracy(reference, predicted) == pytest.approx(case["accuracy"], abs=1e-9)
    assert precision == pytest.approx(case["precision"], abs=1e-6)
    assert recall == pytest.approx(case["recall"], abs=1e-6)
    assert intersection_over_union(reference, predicted) == pytest.approx(case["iou"], abs=1e-6)
    if "empty" in case:
        nothing = np.empty(0)
        found = [accuracy(nothing, nothing), *precision_recall(nothing, nothing, classes)]
        assert found == pytest.approx(case["empty"], abs=1e-9)
