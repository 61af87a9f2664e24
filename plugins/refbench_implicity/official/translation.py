"""Official ImpliCity configurations as values of ``ImpliCityConfig``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from refbench.contracts.errors import ConfigError
from refbench_implicity.config import ImpliCityConfig
from refbench_implicity.official.config import check_official, locate

if TYPE_CHECKING:
    from collections.abc import Mapping


def typed_config(official: Mapping[str, Any], path: Path) -> ImpliCityConfig:
    """Return a merged official configuration as this method's; ``path`` is where it was read.

    Raises
    ------
    ConfigError
        An unknown, ill-typed or unsupported key.
    """
    checked, _ = check_official(official, path)
    return typed(translate(checked, path), path)


def typed(values: Mapping[str, Any], path: Path) -> ImpliCityConfig:
    """Return the dataclass of translated values; ``path`` is named in errors.

    Raises
    ------
    ConfigError
        An ill-typed key.
    """
    try:
        return TypeAdapter(ImpliCityConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def translate(official: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a checked official configuration as values of ``ImpliCityConfig``; ``path`` is where it was read."""
    out: dict[str, Any] = {}
    if (model := official.get("model")) is not None:
        out["model"] = model_values(model, path)
    dataset = official.get("dataset") or {}
    out |= _lengths(dataset, path)
    out["normalisation"] = _normalisation(dataset, path)
    out["dataset"] = _dataset(official, path)
    if (pixel := _image_pixel(out["dataset"])) is not None:
        out["pixel_size"] = pixel
    test = official.get("test") or {}
    if "threshold" in test:
        out["threshold"] = test["threshold"]
    if test.get("check_point") is not None:
        out["weights"] = str(locate(test["check_point"], path) or test["check_point"])
    out["surface"] = _surface(official.get("dsm_generation") or {})
    out["training"] = _training(official.get("training") or {}, path)
    return out


def model_values(model: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return an official ``model`` section as values of ``ModelConfig``."""
    if model.get("data_dim", 3) != 3:
        raise ConfigError(f"{path}: model.data_dim must be 3, got {model['data_dim']}.")
    points = dict(model.get("encoder_kwargs") or {})
    if points.pop("unet3d", False):
        raise ConfigError(f"{path}: model.encoder_kwargs.unet3d is not supported; the official network never runs it.")
    points.pop("plane_type", None)
    unet = points.pop("unet", True)
    details = points.pop("unet_kwargs", None) or {}
    decoder = dict(model.get("decoder_kwargs") or {})
    decoder.pop("out_dim", None)  # follows from multi_label
    images = None
    if model.get("method") == "implicity_onet":
        images = dict(model.get("encoder2_kwargs") or {})
    elif model.get("encoder2_kwargs"):
        raise ConfigError(f"{path}: model.encoder2_kwargs needs model.method implicity_onet.")
    return {
        "point_encoder": {**points, "unet": details if unet else None},
        "image_encoder": images,
        "decoder": decoder,
        "multi_label": model.get("multi_label", False),
    }


def _lengths(dataset: Mapping[str, Any], path: Path) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if (size := dataset.get("patch_size")) is not None:
        if size[0] != size[1]:
            raise ConfigError(f"{path}: dataset.patch_size must be square, got {size}.")
        out["patch_size"] = size[0]
    if (strip := (dataset.get("sliding_window") or {}).get("test_strip")) is not None:
        out["patch_stride"] = strip
    return out


def _normalisation(dataset: Mapping[str, Any], path: Path) -> dict[str, Any]:
    rules = dataset.get("normalize") or {}
    for axis in ("x_range", "y_range"):
        if rules.get(axis, [0, 1]) != [0, 1]:
            raise ConfigError(f"{path}: dataset.normalize.{axis} must be [0, 1], got {rules[axis]}.")
    out = {key: rules[key] for key in ("z_std", "z_shift") if key in rules}
    images = (dataset.get("satellite_image") or {}).get("normalize")
    if images is not None:
        out |= {f"image_{key}": value for key, value in images.items()} | {"image_rule": "fixed", "bands": "first"}
    return out


def _dataset(official: Mapping[str, Any], path: Path) -> dict[str, Any]:
    source = dict(official.get("dataset") or {})
    out = {key: source[key] for key in ("n_input_points", "n_query_points", "use_surface") if key in source}
    out |= {key: source[key] for key in source if key in ("name", "subsample_val") or key.endswith("_chunks")}
    out["name"] = source.get("name") or ""
    out |= {key: _located(source[key], path) for key in ("path", "dsm_gt_path") if key in source}
    out["mask_files"] = {key: _located(file, path) for key, file in (source.get("mask_files") or {}).items()}
    if (images := source.get("satellite_image")) is not None:
        out["satellite_image"] = {"folder": _located(images["folder"], path), "pairs": images["pairs"]}
    out |= source.get("sliding_window") or {}
    out |= official.get("dataloader") or {}
    if (epsg := (official.get("dsm_generation") or {}).get("crs_epsg")) is not None:
        out["crs_epsg"] = epsg
    if (pixel := (official.get("dsm_generation") or {}).get("pixel_size")) is not None:
        out["dsm_pixel_size"] = pixel
    out.pop("train_strip", None)
    return out


def _image_pixel(dataset: Mapping[str, Any]) -> float | None:
    """Return the pixel size of the data set's images, which the official network sees as they are."""
    from refbench.formats.raster import open_image

    images = dataset.get("satellite_image")
    file = None if images is None else Path(images["folder"]) / images["pairs"][0]
    if file is None or not file.is_file():
        return None
    grid = open_image(file).grid
    return None if grid is None else grid.gsd


def _located(name: str | None, path: Path) -> str | None:
    return None if name is None else str(locate(name, path) or name)


def _surface(generation: Mapping[str, Any]) -> dict[str, Any]:
    same = ("h_range", "fill_empty", "h_resolution_0", "h_upsampling_steps")
    out = {key: generation[key] for key in same if key in generation}
    if "half_blend_percent" in generation:
        out["half_blend"] = generation["half_blend_percent"]
    return out


def _training(training: Mapping[str, Any], path: Path) -> dict[str, Any]:
    out = dict(training)
    if (scheduler := out.pop("scheduler", None)) is not None:
        out["scheduler"] = {"type": scheduler.get("type", "CyclicLR"), **(scheduler.get("kwargs") or {})}
    if out.get("resume_from") is not None:
        out["resume_from"] = _located(out["resume_from"], path)
    return out
