"""What lies in ``$REFBENCH_GOLDEN/implicity``: the parity tests find their cases here and nowhere else.

Files are found by the kind prefix of their name. A kind that a folder lacks yields no test at all, not a skip.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

METHOD = "implicity"


def golden_root() -> Path:
    """The folder of all golden data."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "golden"
    return Path(os.environ.get("REFBENCH_GOLDEN", beside))


def golden_folder() -> Path:
    """The golden folder of the method; skips the calling module where it is absent."""
    folder = golden_root() / METHOD
    if not folder.is_dir():
        pytest.skip(f"no golden data: {folder} does not exist (set REFBENCH_GOLDEN)", allow_module_level=True)
    return folder.resolve()


@cache
def manifest() -> dict[str, Any]:
    """What the arrays do not hold; empty where the folder has no manifest."""
    path = golden_folder() / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@cache
def load_json(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays below ``prefix/``, without the prefix."""
    return {key[len(prefix) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{prefix}/")}


def files(kind: str, suffix: str = ".npz") -> list[Path]:
    """The files of one kind: ``kind.npz`` or ``kind_anything.npz``."""
    found = sorted(golden_folder().glob(f"{kind}*{suffix}"))
    return [path for path in found if path.stem == kind or path.stem.startswith(f"{kind}_")]


def named_cases(kind: str) -> list[Any]:
    """(npz path, name) for every name in the json beside each npz of one kind."""
    found = []
    for path in files(kind):
        names = load_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
        found += [pytest.param(path, name, id=f"{path.stem}-{name}") for name in names]
    return found


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


def fill(model: torch.nn.Module, decoder: Mapping[str, NDArray[Any]] | None = None) -> torch.nn.Module:
    """Give ``model`` the recipe's weights, then those of a fitted ``decoder``; return it in eval mode."""
    with torch.no_grad():
        state = model.state_dict()
        _recipe().fill_state_dict(state)
        for key, array in (decoder or {}).items():
            state[f"decoder.{key}"].copy_(torch.from_numpy(array))
    return model.eval()


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """The recursive merge of an ``override`` in the json files."""
    out = dict(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def merged_config(variant: str, override: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The merged official configuration of a variant with a case's override."""
    stored = copy.deepcopy(load_json(golden_folder() / "config" / f"merged_{variant}.json"))
    return merge(stored, override or {})


def scene_images(scene: Path, count: int) -> list[Path]:
    """The first ``count`` ortho images of a scene."""
    return [scene / "raster" / f"ortho_{i}.tif" for i in range(count)]


def on_scene(config: Mapping[str, Any], scene: str, **dataset: Any) -> dict[str, Any]:
    """A merged configuration whose paths are those of a golden ``scene``; ``dataset`` replaces keys of its section."""
    folder = golden_folder() / scene
    raster = folder / "raster"
    paths: dict[str, Any] = {
        "path": str(folder),
        "dsm_gt_path": str(raster / "gt_dsm.tif"),
        "mask_files": {name: str(raster / f"mask_{name}.tif") for name in ("gt", "building", "forest", "water")},
    }
    out = merge(config, {"dataset": {**paths, **dataset}})
    block = out["dataset"].get("satellite_image")
    if block:
        pairs = [path.name for path in scene_images(folder, len(block["pairs"]))]
        out = merge(out, {"dataset": {"satellite_image": {"folder": str(raster), "pairs": pairs}}})
    return out


def array_items(arrays: Mapping[str, NDArray[Any]]) -> Iterable[str]:
    """The first path components of npz keys, each once."""
    return dict.fromkeys(key.partition("/")[0] for key in arrays)
