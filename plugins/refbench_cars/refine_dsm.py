"""One step of CARS's filling: a DSM file in, the DSM refined by a method of refbench out. Needs no CARS."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

import refbench
from refbench.contracts.errors import InputError, MethodError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = "refbench"
"""Where the settings stand in the configuration of an application ``dsm_filling``."""
METHOD, WEIGHTS, SETTINGS = "method", "weights", "set"
FILLING_UNKNOWN = 255
BEFORE = "dsm_not_filled.tif"
BAND = "interpolation"
"""What CARS calls heights that nothing measured; its index of fillings knows this name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which method refines, with which weights and configuration values."""

    method: str = "fill"
    weights: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def settings_of(content: object) -> Settings:
    """Return the settings under the key ``refbench``.

    Raises
    ------
    InputError
        They are no mapping, hold an unknown key, or a value of a wrong type.
    """
    if not isinstance(content, dict):
        raise InputError(f"{KEY} must be a mapping of {METHOD}, {WEIGHTS} and {SETTINGS}.")
    if unknown := set(content) - {METHOD, WEIGHTS, SETTINGS}:
        raise InputError(f"{KEY}: unknown key {sorted(unknown)[0]!r}; known are {METHOD}, {WEIGHTS}, {SETTINGS}.")
    method, weights, values = content.get(METHOD, "fill"), content.get(WEIGHTS), content.get(SETTINGS) or {}
    if not isinstance(method, str) or not isinstance(weights, str | None) or not isinstance(values, dict):
        raise InputError(f"{KEY}: {METHOD} and {WEIGHTS} are names, {SETTINGS} is a mapping.")
    return Settings(method, weights, values)


def refine_dsm(dsm: Path, out: Path, dump: Path, settings: Settings, ortho: Path | None = None) -> None:
    """Refine ``dsm`` into ``out``, on its grid and with its NoData code.

    The DSM as it was goes to ``dump/dsm_not_filled.tif``, the whole result to ``dump/refbench``, and
    ``dump/filling.tif`` says 1 where a height is new.

    Raises
    ------
    InputError, MethodError
        Bad settings; or the method did not end well: then ``out`` is as it was.
    """
    dump.mkdir(parents=True, exist_ok=True)
    before = dump / BEFORE
    shutil.copy(dsm, before)
    files: dict[str, Any] = {"dsm": before, **({} if ortho is None else {"orthos": [ortho]})}
    result = refbench.run(
        method=settings.method, files=files, weights=settings.weights, out=dump / KEY, overwrite=True, **settings.values
    )
    if result.status.value != "ok":
        raise MethodError(f"refbench {settings.method} ended as {result.status.value}: {result.reason}")
    with rasterio.open(before) as old, rasterio.open(dump / KEY / result.outputs["dsm"]) as new:
        profile, heights, known = old.profile, new.read(1), new.read_masks(1) > 0
        measured = old.read_masks(1) > 0
    code = profile["nodata"] if profile["nodata"] is not None else np.nan
    _write(out, np.where(known, heights, code).astype(profile["dtype"]), profile)
    profile.update(dtype="uint8", nodata=FILLING_UNKNOWN)
    _write(dump / "filling.tif", (known & ~measured).astype(np.uint8), profile, BAND)


def _write(path: Path, values: np.ndarray[Any, Any], profile: Mapping[str, Any], name: str = "") -> None:
    """Write one band beside ``path`` and move it there: it may be the file that was read."""
    beside = path.with_name(f".{path.name}.refbench.tif")
    with rasterio.open(beside, "w", **profile) as file:
        file.write(values, 1)
        if name:
            file.set_band_description(1, name)
    beside.replace(path)
