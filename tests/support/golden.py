"""What the parity tests of all methods share: where golden data lie and how they become test cases.

Files are found by the kind prefix of their name. A kind that a folder lacks yields no test at all, not a skip.
"""

from __future__ import annotations

import importlib.util
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch
    from numpy.typing import NDArray


def golden_root() -> Path:
    """The folder of all golden data."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "golden"
    return Path(os.environ.get("REFBENCH_GOLDEN", beside))


def folder_of(method: str) -> Path:
    """The golden folder of a method; skips the calling module where it is absent."""
    folder = golden_root() / method
    if not folder.is_dir():
        pytest.skip(f"no golden data: {folder} does not exist (set REFBENCH_GOLDEN)", allow_module_level=True)
    return folder.resolve()


def manifest_of(method: str) -> dict[str, Any]:
    """What the arrays of a method do not hold; empty where the folder has no manifest."""
    path = folder_of(method) / "manifest.json"
    return load_json(path) if path.is_file() else {}


@cache
def load_json(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def files_of(method: str, kind: str, suffix: str = ".npz") -> list[Path]:
    """The files of one kind: ``kind.npz`` or ``kind_anything.npz``."""
    found = sorted(folder_of(method).glob(f"{kind}*{suffix}"))
    return [path for path in found if path.stem == kind or path.stem.startswith(f"{kind}_")]


def cases(names: str, found: Iterable[Any]) -> Callable[[Any], Any]:
    """Like ``parametrize``, but no cases make no test (pytest itself would report a skip)."""
    listed = list(found)
    return pytest.mark.parametrize(names, listed) if listed else lambda function: None


@cache
def _recipe() -> Any:
    spec = importlib.util.spec_from_file_location("golden_fill", golden_root() / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """Give ``model`` the recipe's weights; return it in eval mode."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _recipe().fill_state_dict(state)
    model.load_state_dict(state)
    return model.eval()
