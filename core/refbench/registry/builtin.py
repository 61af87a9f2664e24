"""What refbench itself registers, as a plugin would: importers of layouts that belong to no method."""

from __future__ import annotations

from refbench.registry.hookspecs import hookimpl
from refbench.registry.layouts import LAYOUTS
from refbench.registry.records import AssessorRecord, ImporterRecord, Score


@hookimpl
def refbench_importers() -> list[ImporterRecord]:
    """Return the readers of layouts that belong to no method."""
    return list(LAYOUTS)


@hookimpl
def refbench_assessors() -> list[AssessorRecord]:
    """Return the scores of buildings of CORE3D."""
    ratios = (("completeness", "recall"), ("correctness", "precision"), ("fscore", "F1"), ("jaccard", "IoU"))
    return [
        AssessorRecord(
            name="core3d",
            target="refbench.evaluation.core3d:assess_core3d",
            summary="Building footprints, volumes and outlines as core3d-metrics defines them.",
            scores=(
                *(Score(f"2d_{key}", f"{what} of footprint pixels", higher_is_better=True) for key, what in ratios),
                *(Score(f"3d_{key}", f"{what} of volumes", higher_is_better=True) for key, what in ratios),
                Score("z50", "50th percentile of |e| in both footprints, m", higher_is_better=False),
                Score("zrmse", "68th percentile of |e|, called RMSE there, m", higher_is_better=False),
                Score("z90", "90th percentile of |e|, m", higher_is_better=False),
                Score("zrmse_explicit", "root mean square of e, m", higher_is_better=False),
                Score("h50", "50th percentile of the distance of outlines, m", higher_is_better=False),
                Score("hrmse", "63rd percentile of it, called RMSE there, m", higher_is_better=False),
                Score("h90", "90th percentile of it, m", higher_is_better=False),
                Score("reference_volume", "volume of the reference's buildings, m3"),
                Score("test_volume", "volume of the evaluated buildings, m3"),
            ),
            options={
                "mask": "a building mask of the evaluated DSM, a raster of 0 and 1",
                "dtm": "the reference terrain, for volumes; without it there are none",
                "reference_mask": "the scene's mask to score against; default building",
            },
            reference="Bosch et al.: Metric evaluation pipeline for 3D modeling of urban scenes, ISPRS Archives 2017",
        )
    ]
