"""Scores of an occupancy field on query points, by the official rules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray


def accuracy(reference: ArrayLike, predicted: ArrayLike) -> float:
    """Return the fraction of equal labels; 0 for an empty set."""
    equal = np.asarray(reference) == np.asarray(predicted)
    return float(equal.mean()) if equal.size else 0.0


def precision_recall(reference: ArrayLike, predicted: ArrayLike, classes: int = 2) -> tuple[float, float]:
    """Return precision and recall: of class 1 for two classes, else the plain mean over the classes.

    A class that is never predicted (never present) has precision (recall) 0, and so has an empty set.
    """
    reference, predicted = np.asarray(reference).ravel(), np.asarray(predicted).ravel()
    scores = []
    for label in (1,) if classes == 2 else range(classes):
        is_true, is_predicted = reference == label, predicted == label
        hits = np.count_nonzero(is_true & is_predicted)
        scores.append([hits / max(1, int(np.count_nonzero(part))) for part in (is_predicted, is_true)])
    precision, recall = np.mean(scores, axis=0)
    return float(precision), float(recall)


def intersection_over_union(reference: ArrayLike, predicted: ArrayLike) -> float:
    """Return |A and B| / |A or B| of the labels > 0, rounded to float32; NaN where both are empty."""
    a, b = np.asarray(reference) > 0, np.asarray(predicted) > 0
    union = np.count_nonzero(a | b)
    return float(np.float32(np.count_nonzero(a & b)) / np.float32(union)) if union else math.nan


def query_scores(
    reference: NDArray[np.float32],
    predicted: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    classes: int = 2,
) -> dict[str, float]:
    """Return the official metrics of one patch, keyed as in its logs (``accuracy``, ``accuracy/building``, ...).

    ``reference`` and ``predicted`` are labels [M]; ``masks`` bool [M] by land type. All query points count, per land
    type those with mask 1.
    """
    scores: dict[str, float] = {}
    subsets: dict[str, NDArray[np.bool_] | slice] = {"": slice(None)}
    subsets |= {f"/{kind}": mask for kind, mask in masks.items() if kind != "gt"}
    for suffix, subset in subsets.items():
        a, b = reference[subset], predicted[subset]
        scores[f"accuracy{suffix}"] = accuracy(a, b)
        scores[f"precision{suffix}"], scores[f"recall{suffix}"] = precision_recall(a, b, classes)
    scores["iou"] = intersection_over_union(reference, predicted)
    return scores


def mean_scores(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the unweighted mean over patches of every key; NaN stays NaN."""
    rows = list(scores)
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows else {}
