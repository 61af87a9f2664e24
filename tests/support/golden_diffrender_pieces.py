"""How golden pieces of diffrender are read and compared, for the parity tests."""

from __future__ import annotations

import re

import numpy as np
import torch
from golden_diffrender import golden_folder, load_npz, manifest

GOLDEN = golden_folder()
EXACT, GRADIENT = 1e-5, 1e-4


def agree(found, golden, fraction=EXACT):
    """``fraction`` of the largest golden value, which counts as 1 at least."""
    golden = np.asarray(golden)
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == golden.shape
    np.testing.assert_allclose(found, golden, rtol=0, atol=fraction * max(1.0, float(np.abs(golden).max())))


def tensors(path):
    data = load_npz(path)
    return {name: torch.from_numpy(value) for name, value in data.items() if value.dtype.kind in "fiu"}


def numbered(data, stem):
    """The numbers N of the arrays ``stem_N``."""
    return sorted(int(found[1]) for name in data if (found := re.fullmatch(rf"{stem}_(\d+)", name)))


def settings(path):
    return manifest()[path.name]


def beside(path, kind, stem):
    """The file ``stem`` that belongs to a golden file of ``kind``: with its suffix, or the only one."""
    own = path.stem.removeprefix(kind)
    place, dot, ending = stem.partition(".")
    found = GOLDEN / f"{place}{own}{dot}{ending}"
    return found if found.is_file() else GOLDEN / stem
