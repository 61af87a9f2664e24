"""What lies in ``$REFBENCH_GOLDEN/implicity``: the parity tests find their cases here and nowhere else."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import golden
import pytest
import torch
from golden import cases as cases
from golden import files_of, folder_of, load_json, manifest_of
from golden import load_npz as load_npz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

METHOD = "implicity"


golden_folder = partial(folder_of, METHOD)
manifest = partial(manifest_of, METHOD)
files = partial(files_of, METHOD)


def under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays below ``prefix/``, without the prefix."""
    return {key[len(prefix) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{prefix}/")}


def named_cases(kind: str) -> list[Any]:
    """(npz path, name) for every name in the json beside each npz of one kind."""
    found = []
    for path in files(kind):
        names = load_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
        found += [pytest.param(path, name, id=f"{path.stem}-{name}") for name in names]
    return found


def fill(model: torch.nn.Module, decoder: Mapping[str, NDArray[Any]] | None = None) -> torch.nn.Module:
    """Give ``model`` the recipe's weights, then those of a fitted ``decoder``; return it in eval mode."""
    golden.fill(model)
    fitted = {f"decoder.{key}": torch.from_numpy(array) for key, array in (decoder or {}).items()}
    model.load_state_dict({**model.state_dict(), **fitted})
    return model


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
