"""Metrics of rendered views against the images of the same cameras, both scaled to [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.evaluation.metrics.record import ComputedMetric

if TYPE_CHECKING:
    from refbench.evaluation.view_pair import ViewPair

VIEWS: tuple[ComputedMetric[ViewPair], ...] = (
    ComputedMetric(
        key="coverage",
        label="coverage",
        unit="fraction",
        direction="higher",
        formula="rendered views: fraction of the image that is covered",
        compute=lambda v: float(v.seen.mean()),
        shown=("table", "summary"),
    ),
    ComputedMetric(
        key="psnr_db",
        label="PSNR (dB)",
        unit="ratio",
        direction="higher",
        formula="rendered views: -10 log10 of the mean square error on covered pixels, colours in [0, 1]",
        compute=lambda v: -10 * float(np.log10(v.mean_square)) if v.mean_square else None,
        shown=("table", "summary"),
    ),
    ComputedMetric(
        key="ssim",
        label="SSIM",
        unit="ratio",
        direction="higher",
        formula="rendered views: mean over windows of 11 x 11 px (Gaussian, sigma 1.5) that are covered, per band",
        compute=lambda v: v.similarity,
        shown=("table", "summary"),
    ),
    ComputedMetric(
        key="colour_mae",
        label="colour MAE",
        unit="ratio",
        direction="lower",
        formula="rendered views: mean absolute difference of colours in [0, 1] on covered pixels",
        compute=lambda v: float(np.mean(np.abs(v.error))) if v.error.size else None,
    ),
)
