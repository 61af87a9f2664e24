"""A plugin with assessors that end in every way; used through REFBENCH_PLUGINS."""

import numpy as np

from refbench import DSM, AssessorRecord, InputError, Mask, Score, hookimpl


def heights(evaluated, reference, masks, options):
    assert isinstance(evaluated, DSM) and all(isinstance(mask, Mask) for mask in masks.values())
    assert all(mask.grid in (None, evaluated.grid) for mask in masks.values())
    found = {
        "mean": np.nanmean(evaluated.heights),
        "known": np.count_nonzero(evaluated.valid),
        "truth": reference is not None,
        "masks": len(masks),
        "none": float("nan"),
    }
    return found | {f"option_{key}": value for key, value in options.items()}


def refusing(evaluated, reference, masks, options):
    raise InputError("Give me a better DSM.")


def broken(evaluated, reference, masks, options):
    raise RuntimeError("the ruler is bent")


def _record(name):
    return AssessorRecord(name, f"assessor_plugin:{name}", f"Looks: {name}.", (Score("mean", "mean height"),))


@hookimpl
def refbench_assessors():
    return [_record(name) for name in ("heights", "refusing", "broken")]
